//! Attempts that give streams.

use core::ops::Range;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use futures_lite::{Stream, StreamExt};
use hedge_core::adapter::Lock;
use hedge_core::cascade::{Cascade, Tier};
use hedge_core::replicas::Replicas;
use hedge_core::stream::{First, NonEmpty, StreamEnd, StreamError, StreamReport};
use hedge_core::{Error, Timer, Verdict};

use super::run_until;
use crate::backend::{Backend, Failure};
use crate::streams::Next::{Fails, Item, Stalls};
use crate::streams::{Next, item, open, read, scripted};
use crate::{Home, World};

/// Pins a stream for each script, and gives the closure that opens them.
macro_rules! launch {
    ($launch:ident, $backend:ident, $world:ident: $($script:expr),+) => {
        let mut index = 0_usize..;
        let mut next = || index.next().unwrap_or_default();
        let mut streams = [$(Some(pin!(scripted($world, next(), $script)) as Pin<&mut _>)),+];
        let $launch = |attempt: hedge_core::Attempt| {
            open(&$backend, attempt, streams.get_mut(attempt.index()).and_then(Option::take))
        };
    };
}

/// A stream whose head comes at once and whose first item does not is hedged. The winner's items are all there, in
/// order, and those of losers are not among them.
pub async fn the_first_item_wins<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(2).max_hedges(2));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Stalls], &[Item(1), Item(0), Item(3)], &[Item(9)]);
    let hedged = hedger.stream(launch).await.unwrap();
    assert_eq!((hedged.outcome.winner, hedged.outcome.attempts), (1, 2));
    world.assert_took(hedged.outcome.total_latency, 3);
    // The loser is gone before its winner is given, and the winner's stream is not.
    assert_eq!((backend.dropped(), backend.running()), (1, 1));
    let items = read(pin!(hedged.value)).await;
    assert_eq!(items, [Ok(item(1, 0)), Ok(item(1, 1)), Ok(item(1, 2))]);
    assert_eq!(backend.running(), 0);
}

/// A primary whose first item is there in time is not hedged, however long the rest takes; the time to the first item
/// is the latency.
pub async fn the_time_to_the_first_item_counts<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(4));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(1), Item(20)]);
    let hedged = hedger.stream(launch).await.unwrap();
    assert!(!hedged.outcome.hedged);
    world.assert_took(hedged.outcome.primary_latency.unwrap(), 1);
    assert_eq!(read(pin!(hedged.value)).await.len(), 2);
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.won), (1, 1));
    if world.is_exact() {
        assert!(metrics.max_latency.unwrap() < world.ticks(2));
    }
}

/// An error as the first item is a failure of its attempt, and starts the next.
pub async fn an_error_as_first_item_is_a_failure<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Fails(0), Item(0)], &[Item(0)]);
    let hedged = hedger.stream(launch).await.unwrap();
    assert_eq!((hedged.outcome.winner, hedged.outcome.retries), (1, 1));
    assert_eq!(backend.dropped(), 1);

    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Fails(1)], &[Fails(0)]);
    let error = hedger.stream(launch).await.err();
    let (error_of_primary, attempts) = (Failure::Plain(0), 2);
    assert_eq!(
        error,
        Some(Error::Failed {
            error: error_of_primary,
            attempts
        })
    );
    assert_eq!(backend.running(), 0);
}

/// An error that comes later is the reader's.
pub async fn a_later_error_is_passed_on<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(0), Fails(1), Item(0)]);
    let hedged = hedger.stream(launch).await.unwrap();
    let items = read(pin!(hedged.value)).await;
    assert_eq!(
        items,
        [Ok(item(0, 0)), Err(Failure::Plain(0)), Ok(item(0, 2))]
    );
    assert_eq!((backend.started(), hedger.metrics().failed), (1, 0));
}

/// A stream that ends without an item is an answer.
pub async fn a_stream_without_items_is_an_answer<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[], &[Item(0)]);
    let mut hedged = hedger.stream(launch).await.unwrap();
    assert!(hedged.outcome.accepted);
    // A stream that has ended must not be polled, and this one would panic.
    assert_eq!(hedged.value.next().await, None);
    assert_eq!(hedged.value.next().await, None);
    assert_eq!(backend.started(), 1);
}

