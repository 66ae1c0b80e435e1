//! Attempts that are streams, and who reads them.

use core::cell::Cell;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::panic;

use futures_core::Stream;
use hedge_core::Verdict;
use hedge_core::stream::{First, HedgedStream, StreamEnd, StreamError, StreamReport};

use crate::clock::TICK;
use crate::draw::ticks;
use crate::fault::Fault;
use crate::invariants::Invariant;
use crate::journal::State;
use crate::trial::{Trial, Value, judge_value};
use crate::world::{Deliberate, World};

/// What gives the result of an attempt to the caller.
pub(crate) trait Given<'w> {
    /// The attempt.
    fn index(&self) -> u8;

    /// The caller does with it whatever callers do, and drops it.
    fn end(self, world: &'w World);
}

impl<'w> Given<'w> for Value<'w> {
    fn index(&self) -> u8 {
        self.index
    }

    fn end(self, _: &'w World) {}
}

/// An attempt that opens a stream.
pub(crate) struct Opens<'w> {
    world: &'w World,
    /// `None` once the stream is open.
    trial: Option<Trial<'w>>,
}

/// A stream, whose attempt lives as long as it does.
pub(crate) struct Flow<'w> {
    world: &'w World,
    trial: Trial<'w>,
    /// The number of the next item, and how many there are.
    next: u64,
    items: u64,
    /// The result, if there is no item that could be it.
    kept: Option<Value<'w>>,
    ended: bool,
}

/// An item of a stream. The first one is the result of its attempt.
pub(crate) struct Item<'w> {
    number: u64,
    value: Option<Value<'w>>,
}

impl<'w> Opens<'w> {
    pub(crate) fn new(world: &'w World, trial: Trial<'w>) -> Self {
        Self {
            world,
            trial: Some(trial),
        }
    }
}

impl<'w> Future for Opens<'w> {
    type Output = Result<Flow<'w>, Value<'w>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let world = this.world;
        if world.may_panic(Fault::PanicsInPoll, 24) {
            world.panic();
        }
        if world.strikes(Fault::OpensLate, 3) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(trial) = &this.trial
            && world.strikes(Fault::FailsToOpen, 8)
        {
            return Poll::Ready(Err(trial.fails()));
        }
        let Some(trial) = this.trial.take() else {
            world.broke(
                Invariant::NothingIsPolledAfterItsEnd,
                &"an attempt is, whose stream is open",
            );
            return Poll::Pending;
        };
        Poll::Ready(Ok(Flow {
            world,
            trial,
            next: 0,
            items: 1 + world.below(4),
            kept: None,
            ended: false,
        }))
    }
}

impl<'w> Flow<'w> {
    /// What the stream gives first.
    fn first(
        &mut self,
        result: Result<Value<'w>, Value<'w>>,
    ) -> Option<Result<Item<'w>, Value<'w>>> {
        let value = match result {
            Ok(value) => value,
            Err(value) => return Some(Err(value)),
        };
        self.trial.streams();
        if self.world.strikes(Fault::EndsAtOnce, 3) {
            (self.items, self.ended) = (0, true);
            self.kept = Some(value);
            return None;
        }
        self.next = 1;
        Some(Ok(Item {
            number: 0,
            value: Some(value),
        }))
    }
}

impl<'w> Stream for Flow<'w> {
    type Item = Result<Item<'w>, Value<'w>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let world = this.world;
        world.check(
            Invariant::NothingIsPolledAfterItsEnd,
            !this.ended,
            || "a stream is",
        );
        if this.next == 0 {
            return Pin::new(&mut this.trial)
                .poll(cx)
                .map(|result| this.first(result));
        }
        if world.may_panic(Fault::PanicsInStream, 6) {
            world.panic();
        }
        if world.strikes(Fault::Stalls, 2) {
            return Poll::Pending;
        }
        this.ended = this.next == this.items;
        if this.ended {
            return Poll::Ready(None);
        }
        this.next += 1;
        Poll::Ready(Some(Ok(Item {
            number: this.next - 1,
            value: None,
        })))
    }
}

/// The classifier of streams.
pub(crate) fn judge<'w>(result: &Result<First<Item<'w>, Flow<'w>>, Value<'w>>) -> Verdict {
    let value = match result {
        Ok(First { item, stream }) => {
            let item = item.as_ref().and_then(|item| item.value.as_ref());
            item.or(stream.kept.as_ref())
        }
        Err(value) => Some(value),
    };
    // Each has one.
    value.map_or(Verdict::Fatal, judge_value)
}

impl<'w> Given<'w> for HedgedStream<Flow<'w>, Item<'w>, &'w World> {
    fn index(&self) -> u8 {
        self.get_ref().trial.index
    }

    fn end(self, world: &'w World) {
        let (account, index) = (self.get_ref().trial.account, self.index());
        let items = self.get_ref().items;
        let reports = Cell::new(0);
        let report = Cell::new(None);
        let mut read = 0;
        let mut end = StreamEnd::Dropped;
        {
            let note = |told: StreamReport| {
                reports.set(reports.get() + 1);
                report.set(Some((told.end, told.items)));
            };
            let limit = ticks(1 + world.below(6));
            let mut stream = pin!(self.stall(limit).report(note));
            let mut patience = 12;
            while patience > 0 && !world.strikes(Fault::DropsStream, 6) {
                patience -= 1;
                let mut cx = Context::from_waker(Waker::noop());
                let poll = || stream.as_mut().poll_next(&mut cx);
                match panic::catch_unwind(AssertUnwindSafe(poll)) {
                    Ok(Poll::Pending) => world.clock.advance(TICK * world.below(8)),
                    Ok(Poll::Ready(Some(Ok(item)))) => {
                        world.check(Invariant::ItemsComeInOrder, item.number == read, || {
                            format!("item {} instead of {read}", item.number)
                        });
                        read += 1;
                    }
                    Ok(Poll::Ready(Some(Err(StreamError::Stalled { .. })))) => {
                        end = StreamEnd::Stalled;
                        break;
                    }
                    Ok(Poll::Ready(Some(Err(_)))) => {
                        end = StreamEnd::Failed;
                        break;
                    }
                    Ok(Poll::Ready(None)) => {
                        end = StreamEnd::Ended;
                        world.check(Invariant::ItemsComeInOrder, read == items, || {
                            format!("it ends after {read} items of {items}")
                        });
                        break;
                    }
                    Err(payload) if payload.is::<Deliberate>() => {}
                    Err(payload) => panic::resume_unwind(payload),
                }
            }
            if end != StreamEnd::Dropped {
                let is_open = world.journal().of(account).trial(index).state == State::Streams;
                world.check(Invariant::StreamsReportTheirEnd, !is_open, || {
                    format!("{end:?}, and the stream is still open")
                });
            }
        }
        let told = (reports.get(), report.get());
        let right = told == (1, Some((end, read)));
        world.check(Invariant::StreamsReportTheirEnd, right, || {
            format!("{told:?}, for {end:?} after {read} items")
        });
    }
}
