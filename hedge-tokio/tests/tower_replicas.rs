//! The service over replicas, on tokio's paused clock.

use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use hedge_tokio::replicas::NoReplica;
use hedge_tokio::telemetry::EventKind;
use hedge_tokio::tower::{BoxError, Cloned, HedgeDiscover, HedgeReplicas, Policy, RequestOptions};
use hedge_tokio::{Budget, Event, Fixed, Hedger};
use tokio::time::{Instant, sleep, timeout};
use tower::buffer::Buffer;
use tower::discover::Change;
use tower::{Service, ServiceExt};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a replica's clones share.
#[derive(Debug, Default)]
struct Behaviour {
    latency_ms: AtomicU64,
    calls: AtomicU64,
    /// 0: ready, 1: not ready, 2: broken.
    readiness: AtomicU64,
}

/// A replica that answers with its number, and insists on being asked whether it is ready.
struct Replica {
    number: usize,
    behaviour: Arc<Behaviour>,
    was_ready: bool,
}

impl Replica {
    fn new(number: usize) -> Self {
        let behaviour = Arc::new(Behaviour::default());
        behaviour.latency_ms.store(10, Ordering::Relaxed);
        Self {
            number,
            behaviour,
            was_ready: false,
        }
    }
}

impl Clone for Replica {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            behaviour: self.behaviour.clone(),
            was_ready: false,
        }
    }
}

impl Service<()> for Replica {
    type Response = usize;
    type Error = std::io::Error;
    type Future = core::pin::Pin<Box<dyn Future<Output = Result<usize, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        match self.behaviour.readiness.load(Ordering::Relaxed) {
            0 => {
                self.was_ready = true;
                Poll::Ready(Ok(()))
            }
            1 => Poll::Pending,
            _ => Poll::Ready(Err(std::io::Error::other("broken"))),
        }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(core::mem::take(&mut self.was_ready), "it was not asked");
        self.behaviour.calls.fetch_add(1, Ordering::Relaxed);
        let latency = ms(self.behaviour.latency_ms.load(Ordering::Relaxed));
        let number = self.number;
        Box::pin(async move {
            sleep(latency).await;
            Ok(number)
        })
    }
}

fn service<const N: usize>() -> ([Arc<Behaviour>; N], HedgeReplicas<Replica, Cloned>) {
    let replicas: [Replica; N] = core::array::from_fn(Replica::new);
    let behaviours = replicas.each_ref().map(|replica| replica.behaviour.clone());
    let hedger = Hedger::builder()
        .strategy(Fixed::new(ms(50)))
        .budget(Budget::unlimited())
        .build()
        .unwrap();
    (
        behaviours,
        HedgeReplicas::new(replicas, hedger, Cloned).unwrap(),
    )
}

async fn ask(service: &mut HedgeReplicas<Replica, Cloned>) -> Result<usize, BoxError> {
    service.ready().await?.call(()).await
}

