//! Requests on a set of replicas: where their attempts go, and what is reported about them.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::task::{Context, Waker};
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;

use hedge_core::adapter::{BudgetHandle, Lock};
use hedge_core::manual::ManualTimer;
use hedge_core::replicas::{NoReplica, ReplicaStats, Replicas};
use hedge_core::strategy::{Hints, Plan, Strategy};
use hedge_core::telemetry::EventKind;
use hedge_core::{
    Attempt, Budget, ByAttempt, Classify, Error, Event, Fixed, Hedger, Instant, Options,
    Percentile, Record, Suppressed, Verdict,
};

type Clock = ManualTimer<16>;
type Set<const N: usize> = RefCell<Replicas<N>>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn unguarded() -> Options {
    let mut options = Options::default();
    options.guard = Some(false);
    options
}

/// A hedger with room for two attempts that hedges after 20 ms.
macro_rules! hedger {
    ($clock:expr) => {
        Hedger::builder($clock)
            .strategy(Fixed::new(ms(20)))
            .budget(Budget::unlimited())
            .options(unguarded())
            .build_local()
            .unwrap()
    };
}

fn stats<const N: usize>(set: &Set<N>, clock: &Clock, index: usize) -> ReplicaStats {
    *set.borrow().stats(clock.now()).get(index).unwrap()
}

fn in_flight<const N: usize>(set: &Set<N>, clock: &Clock) -> u32 {
    set.borrow().stats(clock.now()).in_flight()
}

#[test]
fn a_hedge_goes_to_another_replica_and_the_outcome_says_which_won() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = hedger!(&clock);
    let asked = RefCell::new(Vec::new());
    let hedged = clock.drive(hedger.request_on(&set, |attempt| {
        asked.borrow_mut().push(attempt.replica());
        let took = if attempt.is_hedge() { 5 } else { 500 };
        let sleep = clock.sleep(ms(took));
        async move {
            sleep.await;
            Ok::<_, ()>(attempt.replica())
        }
    }));
    let hedged = hedged.unwrap();
    let asked = asked.into_inner();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0], asked[1]);
    assert_eq!(hedged.value, asked[1]);
    assert_eq!(hedged.outcome.replica, Some(asked[1]));
    assert_eq!(hedged.outcome.replicas_used, 0b11);
    assert_eq!(in_flight(&set, &clock), 0);
    // The winner taught its latency, and the loser that it is slower.
    let latency = |nth: usize| stats(&set, &clock, asked[nth].index()).latency.unwrap();
    assert!((ms(4)..=ms(6)).contains(&latency(1)), "{:?}", latency(1));
    assert!(latency(0) > ms(20), "{:?}", latency(0));
}

#[test]
fn without_replicas_the_outcome_names_none() {
    let clock = Clock::new();
    let hedger = hedger!(&clock);
    let hedged = clock.drive(hedger.request(|attempt| async move {
        assert_eq!(attempt.replica().index(), 0);
        Ok::<_, ()>(())
    }));
    let outcome = hedged.unwrap().outcome;
    assert_eq!((outcome.replica, outcome.replicas_used), (None, 0));
}

#[test]
fn what_a_verdict_means_for_the_replica() {
    for (verdict, is_failure) in [
        (Verdict::Accept, false),
        (Verdict::Fatal, false),
        (Verdict::Retry, true),
        (Verdict::RetryAfter(ms(1)), true),
    ] {
        let (clock, set) = (Clock::new(), RefCell::new(Replicas::<1>::all()));
        let hedger = Hedger::builder(&clock).build_local().unwrap();
        let request = |verdict: Verdict| {
            let call = hedger.call().classify(move |_: &Result<(), ()>| verdict);
            clock.drive(call.max_hedges(0).on(&set).request(|_| {
                let sleep = clock.sleep(ms(10));
                async move {
                    sleep.await;
                    Err(())
                }
            }))
        };
        for _ in 0..10 {
            let _ = request(Verdict::Accept);
        }
        let _ = request(verdict);
        let latency = stats(&set, &clock, 0).latency.unwrap();
        assert_eq!(latency > ms(12), is_failure, "{verdict:?}: {latency:?}");
        assert_eq!(in_flight(&set, &clock), 0);
    }
}