/// The classifier may see that otherwise; if all streams are empty the earliest is returned, unaccepted.
pub async fn a_stream_without_items_may_be_refused<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[], &[Item(0)]);
    let call = hedger.call().classify(NonEmpty);
    assert_eq!(call.stream(launch).await.unwrap().outcome.winner, 1);

    launch!(launch, backend, world: &[], &[]);
    let call = hedger.call().classify(NonEmpty);
    let mut hedged = call.stream(launch).await.unwrap();
    assert_eq!(
        (hedged.outcome.accepted, hedged.outcome.attempts),
        (false, 2)
    );
    assert_eq!(hedged.value.next().await, None);
}

/// A classifier sees the first item.
pub async fn the_first_item_is_classified<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(0)], &[Item(0)]);
    let call = hedger
        .call()
        .classify(|result: &Result<First<usize, _>, _>| match result {
            Ok(first) if first.item == Some(item(1, 0)) => Verdict::Accept,
            _ => Verdict::Retry,
        });
    let hedged = call.stream(launch).await.unwrap();
    assert_eq!((hedged.outcome.winner, hedged.outcome.attempts), (1, 2));
}

/// The timeouts of the hedger cover the time to the first item only.
pub async fn the_winner_outlives_the_timeout<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let builder = world.fixed(40).timeout(world.ticks(10));
    let hedger = world.build(builder.attempt_timeout(world.ticks(8)));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(1), Item(30), Item(1)]);
    let hedged = hedger.stream(launch).await.unwrap();
    assert_eq!(read(pin!(hedged.value)).await.len(), 3);

    launch!(launch, backend, world: &[Stalls], &[Stalls]);
    assert!(hedger.stream(launch).await.err().unwrap().is_timeout());
    assert_eq!(backend.running(), 0);
}

/// A stream that gives nothing for too long ends with an error that says so, and is dropped.
pub async fn a_stall_ends_the_stream<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(1), Item(3), Item(3), Stalls]);
    let hedged = hedger.stream(launch).await.unwrap();
    let start = world.now();
    let limit = world.ticks(20);
    let mut items = pin!(hedged.value.stall(limit));
    for n in 0..3 {
        assert_eq!(items.next().await, Some(Ok(item(0, n))));
    }
    assert_eq!(
        items.next().await,
        Some(Err(StreamError::Stalled { limit, items: 3 }))
    );
    world.assert_took(world.now().since(start), 26);
    // What stalled is gone before the error is seen.
    assert_eq!(backend.running(), 0);
    assert_eq!(items.next().await, None);
}

/// The limit counts from when the reader waits: a slow reader is no stall.
pub async fn a_slow_reader_is_no_stall<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(80));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(1), Item(0), Item(2), Item(0)]);
    let hedged = hedger.stream(launch).await.unwrap();
    let mut items = pin!(hedged.value.stall(world.ticks(20)));
    for n in 0..4 {
        world.sleep(25).await;
        assert_eq!(items.next().await, Some(Ok(item(0, n))));
    }
    assert_eq!(items.next().await, None);
}

/// On request, a stream is accounted for when it ends, however it does.
pub async fn a_stream_is_accounted_for<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    /// What the stream does, how often it is read, and what is reported: its end, its items, how long it took, and
    /// its longest gap.
    type Case = (&'static [Next], usize, StreamEnd, u64, [u32; 2]);
    let cases: [Case; 4] = [
        (&[Item(1), Item(2), Item(5)], 9, StreamEnd::Ended, 3, [7, 5]),
        (
            &[Item(1), Item(2), Fails(1)],
            9,
            StreamEnd::Failed,
            2,
            [3, 2],
        ),
        (
            &[Item(1), Item(2), Stalls],
            9,
            StreamEnd::Stalled,
            2,
            [12, 10],
        ),
        (
            &[Item(1), Item(2), Item(5)],
            2,
            StreamEnd::Dropped,
            2,
            [2, 2],
        ),
    ];
    for (script, reads, end, count, [duration, gap]) in cases {
        let hedger = world.build(world.fixed(40));
        let backend = Backend::new(world, &[]);
        launch!(launch, backend, world: script);
        let hedged = hedger.stream(launch).await.unwrap();
        let reported = H::lock(None);
        let report = |report: StreamReport| {
            assert_eq!(backend.running(), 0, "reported before its end");
            reported.with(|reported| assert!(reported.replace(report).is_none()));
        };
        {
            let mut items = pin!(hedged.value.stall(world.ticks(10)).report(report));
            for _ in 0..reads {
                if items.next().await.is_none() {
                    break;
                }
            }
        }
        let report = reported.with(|reported| *reported).unwrap();
        assert_eq!((report.end, report.items), (end, count));
        world.assert_took(report.duration, duration);
        world.assert_took(report.longest_gap, gap);
    }
}

