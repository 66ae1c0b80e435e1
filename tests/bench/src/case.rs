//! A way to make a request, to be measured.

use core::future::{Future, poll_fn};
use core::hint::black_box;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::time::Instant;

use hedge_tokio::Hedged;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::processor;
use crate::rounds::Round;
use crate::script::{Kind, Script, Slot};

/// A way to make a request.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    runner: Box<dyn Runner>,
    prepare: Box<dyn Fn()>,
    slowness: u32,
}

impl Case {
    /// `client` makes what one task needs; that makes one request after the other.
    pub(crate) fn new<C, F, Fut>(name: &'static str, client: C) -> Self
    where
        C: Fn() -> F + 'static,
        F: FnMut(Script) -> Fut + Send + 'static,
        Fut: Future<Output: Answer> + Send + 'static,
    {
        Self {
            name,
            runner: Box::new(Client(client)),
            prepare: Box::new(|| ()),
            slowness: 1,
        }
    }

    /// It takes about so many times as long as others: its rounds have fewer requests.
    pub(crate) fn slow(mut self, times: u32) -> Self {
        self.slowness = times;
        self
    }

    /// What is done before every round, untimed.
    pub(crate) fn prepared(mut self, prepare: impl Fn() + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// What one of `requests` takes, in ns: of time where they do not wait, and of the processor's time where they
    /// do, for a hedge to be due.
    ///
    /// # Errors
    ///
    /// If a request did not go as its kind says.
    pub(crate) fn round(
        &self,
        runtime: &Runtime,
        kind: Kind,
        slots: &'static [Slot],
        requests: u32,
    ) -> Result<Round, String> {
        (self.prepare)();
        let round = if kind.hedges() {
            self.runner.together(runtime, kind, slots)
        } else {
            let requests = requests.div_ceil(self.slowness);
            self.runner.in_turn(runtime, kind, &slots[0], requests)
        };
        round.map_err(|error| format!("{}, {}: {error}", self.name, kind.name()))
    }

    /// How many times a request allocates: a mean over `requests`.
    ///
    /// # Errors
    ///
    /// If a request did not go as its kind says.
    pub(crate) fn allocations(
        &self,
        runtime: &Runtime,
        kind: Kind,
        slot: &'static Slot,
        requests: u32,
    ) -> Result<f64, String> {
        (self.prepare)();
        let counted = self.runner.counted(runtime, kind, slot, requests);
        counted
            .map(|counted| counted as f64 / f64::from(requests))
            .map_err(|error| format!("{}, {}: {error}", self.name, kind.name()))
    }

    /// How large the future of a request is, and how much it has allocated when its primary is out, in bytes.
    ///
    /// # Errors
    ///
    /// If the request ends.
    pub(crate) fn held(
        &self,
        runtime: &Runtime,
        slot: &'static Slot,
    ) -> Result<(usize, u64), String> {
        (self.prepare)();
        self.runner
            .held(runtime, slot)
            .map_err(|error| format!("{}: {error}", self.name))
    }

    /// How many requests a second are made by several tasks that make `requests` each.
    pub(crate) fn tasks(
        &self,
        runtime: &Runtime,
        kind: Kind,
        slots: &'static [Slot],
        requests: u32,
    ) -> Round {
        (self.prepare)();
        self.runner.tasks(runtime, kind, slots, requests)
    }
}

/// What a case does, over every type of client.
trait Runner {
    fn in_turn(&self, _: &Runtime, _: Kind, _: &'static Slot, requests: u32) -> Timed;
    fn together(&self, _: &Runtime, _: Kind, _: &'static [Slot]) -> Timed;
    fn counted(&self, _: &Runtime, _: Kind, _: &'static Slot, requests: u32)
    -> Result<u64, String>;
    fn held(&self, _: &Runtime, _: &'static Slot) -> Result<(usize, u64), String>;
    fn tasks(&self, _: &Runtime, _: Kind, _: &'static [Slot], requests: u32) -> Round;
}

type Timed = Result<Round, String>;

struct Client<C>(C);

impl<C, F, Fut> Runner for Client<C>
where
    C: Fn() -> F,
    F: FnMut(Script) -> Fut + Send + 'static,
    Fut: Future<Output: Answer> + Send + 'static,
{
    fn in_turn(&self, runtime: &Runtime, kind: Kind, slot: &'static Slot, requests: u32) -> Timed {
        let mut request = self.0();
        let task = runtime.spawn(in_turns(slot, async move {
            let script = Script { kind, slot };
            let mut right = 0;
            let waited = processor::thread_waited();
            let start = Instant::now();
            for _ in 0..requests {
                let answer = request(script).await;
                right += u32::from(answer.value() == Some(kind.winner()));
            }
            let took = start.elapsed();
            let waited = processor::since(waited, processor::thread_waited());
            (took, waited, right)
        }));
        let (took, waited, right) = runtime.block_on(task).map_err(|error| error.to_string())?;
        all_right(right, requests).map(|()| Round {
            value: took.as_nanos() as f64 / f64::from(requests),
            took,
            waited,
        })
    }

    /// Each in a separate task, as in a server, so that all wait for their hedges at the same time.
    fn together(&self, runtime: &Runtime, kind: Kind, slots: &'static [Slot]) -> Timed {
        // Some make their timers before they are polled.
        let _context = runtime.enter();
        let mut request = self.0();
        let latch = Arc::new(Latch::new(slots.len()));
        slots.iter().for_each(Slot::reset);
        let start = processor::time();
        for slot in slots {
            let answer = request(Script { kind, slot });
            let latch = Arc::clone(&latch);
            runtime.spawn(async move {
                let answer = answer.await;
                latch.arrive(answer.value() == Some(kind.winner()));
            });
        }
        runtime.block_on(latch.all_have_arrived());
        let took = processor::time().saturating_sub(start);
        all_right(latch.right.load(Ordering::Relaxed), slots.len()).map(|()| Round {
            value: took.as_nanos() as f64 / slots.len() as f64,
            took,
            // It is the processor's time that was taken.
            waited: None,
        })
    }

    fn counted(
        &self,
        runtime: &Runtime,
        kind: Kind,
        slot: &'static Slot,
        requests: u32,
    ) -> Result<u64, String> {
        let mut request = self.0();
        let task = runtime.spawn(async move {
            let mut allocations = 0;
            let mut right = 0;
            for _ in 0..requests {
                slot.reset();
                let mut count = |f: &mut dyn FnMut()| {
                    allocations += allocation_counter::measure(f).count_total;
                };
                let mut future = None;
                count(&mut || future = Some(request(Script { kind, slot })));
                let Some(future) = future else { continue };
                let mut future = pin!(future);
                let answer = poll_fn(|cx| {
                    slot.next_turn();
                    let mut poll = Poll::Pending;
                    count(&mut || poll = future.as_mut().poll(cx));
                    poll
                })
                .await;
                right += u32::from(answer.value() == Some(kind.winner()));
            }
            (allocations, right)
        });
        let (allocations, right) = runtime.block_on(task).map_err(|error| error.to_string())?;
        all_right(right, requests).map(|()| allocations)
    }

    fn held(&self, runtime: &Runtime, slot: &'static Slot) -> Result<(usize, u64), String> {
        let mut request = self.0();
        let kind = Kind::HedgeWins;
        runtime.block_on(async {
            slot.reset();
            let mut size = 0;
            let mut kept = None;
            let mut ended = false;
            let mut context = Context::from_waker(Waker::noop());
            let allocated = allocation_counter::measure(|| {
                let future = request(Script { kind, slot });
                size = size_of_val(&future);
                allocation_counter::opt_out(|| kept = Some(Box::pin(future)));
                if let Some(future) = &mut kept {
                    ended = future.as_mut().poll(&mut context).is_ready();
                }
            });
            if ended {
                return Err("the request ended before it was hedged".to_owned());
            }
            Ok((size, allocated.bytes_current.unsigned_abs()))
        })
    }

    fn tasks(&self, runtime: &Runtime, kind: Kind, slots: &'static [Slot], requests: u32) -> Round {
        let latch = Arc::new(Latch::new(slots.len()));
        let clients: Vec<_> = slots.iter().map(|slot| (slot, self.0())).collect();
        let waited = processor::all_waited();
        let start = Instant::now();
        for (slot, mut request) in clients {
            let latch = Arc::clone(&latch);
            runtime.spawn(in_turns(slot, async move {
                let script = Script { kind, slot };
                for _ in 0..requests {
                    black_box(request(script).await.value());
                }
                latch.arrive(true);
            }));
        }
        runtime.block_on(latch.all_have_arrived());
        let took = start.elapsed();
        let done = f64::from(requests) * slots.len() as f64;
        Round {
            value: done / took.as_secs_f64(),
            took,
            waited: processor::since(waited, processor::all_waited()),
        }
    }
}

/// A task that reports every time that it runs.
async fn in_turns<F: Future>(slot: &'static Slot, task: F) -> F::Output {
    let mut task = pin!(task);
    poll_fn(|cx| {
        slot.next_turn();
        task.as_mut().poll(cx)
    })
    .await
}

fn all_right<N: PartialEq + core::fmt::Display>(right: N, of: N) -> Result<(), String> {
    if right == of {
        return Ok(());
    }
    Err(format!(
        "{right} of {of} requests got the answer that they should"
    ))
}

/// Waits for tasks to end.
struct Latch {
    missing: AtomicUsize,
    right: AtomicUsize,
    all: Notify,
}

impl Latch {
    fn new(tasks: usize) -> Self {
        Self {
            missing: AtomicUsize::new(tasks),
            right: AtomicUsize::new(0),
            all: Notify::new(),
        }
    }

    fn arrive(&self, right: bool) {
        self.right.fetch_add(right.into(), Ordering::Relaxed);
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }

    async fn all_have_arrived(&self) {
        self.all.notified().await;
    }
}

/// What a request gives, whoever makes it.
pub(crate) trait Answer: Send {
    /// The value, if there is one.
    fn value(self) -> Option<u32>;
}

impl<E: Send> Answer for Result<u32, E> {
    fn value(self) -> Option<u32> {
        self.ok()
    }
}

impl<E: Send> Answer for Result<Hedged<u32>, E> {
    fn value(self) -> Option<u32> {
        self.ok().map(Hedged::into_inner)
    }
}

/// `hedged` gives back the future that lost.
impl<A: Answer, F: Send> Answer for (A, Option<F>) {
    fn value(self) -> Option<u32> {
        self.0.value()
    }
}