/// A classifier that says of every result what it means, and whether its replica is to blame.
struct Says(Verdict, bool);

impl Classify<u8, ()> for Says {
    fn classify(&self, _: &Attempt, result: &Result<u8, ()>) -> Verdict {
        match result {
            Ok(0) => Verdict::Accept,
            _ => self.0,
        }
    }

    fn blames_replica(&self, _: &Attempt, result: &Result<u8, ()>, verdict: Verdict) -> bool {
        assert!(*result != Ok(0) || verdict == Verdict::Accept);
        *result != Ok(0) && self.1
    }
}

#[test]
fn a_classifier_may_blame_the_replica_whatever_its_verdict() {
    for verdict in [
        Verdict::Accept,
        Verdict::Fatal,
        Verdict::Retry,
        Verdict::Wait,
    ] {
        for blames in [false, true] {
            let (clock, set) = (Clock::new(), RefCell::new(Replicas::<1>::all()));
            let hedger = Hedger::builder(&clock).build_local().unwrap();
            let request = |value: u8| {
                let call = hedger.call().classify(Says(verdict, blames)).max_hedges(0);
                let attempt = |_| {
                    let sleep = clock.sleep(ms(10));
                    async move {
                        sleep.await;
                        Ok(value)
                    }
                };
                let _ = clock.drive(call.on(&set).request(attempt));
            };
            (0..10).for_each(|_| request(0));
            request(1);
            let latency = stats(&set, &clock, 0).latency.unwrap();
            assert_eq!(latency > ms(12), blames, "{verdict:?}: {latency:?}");
        }
    }
}

/// One replica of three fails at once, in a way that ends its request.
#[test]
fn a_replica_that_fails_fast_attracts_nothing_even_if_failures_are_fatal() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<3>::all()));
    let hedger = hedger!(&clock);
    for verdict in [Verdict::Accept, Verdict::Fatal] {
        let (mut good, bad) = (0, Cell::new(0));
        for _ in 0..5_000 {
            let call = hedger.call().classify(Says(verdict, true));
            let hedged = clock.drive(call.on(&set).request(|attempt| {
                let fails = attempt.replica().index() == 0;
                bad.set(bad.get() + u32::from(fails));
                let sleep = clock.sleep(ms(if fails { 1 } else { 15 }));
                async move {
                    sleep.await;
                    Ok(u8::from(fails))
                }
            }));
            good += u32::from(hedged.unwrap().value == 0);
        }
        assert!(good >= 4_990, "{verdict:?}: {good}");
        assert!(bad.get() <= 110, "{verdict:?}: {}", bad.get());
    }
}

#[test]
fn attempts_that_the_timeout_ends_have_failed() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = hedger!(&clock);
    let call = hedger.call().timeout(ms(100)).on(&set);
    let error = clock.drive(call.request(|_| core::future::pending::<Result<(), ()>>()));
    assert!(matches!(error, Err(Error::Timeout { attempts: 2, .. })));
    for index in 0..2 {
        // 16 times as long as the attempt had lasted, for nothing is typical yet.
        assert!(stats(&set, &clock, index).latency.unwrap() > ms(1000));
    }
    assert_eq!(in_flight(&set, &clock), 0);
}