fn calls(behaviour: &Behaviour) -> u64 {
    behaviour.calls.swap(0, Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_another_replica() {
    let (behaviours, mut service) = service::<2>();
    for behaviour in &behaviours {
        behaviour.latency_ms.store(400, Ordering::Relaxed);
    }
    let start = Instant::now();
    let first = ask(&mut service).await.unwrap();
    assert_eq!(start.elapsed(), ms(400));
    assert!(first < 2);
    assert_eq!(
        behaviours.each_ref().map(|behaviour| calls(behaviour)),
        [1, 1]
    );
    assert_eq!(service.stats().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_left_alone() {
    let (behaviours, mut service) = service::<3>();
    for _ in 0..30 {
        ask(&mut service).await.unwrap();
    }
    behaviours[1].latency_ms.store(1000, Ordering::Relaxed);
    for behaviour in &behaviours {
        calls(behaviour);
    }
    for _ in 0..600 {
        let start = Instant::now();
        assert_ne!(ask(&mut service).await.unwrap(), 1);
        assert!(start.elapsed() <= ms(60));
    }
    let share = calls(&behaviours[1]);
    assert!((1..30).contains(&share), "{share}");
}

/// Allows every other request to be hedged.
#[derive(Clone, Default)]
struct EveryOther(Arc<AtomicU64>);

impl<Res, E> Policy<(), Res, E> for EveryOther {
    fn copy(&self, (): &()) -> Option<()> {
        self.0
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(2)
            .then_some(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_hedged_is_no_probe() {
    let replicas: [Replica; 3] = core::array::from_fn(Replica::new);
    let slow = replicas[1].behaviour.clone();
    let builder = Hedger::builder().strategy(Fixed::new(ms(50)));
    let hedger = builder.budget(Budget::unlimited()).build().unwrap();
    let mut service = HedgeReplicas::new(replicas, hedger, EveryOther::default()).unwrap();
    for n in 0..4_000 {
        if n == 100 {
            slow.latency_ms.store(1000, Ordering::Relaxed);
        }
        if n == 400 {
            calls(&slow);
        }
        let start = Instant::now();
        service.ready().await.unwrap().call(()).await.unwrap();
        assert!(n < 400 || start.elapsed() <= ms(60), "request {n}");
    }
    let probes = calls(&slow);
    assert!((20..=60).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_ready_gets_nothing() {
    let (behaviours, mut service) = service::<3>();
    behaviours[0].readiness.store(1, Ordering::Relaxed);
    for behaviour in &behaviours {
        behaviour.latency_ms.store(80, Ordering::Relaxed);
    }
    for _ in 0..20 {
        ask(&mut service).await.unwrap();
    }
    // Every request was hedged, to the other that was ready.
    assert_eq!(
        behaviours.each_ref().map(|behaviour| calls(behaviour)),
        [0, 20, 20]
    );
    behaviours[1].readiness.store(1, Ordering::Relaxed);
    // The one that was found ready before is used up, and then there is one.
    for _ in 0..20 {
        ask(&mut service).await.unwrap();
    }
    assert!(calls(&behaviours[1]) <= 1);
    for behaviour in &behaviours {
        behaviour.readiness.store(1, Ordering::Relaxed);
    }
    let _ = timeout(ms(500), ask(&mut service)).await;
    assert!(timeout(ms(500), ask(&mut service)).await.is_err());
    assert_eq!(service.stats().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn replicas_come_and_go() {
    let (behaviours, mut service) = service::<2>();
    let mut clone = service.clone();
    let third = Replica::new(2);
    let behaviour = third.behaviour.clone();
    let id = service.insert(third).unwrap();
    // Draws differ from run to run: about a third of them go to the third replica.
    for _ in 0..120 {
        ask(&mut clone).await.unwrap();
    }
    assert!(calls(&behaviour) > 3);
    assert!(service.remove(id));
    assert!(!service.remove(id));
    for _ in 0..20 {
        ask(&mut clone).await.unwrap();
    }
    assert_eq!(calls(&behaviour), 0);
    // Whoever fails when it is asked is removed.
    behaviours[0].readiness.store(2, Ordering::Relaxed);
    for _ in 0..5 {
        let _ = ask(&mut service).await;
    }
    calls(&behaviours[0]);
    assert_eq!(service.stats().iter().count(), 1);
    assert_eq!(ask(&mut service).await.unwrap(), 1);
    assert_eq!(calls(&behaviours[0]), 0);
}

#[tokio::test(start_paused = true)]
async fn without_replicas_a_request_fails_and_says_why() {
    let (_, mut service) = service::<0>();
    let error = ask(&mut service).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&NoReplica::Empty));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_dropped_is_not_counted() {
    let (_, mut service) = service::<2>();
    let unpolled = service.ready().await.unwrap().call(());
    assert_eq!(service.stats().in_flight(), 1);
    drop(unpolled);
    assert_eq!(service.stats().in_flight(), 0);
    let request = ask(&mut service);
    assert!(timeout(ms(5), request).await.is_err());
    assert_eq!(service.stats().in_flight(), 0);
}

/// Sends requests only to the replicas in its mask.
#[derive(Clone)]
struct Among(u64);

impl<Res, E> Policy<(), Res, E> for Among {
    fn copy(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn options<'r>(&self, (): &'r ()) -> RequestOptions<'r> {
        RequestOptions::new().among(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_which_replicas_a_request_may_use() {
    let replicas: [Replica; 3] = core::array::from_fn(Replica::new);
    let behaviours = replicas.each_ref().map(|replica| replica.behaviour.clone());
    let builder = Hedger::builder().strategy(Fixed::new(ms(50)));
    let hedger = builder.budget(Budget::unlimited()).build().unwrap();
    let mut service = HedgeReplicas::new(replicas, hedger, Among(0b110)).unwrap();
    behaviours[1].latency_ms.store(200, Ordering::Relaxed);
    behaviours[2].latency_ms.store(200, Ordering::Relaxed);
    for _ in 0..20 {
        assert_ne!(service.ready().await.unwrap().call(()).await.unwrap(), 0);
    }
    let sent = behaviours.each_ref().map(|behaviour| calls(behaviour));
    assert_eq!(sent, [0, 20, 20]);

    // If none of them is ready, the primary waits for one, as long as the request may take.
    behaviours[1].readiness.store(1, Ordering::Relaxed);
    behaviours[2].readiness.store(1, Ordering::Relaxed);
    let waits = service.ready().await.unwrap().call(());
    assert!(timeout(ms(1000), waits).await.is_err());
    assert_eq!(service.stats().in_flight(), 0);
    assert_eq!(calls(&behaviours[0]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_discovery_brings_and_takes_replicas() {
    let (changes, mut found) = tokio::sync::mpsc::unbounded_channel();
    let discover = futures_lite::stream::poll_fn(move |cx| {
        found
            .poll_recv(cx)
            .map(|change| change.map(Ok::<_, BoxError>))
    });
    let refused = Arc::new(AtomicU64::new(0));
    let counted = refused.clone();
    let sink = move |event: &Event| {
        if let EventKind::ReplicaRefused = event.kind {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    let hedger = Hedger::builder().sink(sink).build().unwrap();
    let mut service = HedgeDiscover::new(discover, hedger, Cloned);
    // It waits for the first.
    assert!(timeout(ms(100), service.ready()).await.is_err());
    let insert = |key: usize, number| {
        changes
            .send(Change::Insert(key, Replica::new(number)))
            .unwrap()
    };
    insert(7, 0);
    assert_eq!(service.ready().await.unwrap().call(()).await.unwrap(), 0);
    let first = service.id(&7).unwrap();

    // The key is given to another.
    insert(7, 1);
    assert_eq!(service.ready().await.unwrap().call(()).await.unwrap(), 1);
    assert_ne!(service.id(&7), Some(first));
    changes.send(Change::Remove(7)).unwrap();
    assert!(timeout(ms(100), service.ready()).await.is_err());

    // There is room for 64.
    for key in 0..70 {
        insert(key, key);
    }
    service.ready().await.unwrap().call(()).await.unwrap();
    assert_eq!(service.stats().iter().count(), 64);
    assert_eq!(refused.load(Ordering::Relaxed), 6);
    assert_eq!((service.id(&63).is_some(), service.id(&64)), (true, None));
    changes.send(Change::Remove(0)).unwrap();
    insert(64, 64);
    service.ready().await.unwrap().call(()).await.unwrap();
    assert!(service.id(&64).is_some());
    assert_eq!(refused.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn a_drained_replica_is_not_counted_as_ready() {
    let (behaviours, mut service) = service::<2>();
    let first = service.stats().get(0).unwrap().id;
    // Replica 0 alone is found ready, and is drained before the call: that waits for the other.
    behaviours[1].readiness.store(1, Ordering::Relaxed);
    service.ready().await.unwrap();
    assert!(service.replicas().drain(first));
    let waits = timeout(ms(100), service.call(()));
    assert!(waits.await.is_err());
    // So does a task that asks whether the service is ready, before and after replica 0 is drained.
    assert!(service.replicas().resume(first));
    service.ready().await.unwrap();
    assert!(service.replicas().drain(first));
    assert!(timeout(ms(100), service.ready()).await.is_err());
    behaviours[1].readiness.store(0, Ordering::Relaxed);
    assert_eq!(ask(&mut service).await.unwrap(), 1);
    assert_eq!(calls(&behaviours[0]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_hears_of_replicas_that_come_and_go() {
    let (behaviours, service) = service::<1>();
    behaviours[0].readiness.store(1, Ordering::Relaxed);
    let mut waits = service.clone();
    let waits = tokio::spawn(async move { ask(&mut waits).await });
    sleep(ms(5)).await;
    let id = service.insert(Replica::new(7)).unwrap();
    sleep(ms(20)).await;
    assert!(waits.is_finished());
    assert_eq!(waits.await.unwrap().unwrap(), 7);
    assert!(service.remove(id));
    let mut waits = service.clone();
    let waits = tokio::spawn(async move { ask(&mut waits).await });
    sleep(ms(5)).await;
    assert!(!waits.is_finished());
    let last = service.stats().get(0).unwrap().id;
    assert!(service.remove(last));
    sleep(ms(5)).await;
    assert!(waits.is_finished());
    let error = waits.await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&NoReplica::Empty));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_hears_of_a_replica_that_resumes() {
    let (behaviours, service) = service::<2>();
    let first = service.stats().get(0).unwrap().id;
    behaviours[1].readiness.store(1, Ordering::Relaxed);
    assert!(service.drain(first));
    let mut waits = service.clone();
    let waits = tokio::spawn(async move { ask(&mut waits).await });
    sleep(ms(5)).await;
    assert!(!waits.is_finished());
    assert!(service.resume(first));
    sleep(ms(20)).await;
    assert!(waits.is_finished());
    assert_eq!(waits.await.unwrap().unwrap(), 0);
}

/// Endpoints fail and come back. As long as the discovery may find one, the service only waits.
#[tokio::test(start_paused = true)]
async fn a_replica_that_failed_has_no_id_and_the_next_one_is_waited_for() {
    let (changes, mut found) = tokio::sync::mpsc::unbounded_channel();
    let discover = futures_lite::stream::poll_fn(move |cx| {
        let change = found.poll_recv(cx);
        change.map(|change| change.map(Ok::<_, BoxError>))
    });
    let hedger = Hedger::builder().build().unwrap();
    let mut service = HedgeDiscover::new(discover, hedger, Cloned);
    let replica = Replica::new(0);
    let behaviour = replica.behaviour.clone();
    changes.send(Change::Insert(7, replica)).unwrap();
    service.ready().await.unwrap().call(()).await.unwrap();
    assert!(service.id(&7).is_some());
    behaviour.readiness.store(2, Ordering::Relaxed);
    assert!(timeout(ms(50), service.ready()).await.is_err());
    assert_eq!(service.id(&7), None);
    let found = async {
        sleep(ms(50)).await;
        changes.send(Change::Insert(7, Replica::new(1))).unwrap();
    };
    let (ready, ()) = tokio::join!(service.ready(), found);
    assert_eq!(ready.unwrap().call(()).await.unwrap(), 1);
    // Once the discovery has ended, there is nothing to wait for.
    let replica = Replica::new(2);
    replica.behaviour.readiness.store(2, Ordering::Relaxed);
    changes.send(Change::Insert(7, replica)).unwrap();
    drop(changes);
    let ready = timeout(ms(50), service.ready()).await;
    assert!(ready.unwrap().is_err());
}

/// A service that is shared through a buffer is lost once its `poll_ready` returns an error.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_discovery_does_not_stop_the_replicas_that_were_found() {
    let (changes, mut found) = tokio::sync::mpsc::unbounded_channel();
    let discover = futures_lite::stream::poll_fn(move |cx| found.poll_recv(cx));
    let hedger = Hedger::builder().build().unwrap();
    let service = HedgeDiscover::new(discover, hedger, Cloned);
    let set = service.replicas().clone();
    let mut shared = Buffer::new(service, 8);
    let insert = |number| {
        let replica = Replica::new(number);
        let behaviour = replica.behaviour.clone();
        changes.send(Ok(Change::Insert(number, replica))).unwrap();
        behaviour
    };
    let fail = || changes.send(Err(BoxError::from("lookup failed"))).unwrap();
    let first = insert(0);
    assert_eq!(shared.ready().await.unwrap().call(()).await.unwrap(), 0);
    fail();
    assert_eq!(shared.ready().await.unwrap().call(()).await.unwrap(), 0);
    // A replica that is busy is waited for, and so is the discovery.
    first.readiness.store(1, Ordering::Relaxed);
    let asked = shared.ready().await.unwrap().call(());
    let asked = tokio::spawn(asked);
    sleep(ms(5)).await;
    fail();
    fail();
    sleep(ms(5)).await;
    assert!(!asked.is_finished());
    insert(1);
    assert_eq!(asked.await.unwrap().unwrap(), 1);
    // The discovery has recovered. Without a replica, the next one is waited for.
    for index in 0..2 {
        assert!(set.remove(set.id(index).unwrap()));
    }
    let asked = tokio::spawn(shared.ready().await.unwrap().call(()));
    sleep(ms(5)).await;
    assert!(!asked.is_finished());
    insert(2);
    assert_eq!(asked.await.unwrap().unwrap(), 2);
    // Its error is returned as soon as there is no replica.
    fail();
    assert_eq!(shared.ready().await.unwrap().call(()).await.unwrap(), 2);
    changes.send(Ok(Change::Remove(2))).unwrap();
    let error = shared.ready().await.unwrap().call(()).await.unwrap_err();
    assert!(error.to_string().contains("lookup failed"), "{error}");
}

/// Such a discovery is never pending, and wakes no task. It is polled again before the next request.
#[tokio::test(start_paused = true)]
async fn a_discovery_that_fails_again_and_again_is_not_polled_for_ever() {
    let replica = Replica::new(0);
    let behaviour = replica.behaviour.clone();
    let mut found = Some(replica);
    let discover = futures_lite::stream::poll_fn(move |_| {
        let found = found.take().map(|replica| Change::Insert(0, replica));
        Poll::Ready(Some(found.ok_or("lookup failed")))
    });
    let hedger = Hedger::builder().build().unwrap();
    let mut service = HedgeDiscover::new(discover, hedger, Cloned);
    for _ in 0..3 {
        assert_eq!(service.ready().await.unwrap().call(()).await.unwrap(), 0);
    }
    behaviour.readiness.store(2, Ordering::Relaxed);
    let error = service.ready().await.unwrap_err();
    assert_eq!(error.to_string(), "lookup failed");
}

/// A replica is found ready, and another one takes its place before the call.
#[tokio::test(start_paused = true)]
async fn a_replica_may_be_replaced_between_ready_and_call() {
    let (_, service) = service::<1>();
    let mut asks = service.clone();
    asks.ready().await.unwrap();
    let first = service.stats().get(0).unwrap().id;
    assert!(service.remove(first));
    service.insert(Replica::new(7)).unwrap();
    assert_eq!(asks.call(()).await.unwrap(), 7);
    // The next one is not ready, and another one is.
    for _ in 0..20 {
        let (_, service) = self::service::<2>();
        let mut asks = service.clone();
        asks.ready().await.unwrap();
        let first = service.stats().get(0).unwrap().id;
        assert!(service.remove(first));
        let slow = Replica::new(8);
        slow.behaviour.readiness.store(1, Ordering::Relaxed);
        service.insert(slow).unwrap();
        // A hedge would mend a choice that was wrong.
        let answer = timeout(ms(40), asks.call(())).await;
        assert_eq!(answer.expect("it waits").unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_replacement_fails_no_request() {
    let (_, service) = service::<2>();
    let asks = (0..4).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                service.ready().await.unwrap();
                // Replicas are replaced now, too.
                sleep(ms(3)).await;
                service.call(()).await.unwrap();
            }
        })
    });
    let asks: Vec<_> = asks.collect();
    for number in 2..200 {
        sleep(ms(7)).await;
        let id = service.stats().get(number % 2).unwrap().id;
        assert!(service.remove(id));
        service.insert(Replica::new(number)).unwrap();
    }
    for ask in asks {
        ask.await.unwrap();
    }
}
