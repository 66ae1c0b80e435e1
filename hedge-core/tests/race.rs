//! A race whose controller is written by hand: with no more than it has to, and what it is told.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use hedge_core::adapter::{Controller, RequestEnd, ResultController, race};
use hedge_core::manual::ManualTimer;
use hedge_core::{Attempt, Cause, Fixed, Hedger, Instant, Verdict};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Instant {
    Instant::from_epoch(ms(millis))
}

/// One hedge after 10 ms. It answers nothing but what it has to.
#[derive(Default)]
struct ByHand<'t> {
    hedged: bool,
    told: Option<&'t RefCell<Vec<(&'static str, Instant)>>>,
}

impl ByHand<'_> {
    fn hear(&self, what: &'static str, now: Instant) {
        if let Some(told) = self.told {
            told.borrow_mut().push((what, now));
        }
    }
}

impl Controller for ByHand<'_> {
    type Output = Instant;

    fn start(&mut self, now: Instant) {
        self.hear("start", now);
    }

    fn deadline(&mut self) -> Option<Instant> {
        None
    }

    fn due(&mut self) -> Option<Instant> {
        (!self.hedged).then_some(at(10))
    }

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        self.hedged = true;
        self.hear("admit", now);
        Some(Attempt::new(1, Cause::Delay, now.since(Instant::ZERO)))
    }

    fn completed(&mut self, _: RequestEnd, now: Instant) -> Instant {
        self.hear("completed", now);
        now
    }
}

impl ResultController<u8, ()> for ByHand<'_> {
    fn finished(&mut self, _: u8, _: &Result<u8, ()>, now: Instant) -> Verdict {
        self.hear("finished", now);
        Verdict::Accept
    }
}

#[test]
fn a_controller_hears_of_the_start_before_anything_is_launched() {
    let clock = ManualTimer::<4>::new();
    let told = RefCell::default();
    let controller = ByHand {
        told: Some(&told),
        ..ByHand::default()
    };
    let launch = |attempt: Attempt| {
        told.borrow_mut().push(("launch", clock.now()));
        let clock = &clock;
        async move {
            clock.sleep(ms(30)).await;
            Ok(attempt.index() as u8)
        }
    };
    let finish = clock.drive(race::<2, _, _, _, _, _, _>(&clock, controller, launch));
    assert_eq!(
        (finish.end, finish.result),
        (RequestEnd::Won(0), Some(Ok(0)))
    );
    assert_eq!(finish.output, at(30));
    let expected = [
        ("start", at(0)),
        ("launch", at(0)),
        ("admit", at(10)),
        ("launch", at(10)),
        ("finished", at(30)),
        ("completed", at(30)),
    ];
    assert_eq!(*told.borrow(), expected);
}

#[test]
fn losers_are_dropped_unless_the_controller_keeps_them() {
    let clock = ManualTimer::<4>::new();
    let launch = |attempt: Attempt| {
        let clock = &clock;
        async move {
            clock
                .sleep(ms(if attempt.is_hedge() { 5 } else { 90 }))
                .await;
            Ok(attempt.index() as u8)
        }
    };
    let mut race = pin!(race::<2, _, _, _, _, _, _>(
        &clock,
        ByHand::default(),
        launch
    ));
    assert_eq!(clock.drive(race.as_mut()).end, RequestEnd::Won(1));
    assert!(race.is_complete() && race.controller().hedged);
    assert_eq!(race.live(), 0);
    assert_eq!(clock.next_deadline(), None);
}

/// A loser that is kept gives its place in flight back when it ends, also where hedges ask whether they may start.
#[test]
fn a_kept_loser_is_polled_on_and_gives_its_place_back() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock)
        .strategy(Fixed::new(ms(10)))
        .build_local()
        .unwrap();
    let ended = Cell::new(0);
    let launch = |attempt: Attempt| {
        let (clock, ended) = (&clock, &ended);
        async move {
            clock
                .sleep(ms(if attempt.is_hedge() { 50 } else { 20 }))
                .await;
            ended.set(ended.get() + 1);
            Ok::<_, ()>(attempt.index())
        }
    };
    let mut request = pin!(hedger.call().keep_losers().request_if(|_| true, launch));
    assert_eq!(clock.drive(request.as_mut()).unwrap().value, 0);
    assert_eq!((ended.get(), hedger.in_flight()), (1, 1));
    clock.drive(poll_fn(|cx| {
        // It has given its result, and is never ready again.
        assert!(request.as_mut().poll(cx).is_pending());
        if ended.get() == 2 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    assert_eq!(hedger.in_flight(), 0);
}

/// What has not been answered is not driven in the name of its losers.
#[test]
fn to_drain_a_request_before_it_is_answered_makes_no_attempt() {
    let clock = ManualTimer::<4>::new();
    let hedger = Hedger::builder(&clock).build_local().unwrap();
    let launched = Cell::new(0);
    let mut request = pin!(hedger.call().open(|_| {
        launched.set(launched.get() + 1);
        async { Ok::<_, ()>(()) }
    }));
    clock.drive(request.as_mut().drain());
    assert_eq!(launched.get(), 0);
    assert!(clock.drive(request).is_ok());
    assert_eq!(launched.get(), 1);
}