#[test]
fn nobody_allowed_is_an_error_and_nothing_is_sent() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let events = RefCell::new(Vec::new());
    let hedger = Hedger::builder(&clock)
        .sink(|event: &Event| events.borrow_mut().push(event.kind))
        .build_local()
        .unwrap();
    let sent = Cell::new(0);
    let launch = |_: Attempt| {
        sent.set(sent.get() + 1);
        async { Ok::<_, ()>(()) }
    };
    let error = clock.drive(hedger.call().on(&set).among(0b100).request(launch));
    assert_eq!(error, Err(Error::NoReplica(NoReplica::NotAllowed)));
    let error = clock.drive(
        hedger
            .call()
            .on(&set)
            .among(0b01)
            .among(0b10)
            .request(launch),
    );
    assert_eq!(error, Err(Error::NoReplica(NoReplica::NotAllowed)));
    let empty = RefCell::new(Replicas::<2>::empty());
    let error = clock.drive(hedger.request_on(&empty, launch)).unwrap_err();
    assert_eq!(
        (error, error.attempts()),
        (Error::NoReplica(NoReplica::Empty), 0)
    );
    assert_eq!(error.to_string(), "nothing was sent: no replica is active");
    assert_eq!(sent.get(), 0);
    let metrics = hedger.metrics();
    assert_eq!(
        (metrics.total_requests, metrics.failed, metrics.sample_count),
        (3, 3, 0)
    );
    assert_eq!(metrics.total_cost, 0.0);
    let failed =
        |kind: &&EventKind| matches!(kind, EventKind::RequestException { attempts: 0, .. });
    assert_eq!(events.borrow().iter().filter(failed).count(), 3);
    let hedged = clock
        .drive(hedger.call().on(&set).among(0b10).request(launch))
        .unwrap();
    assert_eq!(hedged.outcome.replica.unwrap().index(), 1);
}

#[test]
fn a_hedge_without_a_replica_is_suppressed_and_costs_nothing() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<1>::all()));
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(20)))
        .budget(Budget::percent(10.0).burst(1))
        .build_local()
        .unwrap();
    let hedged = clock.drive(hedger.request_on(&set, |attempt| {
        let id = attempt.replica();
        set.borrow_mut().drain(id);
        let sleep = clock.sleep(ms(50));
        async move {
            sleep.await;
            Ok::<_, ()>(())
        }
    }));
    let outcome = hedged.unwrap().outcome;
    assert_eq!(
        (outcome.attempts, outcome.suppressed),
        (1, Some(Suppressed::NoReplica))
    );
    assert_eq!(hedger.budget().with(|budget| budget.in_flight()), 0);
    assert_eq!(BudgetHandle::withdraw(hedger.budget(), clock.now()), Ok(()));
}

#[test]
fn a_hedge_that_the_budget_refuses_leaves_no_trace() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(20)))
        .budget(Budget::percent(0.0))
        .build_local()
        .unwrap();
    let hedged = clock.drive(hedger.request_on(&set, |_| {
        let sleep = clock.sleep(ms(50));
        async move {
            sleep.await;
            Ok::<_, ()>(())
        }
    }));
    let outcome = hedged.unwrap().outcome;
    assert_eq!(outcome.suppressed, Some(Suppressed::BudgetRatio));
    assert_eq!(outcome.replicas_used.count_ones(), 1);
    assert_eq!(in_flight(&set, &clock), 0);
}

#[test]
fn whatever_ends_a_request_ends_its_attempts() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<3>::all()));
    let hedger = hedger!(&clock);
    // Dropped before it is polled, and after.
    for polls in 0..3 {
        let mut request =
            Box::pin(hedger.request_on(&set, |_| core::future::pending::<Result<(), ()>>()));
        for _ in 0..polls {
            let _ = request
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            clock.advance(ms(20));
        }
        let attempts = [0, 1, 2][polls];
        assert_eq!(in_flight(&set, &clock), attempts);
        drop(request);
        assert_eq!(in_flight(&set, &clock), 0);
    }
    // An attempt panics when it is launched, or when it is polled.
    for at_launch in [true, false] {
        for victim in 0..2 {
            let request = hedger.request_on(&set, |attempt| {
                let now = attempt.index() == victim;
                if now && at_launch {
                    resume_unwind(Box::new(()));
                }
                async move {
                    if now {
                        resume_unwind(Box::new(()));
                    }
                    core::future::pending::<Result<(), ()>>().await
                }
            });
            let panic = catch_unwind(AssertUnwindSafe(|| clock.drive(request)));
            assert!(panic.is_err());
            assert_eq!(in_flight(&set, &clock), 0, "{at_launch}, {victim}");
        }
    }
}