/// Dropping the stream early is no failure, and teaches nothing.
pub async fn dropping_the_stream_is_no_failure<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = H::lock(Replicas::<1>::all());
    let hedger = world.build(world.fixed(40));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Item(1), Stalls]);
    let hedged = hedger.call().on(&set).stream(launch).await.unwrap();
    let latency = || set.with(|set| set.stats(world.now()).get(0).and_then(|one| one.latency));
    let (before, learned) = (hedger.metrics(), latency());
    drop(hedged);
    assert_eq!(backend.running(), 0);
    let after = hedger.metrics();
    assert_eq!((after.won, after.failed, after.cancelled), (1, 0, 0));
    assert_eq!(after.total_requests, before.total_requests);
    assert_eq!(latency(), learned);
}

/// A request that is dropped drops every stream, opened or not.
pub async fn a_dropped_request_drops_every_stream<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1).max_hedges(2));
    let backend = Backend::new(world, &[]);
    {
        launch!(launch, backend, world: &[Stalls], &[Item(9)], &[Stalls]);
        let request = pin!(hedger.stream(launch));
        run_until(request, || backend.running() == 3).await;
    }
    assert_eq!((backend.running(), backend.dropped()), (0, 3));
    assert_eq!((hedger.metrics().cancelled, hedger.in_flight()), (1, 0));
}

/// Streams go to replicas like other attempts, and a replica that gives no item is taken to be slow.
pub async fn streams_go_to_replicas<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = H::lock(Replicas::<2>::all());
    let hedger = world.build(world.fixed(2));
    let backend = Backend::new(world, &[]);
    launch!(launch, backend, world: &[Stalls], &[Item(1), Item(1)]);
    let hedged = hedger.call().on(&set).stream(launch).await.unwrap();
    assert_eq!(hedged.outcome.replicas_used, 0b11);
    let replica = hedged.outcome.replica;
    assert_eq!(replica, Some(backend.nth(1).attempt.replica()));
    assert_eq!(set.with(|set| set.stats(world.now()).in_flight()), 0);
    assert_eq!(read(pin!(hedged.value)).await.len(), 2);
}

/// The tiers of a cascade may give streams.
pub async fn tiers_may_stream<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let tiers = [Tier::new("large").delay(world.ticks(3)), Tier::new("small")];
    let cascade = Cascade::new(world.timer().clone(), tiers).unwrap_or_else(|e| panic!("{e}"));
    // The large model opens its stream at once and gives no token.
    let answer = cascade.stream((
        async || Ok::<_, Failure>(Tokens(None)),
        async || {
            world.sleep(1).await;
            Ok(Tokens(Some(0..2)))
        },
    ));
    let answer = answer.await.unwrap();
    assert_eq!(answer.outcome.tier, Some(1));
    world.assert_took(answer.outcome.total_latency, 4);
    assert_eq!(read(pin!(answer.value)).await, [Ok(0), Ok(1)]);
}

/// So many tokens, all of them ready; `None` for a stream that stalls.
struct Tokens(Option<Range<usize>>);

impl Stream for Tokens {
    type Item = Result<usize, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Some(tokens) => Poll::Ready(tokens.next().map(Ok)),
            None => Poll::Pending,
        }
    }
}
