//! The suite on the virtual clock.

use core::cell::RefCell;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Wake;

use hedge_conformance::{Local, Threads, World, conformance};
use hedge_core::manual::ManualTimer;
use hedge_core::telemetry::EventKind;
use hedge_core::{Budget, Event, Fixed, Hedger, Options};

const TICK: Duration = Duration::from_millis(1);

/// As `ManualTimer::drive`, but polls only when woken, so that a waker that was lost shows.
fn run<F: Future<Output = ()>>(case: impl FnOnce(&'static ManualTimer) -> F) {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let clock: &ManualTimer = Box::leak(Box::new(ManualTimer::new()));
    let mut case = pin!(case(clock));
    let woken = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if woken.0.swap(false, Ordering::Relaxed) {
            match case.as_mut().poll(&mut cx) {
                Poll::Ready(()) => break,
                Poll::Pending => continue,
            }
        }
        let next = clock.next_deadline().expect("it waits for nothing");
        clock.advance(next.since(clock.now()));
    }
    assert_eq!(clock.next_deadline(), None, "a sleep was not dropped");
}

conformance!(local, World::<_, Local>::exact, run);
conformance!(threads, World::<_, Threads>::exact, run);

#[test]
fn every_case_is_in_the_list() {
    macro_rules! list {
        ({} $($file:ident { $($case:ident,)* })*) => {
            [$($((stringify!($file), stringify!($case))),*),*]
        };
    }
    let listed = hedge_conformance::for_each_case!([list]);
    let mut written = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cases")).unwrap() {
        let path = entry.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        for line in source.lines() {
            let Some(case) = line.strip_prefix("pub async fn ") else {
                continue;
            };
            let case = case.split('<').next().unwrap();
            let file = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                listed.contains(&(file, case)),
                "{file}::{case} is never run"
            );
            written += 1;
        }
    }
    assert_eq!(listed.len(), written);
}

thread_local! {
    static TOLD: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// What was told in every case, a line for each stretch of events of one request.
///
/// A case in `clock` has no hedger, and where nobody listens nothing is told.
macro_rules! chronicle {
    ({ $home:ident } $($file:ident { $($case:ident,)* })*) => {{
        let mut chronicle = String::new();
        $($(
            let case = concat!(stringify!($file), "::", stringify!($case));
            run(|clock| async move {
                let world = World::<_, $home>::exact(clock);
                let world = world.with_journal(|event| TOLD.with_borrow_mut(|told| told.push(*event)));
                hedge_conformance::cases::$file::$case(&world).await;
            });
            chronicle += case;
            chronicle += &lines(&TOLD.take());
        )*)*
        chronicle
    }};
}

/// The events as `fired 1`, which is the attempt, or `suppressed in_flight`, after the number of their request.
fn lines(told: &[Event]) -> String {
    let (mut lines, mut ids, mut last) = (String::new(), Vec::new(), None);
    for event in told {
        if event.kind == EventKind::RequestStart {
            ids.push(event.request);
            last = None;
        }
        let number = ids.iter().rposition(|id| *id == event.request).unwrap() + 1;
        if last != Some(number) {
            write!(lines, "\n    {number}:").unwrap();
            last = Some(number);
        }
        let name = event.kind.name().split_once('.').unwrap().1;
        write!(lines, " {name}").unwrap();
        match event.kind {
            EventKind::HedgeFired { attempt, .. } => write!(lines, " {}", attempt.index()),
            EventKind::HedgeWon { attempt, .. }
            | EventKind::AttemptTimeout { attempt, .. }
            | EventKind::AttemptFailed { attempt, .. }
            | EventKind::RequestCancelled { attempt, .. } => {
                write!(lines, " {attempt}")
            }
            EventKind::HedgeSuppressed { reason, .. } => write!(lines, " {reason}"),
            _ => Ok(()),
        }
        .unwrap();
        lines.push(',');
    }
    lines.push('\n');
    lines
}

/// Which events, how many, and in which order, in every case. What is right is in `events.txt`; where that has
/// to change, `HEDGE_WRITE_EVENTS=1` writes it anew, to be read before it is committed.
#[test]
fn the_events_of_every_case_are_these() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events.txt");
    let local = hedge_conformance::for_each_case!([chronicle] Local);
    if std::env::var_os("HEDGE_WRITE_EVENTS").is_some() {
        fs::write(&path, &local).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for told in [
        local,
        hedge_conformance::for_each_case!([chronicle] Threads),
    ] {
        let mut case = "";
        for (told, expected) in told.lines().zip(expected.lines()) {
            case = if told.starts_with(' ') { case } else { told };
            assert_eq!(told, expected, "in {case}");
        }
        assert_eq!(told.lines().count(), expected.lines().count());
    }
}

/// Retries that run out of time, their own or their request's, have failed: while they all do, few start.
#[test]
fn retries_that_run_out_of_time_are_thinned_out() {
    for is_own in [true, false] {
        let clock = ManualTimer::<4>::new();
        let mut options = Options::DEFAULT;
        options.guard = Some(true);
        let limit = if is_own {
            &mut options.attempt_timeout
        } else {
            &mut options.timeout
        };
        *limit = Some(TICK);
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(TICK * 9))
            .budget(Budget::unlimited())
            .options(options)
            .build_local()
            .unwrap();
        for _ in 0..1000 {
            let request = hedger.request(|attempt| async move {
                if attempt.is_hedge() {
                    core::future::pending::<()>().await;
                }
                Err::<(), _>(())
            });
            assert!(clock.drive(request).is_err());
        }
        let retries = hedger.metrics().hedges;
        assert!((66..250).contains(&retries), "{retries}");
    }
}