#[test]
fn a_hedge_whose_readiness_panicked_is_placed_once() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<3>::all()));
    let hedger = hedger!(&clock);
    let asked = Cell::new(0);
    let ready = |_| {
        asked.set(asked.get() + 1);
        match asked.get() {
            1 => false,
            2 => panic!("is it ready?"),
            _ => true,
        }
    };
    let mut request = Box::pin(hedger.call().on_ready(&set, ready).request(|attempt| {
        let sleep = clock.sleep(ms(if attempt.is_hedge() { 5 } else { 900 }));
        async move {
            sleep.await;
            Ok::<_, ()>(())
        }
    }));
    let first = catch_unwind(AssertUnwindSafe(|| {
        let _ = clock.drive(request.as_mut());
    }));
    assert!(first.is_err());
    // The one that was not ready is asked again.
    let outcome = clock.drive(request.as_mut()).unwrap().outcome;
    assert_eq!((outcome.hedged, asked.get()), (true, 3));
    assert_eq!(outcome.replicas_used.count_ones(), 2);
    assert_eq!(in_flight(&set, &clock), 0);
}

#[test]
fn losers_that_are_kept_count_until_they_end() {
    for drained in [true, false] {
        let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
        let hedger = hedger!(&clock);
        let request = hedger.call().keep_losers().on(&set).open(|attempt| {
            let sleep = clock.sleep(ms(if attempt.is_hedge() { 5 } else { 90 }));
            async move {
                sleep.await;
                Ok::<_, ()>(attempt.replica())
            }
        });
        let mut request = Box::pin(request);
        let hedged = clock.drive(request.as_mut()).unwrap();
        let loser = 1 - hedged.value.index();
        assert_eq!(stats(&set, &clock, loser).in_flight, 1);
        if drained {
            clock.drive(request.as_mut().drain());
            assert_eq!(in_flight(&set, &clock), 0);
            assert!(stats(&set, &clock, loser).latency.unwrap() > ms(85));
        }
        drop(request);
        assert_eq!(in_flight(&set, &clock), 0);
    }
}

#[test]
fn a_probe_is_hedged_early_and_teaches_the_strategy_nothing() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = Hedger::builder(&clock)
        .strategy(Percentile::new(95.0))
        .budget(Budget::unlimited())
        .options(unguarded())
        .build_local()
        .unwrap();
    let slow = Cell::new(false);
    let serve = |number: u64| {
        let request = hedger.request_on(&set, |attempt| {
            let slow = slow.get() && attempt.replica().index() == 0;
            // 10 to 19 ms, so that the percentiles differ.
            let sleep = clock.sleep(ms(if slow { 300 } else { 10 + number * 7 % 10 }));
            async move {
                sleep.await;
                Ok::<_, ()>(attempt.replica().index())
            }
        });
        clock.drive(request).unwrap()
    };
    (0..300).for_each(|number| {
        serve(number);
    });
    let delay = || hedger.with_strategy(|strategy| strategy.stats().delay.unwrap());
    let before = delay();
    assert!((ms(18)..=ms(20)).contains(&before), "{before:?}");
    slow.set(true);
    let mut probes = 0;
    for number in 0..2_000 {
        let hedged = serve(number);
        if number > 300 && hedged.outcome.hedge_won {
            probes += 1;
            // At the 75th percentile, not the 95th.
            let latency = hedged.outcome.total_latency - hedged.outcome.backup_latency.unwrap();
            assert!((ms(15)..=ms(18)).contains(&latency), "{latency:?}");
        }
    }
    assert!((10..=30).contains(&probes), "{probes}");
    assert!(delay() <= before + ms(1), "{:?}", delay());
}

/// Makes requests on three replicas, the first of which hangs from request 1000 on, until they time out after 5 s.
/// Returns how many after the first 2000 took so long at least, and how often the first replica was asked meanwhile.
macro_rules! first_hangs {
    ($hedger:expr, $clock:expr, $unhedged:expr, $slow:expr) => {{
        let set = RefCell::new(Replicas::<3>::all());
        let (asked, mut late) = (Cell::new(0), 0);
        for n in 0..8_000 {
            let call = $hedger.call().timeout(ms(5_000));
            let is_unhedged: bool = $unhedged(n);
            let call = if is_unhedged { call.unhedged() } else { call };
            let started = $clock.now();
            let _ = $clock.drive(call.on(&set).request(|attempt| {
                let hangs = n >= 1_000 && attempt.replica().index() == 0;
                asked.set(asked.get() + u32::from(hangs && n >= 2_000));
                let sleep = $clock.sleep(ms(if hangs { 1_000_000 } else { 10 }));
                async move {
                    sleep.await;
                    Ok::<_, ()>(())
                }
            }));
            late += u32::from(n >= 2_000 && $clock.now().since(started) >= $slow);
        }
        (late, asked.get())
    }};
}

#[test]
fn probes_are_requests_that_are_hedged() {
    let clock = Clock::new();
    let hedger = hedger!(&clock);
    for every in [2, 10, 100] {
        let (late, asked) = first_hangs!(hedger, clock, |n: u32| !n.is_multiple_of(every), ms(100));
        assert_eq!(late, 0, "1 of {every} is hedged");
        assert!((20..=100).contains(&asked), "1 of {every}: {asked} probes");
    }
}

#[test]
fn where_nothing_is_hedged_probes_are_rarer() {
    let clock = Clock::new();
    let mut observed = unguarded();
    observed.observe_only = true;
    let mut disabled = unguarded();
    disabled.enabled = false;
    let mut in_time = unguarded();
    in_time.timeout = Some(ms(11));
    for options in [observed, disabled, in_time] {
        let fixed = Fixed::new(ms(20));
        let hedger = Hedger::builder(&clock).strategy(fixed).options(options);
        let hedger = hedger.build_local().unwrap();
        let (late, asked) = first_hangs!(hedger, clock, |_: u32| false, ms(11));
        assert_eq!(late, asked);
        assert!((15..=25).contains(&asked), "{options:?}: {asked} probes");
    }
    // Each of them is the last that fails.
    let hedger = hedger!(&clock);
    let (late, asked) = first_hangs!(hedger, clock, |_: u32| true, ms(5_000));
    assert!(
        late == asked && (15..=25).contains(&asked),
        "{asked} probes"
    );
}

/// A delay of 20 ms for this share of the requests.
struct Chance(f32);

impl Strategy for Chance {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(ms(20)).with_chance(self.0)
    }

    fn record(&mut self, _: &Record) {}
}

#[test]
fn a_probe_is_hedged_whatever_else_is_not() {
    let clock = Clock::new();
    let mut withheld = unguarded();
    withheld.holdback_percent = 50.0;
    let mut guarded = unguarded();
    guarded.guard = Some(true);
    for (chance, options) in [(0.1, unguarded()), (1.0, withheld), (1.0, guarded)] {
        let hedger = Hedger::builder(&clock).strategy(Chance(chance));
        let hedger = hedger.budget(Budget::unlimited()).options(options);
        let hedger = hedger.build_local().unwrap();
        if options.guard == Some(true) {
            // Among others, hedges that lose until they are put off for as long as possible.
            for n in 0..400 {
                let _ = clock.drive(hedger.request(|attempt| {
                    let millis = match attempt.is_hedge() {
                        true => 50_000,
                        false if n % 4 > 0 => 1,
                        false => 2_000,
                    };
                    let sleep = clock.sleep(ms(millis));
                    async move {
                        sleep.await;
                        Ok::<_, ()>(())
                    }
                }));
            }
            assert_eq!(hedger.status().guard_level, 6);
        }
        let (late, asked) = first_hangs!(hedger, clock, |_: u32| false, ms(100));
        assert_eq!(late, 0, "{chance}, {options:?}");
        assert!(asked > 50, "{asked} probes");
        // Probes are in neither group.
        #[cfg(feature = "alloc")]
        assert!(hedger.metrics().effect().is_none());
    }
}