/// A hedge that follows at once starts when the primary has computed, and not as if that had taken no time.
#[test]
fn a_hedge_starts_after_what_was_computed() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(Duration::ZERO))
        .budget(Budget::unlimited())
        .attempt_timeout(TICK * 5)
        .build_local()
        .unwrap();
    let request = hedger.request(|attempt| {
        let clock = &clock;
        async move {
            if attempt.is_hedge() {
                assert_eq!(attempt.elapsed(), TICK * 9);
                clock.sleep(TICK * 4).await;
            } else {
                clock.advance(TICK * 9);
                core::future::pending::<()>().await;
            }
            Ok::<_, ()>(())
        }
    });
    let outcome = clock.drive(request).unwrap().outcome;
    assert!(outcome.hedge_won);
    assert_eq!(outcome.total_latency, TICK * 13);
}

/// An attempt that computes for long before it first waits, or in one poll, has taken that long.
#[test]
fn time_spent_without_waiting_counts() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(TICK * 9))
        .build_local()
        .unwrap();
    let hedged = clock.drive(hedger.request(|_| {
        clock.advance(TICK);
        let clock = &clock;
        async move {
            clock.advance(TICK);
            clock.sleep(TICK).await;
            clock.advance(TICK);
            Ok::<_, ()>(())
        }
    }));
    let outcome = hedged.unwrap().outcome;
    assert_eq!(
        (outcome.total_latency, outcome.primary_latency),
        (TICK * 4, Some(TICK * 4))
    );

    let hedged = clock.drive(hedger.request(async |_| {
        clock.advance(TICK * 3);
        Ok::<_, ()>(())
    }));
    assert_eq!(hedged.unwrap().outcome.total_latency, TICK * 3);
}

/// A hedge that came due while the primary computed is started when that is over, and told so.
#[test]
fn a_hedge_that_is_late_is_told_so() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(TICK))
        .build_local()
        .unwrap();
    let hedged = clock.drive(hedger.request(|attempt| {
        let clock = &clock;
        async move {
            if !attempt.is_hedge() {
                clock.advance(TICK * 5);
                core::future::pending::<()>().await;
            }
            clock.sleep(TICK).await;
            Ok::<_, ()>(attempt.elapsed())
        }
    }));
    let hedged = hedged.unwrap();
    assert_eq!(
        (hedged.value, hedged.outcome.backup_latency),
        (TICK * 5, Some(TICK))
    );
    assert_eq!(hedged.outcome.total_latency, TICK * 6);
}