#[test]
fn retries_go_elsewhere() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<3>::all()));
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(20)))
        .attempts::<3>()
        .max_hedges(2)
        .build_local()
        .unwrap();
    let request = hedger.request_on(&set, |attempt| async move {
        if attempt.index() < 2 { Err(()) } else { Ok(()) }
    });
    let outcome = clock.drive(request).unwrap().outcome;
    assert_eq!((outcome.attempts, outcome.replicas_used), (3, 0b111));
}

#[test]
fn events_say_which_replica() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let events = Rc::new(RefCell::new(Vec::new()));
    let heard = events.clone();
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(20)))
        .sink(move |event: &Event| heard.borrow_mut().push(event.kind))
        .build_local()
        .unwrap();
    let request = hedger.request_on(&set, |attempt| {
        let sleep = clock.sleep(ms(if attempt.is_hedge() { 5 } else { 90 }));
        async move {
            sleep.await;
            Ok::<_, ()>(attempt.replica())
        }
    });
    let winner = clock.drive(request).unwrap().value;
    let (mut fired, mut stopped) = (false, false);
    for event in events.borrow().iter() {
        match event {
            EventKind::HedgeFired { attempt, .. } => {
                fired = true;
                assert_eq!(attempt.replica(), winner);
            }
            EventKind::RequestCancelled { replica, .. } => {
                assert_eq!(replica.unwrap().index(), 1 - winner.index());
            }
            EventKind::HedgeWon { replica, .. } => assert_eq!(*replica, Some(winner)),
            EventKind::RequestStop { outcome, .. } => {
                stopped = true;
                assert_eq!(
                    (outcome.replica, outcome.replicas_used),
                    (Some(winner), 0b11)
                );
            }
            _ => {}
        }
    }
    assert!(fired && stopped);
}

#[test]
fn an_attempt_that_expires_ends_its_lease_as_a_failure() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let mut options = unguarded();
    options.attempt_timeout = Some(ms(30));
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(500)))
        .budget(Budget::unlimited())
        .options(options)
        .build_local()
        .unwrap();
    let most = Cell::new(0);
    let hedged = clock
        .drive(hedger.request_on(&set, |attempt| {
            most.set(in_flight(&set, &clock));
            let sleep = clock.sleep(ms(if attempt.is_hedge() { 10 } else { 900 }));
            async move {
                sleep.await;
                Ok::<_, ()>(attempt.replica().index())
            }
        }))
        .unwrap();
    // The first attempt was over before the second started.
    assert_eq!((most.get(), in_flight(&set, &clock)), (1, 0));
    let expired = 1 - hedged.value;
    assert!(stats(&set, &clock, expired).latency.unwrap() >= ms(30));
}

#[test]
fn a_classifier_sees_where_an_attempt_went() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = hedger!(&clock);
    let call = hedger.call().classify(ByAttempt(
        |attempt: &Attempt, result: &Result<usize, ()>| {
            assert_eq!(*result, Ok(attempt.replica().index()));
            if attempt.is_hedge() {
                Verdict::Accept
            } else {
                Verdict::Retry
            }
        },
    ));
    let hedged = clock
        .drive(
            call.on(&set)
                .request(|attempt| async move { Ok::<_, ()>(attempt.replica().index()) }),
        )
        .unwrap();
    assert!(hedged.outcome.hedge_won);
}

#[test]
fn a_request_without_a_replica_deposits_nothing() {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
    let hedger = Hedger::builder(&clock)
        .budget(Budget::percent(100.0).burst(50))
        .build_local()
        .unwrap();
    let tokens = || hedger.budget().borrow().tokens();
    let before = tokens();
    for mask in [0, 0b11] {
        let call = hedger.call().on(&set).among(mask);
        let request = call.request(|_| async { Ok::<_, ()>(()) });
        assert_eq!(clock.drive(request).is_ok(), mask > 0);
    }
    assert_eq!(tokens(), before + 1.0);
}

/// Makes 20,000 requests of 80 to 120 ms on three replicas, the first of which hangs from request 4000 on. Returns how
/// many of the last 16,000 fail, how many of these asked the replica that hangs, and how often it was asked.
fn with_timeout(timeout: Duration) -> (u32, u32, u32) {
    let (clock, set) = (Clock::new(), RefCell::new(Replicas::<3>::all()));
    let hedger = Hedger::builder(&clock)
        .strategy(Percentile::new(95.0))
        .timeout(timeout)
        .build_local()
        .unwrap();
    let seed = Cell::new(1_u64);
    let (mut failed, mut asked_in_vain, mut asked) = (0, 0, 0);
    for n in 0..20_000_u64 {
        let hung = Cell::new(false);
        let result = clock.drive(hedger.request_on(&set, |attempt| {
            let hangs = n >= 4_000 && attempt.replica().index() == 0;
            hung.set(hung.get() || hangs);
            seed.set(
                seed.get()
                    .wrapping_mul(0x5851_f42d_4c95_7f2d)
                    .wrapping_add(1),
            );
            let drawn = 80 + (seed.get() >> 33) % 41;
            let sleep = clock.sleep(ms(if hangs { 1_000_000 } else { drawn }));
            async move {
                sleep.await;
                Ok::<_, ()>(())
            }
        }));
        if n >= 4_000 {
            failed += u32::from(result.is_err());
            asked_in_vain += u32::from(result.is_err() && hung.get());
            asked += u32::from(hung.get());
        }
    }
    (failed, asked_in_vain, asked)
}

#[test]
fn a_probe_is_hedged_in_time() {
    for timeout in [150, 170, 200, 250, 400] {
        let (failed, _, asked) = with_timeout(ms(timeout));
        assert!(failed <= 8, "{timeout} ms: {failed} of 16,000");
        assert!((100..=270).contains(&asked), "{timeout} ms: {asked} probes");
    }
    // A hedge cannot help, so that probes are rare.
    let (_, _, asked) = with_timeout(ms(122));
    assert!(asked <= 130, "{asked} probes");
}

/// About 95 ms are left for the hedge of a rare probe, which usually takes 100 ms.
#[test]
fn a_late_hedge_of_a_probe_may_still_win() {
    let (failed, in_vain, asked) = with_timeout(ms(122));
    assert_eq!(failed, in_vain);
    assert!(failed > 0 && failed * 4 < asked * 3, "{failed} of {asked}");
}

#[test]
fn a_failed_probe_is_retried_at_once_whatever_the_replica_asks_for() {
    for verdict in [
        Verdict::Retry,
        Verdict::RetryAfter(ms(300)),
        Verdict::RetryAfter(ms(300_000)),
        Verdict::Wait,
        Verdict::Fatal,
    ] {
        let (clock, set) = (Clock::new(), RefCell::new(Replicas::<2>::all()));
        let hedger = hedger!(&clock);
        let probes = Cell::new(0);
        for n in 0..4_000 {
            let started = clock.now();
            let call = hedger.call().classify(Says(verdict, true));
            let result = clock.drive(call.on(&set).request(|attempt| {
                let fails = n >= 500 && attempt.replica().index() == 1;
                probes.set(probes.get() + u32::from(fails && n >= 1_500));
                let sleep = clock.sleep(ms(if fails { 1 } else { 10 }));
                async move {
                    sleep.await;
                    Ok(u8::from(fails))
                }
            }));
            if n >= 1_500 {
                assert_eq!(result.unwrap().value, 0, "{verdict:?}");
                assert!(clock.now().since(started) <= ms(11), "{verdict:?}");
            }
        }
        assert!(probes.get() >= 30, "{verdict:?}: {} probes", probes.get());
    }
}
