//! What callers do with a hedger, and what must hold meanwhile.

use core::cell::Cell;
use core::future::{Future, Ready};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic;

use hedge_conformance::Books;
use hedge_core::adapter::{BudgetHandle, Capacity, Max, SharedState};
use hedge_core::metrics::Recorder;
use hedge_core::stream::FirstItem;
use hedge_core::{Attempt, Call, Error, Hedged, Hedger, Options, Verdict};

use crate::caller::{Ear, Mind};
use crate::clock::TICK;
use crate::draw::{self, Wish};
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::flow::{self, Given, Opens};
use crate::halves::Halves;
use crate::invariants::Invariant;
use crate::journal::{End, Phase};
use crate::purse::{Limits, Purse};
use crate::schedule::{Tally, message};
use crate::trial::{Launched, Trial, Value, judge};
use crate::world::{Deliberate, World};

/// How many requests callers hold at a time, those within other requests aside.
const HELD: usize = 4;

/// What a hedger is built from.
pub(crate) struct Rules {
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    room: u8,
    counts: bool,
}

impl Rules {
    pub(crate) fn draw<M: Recorder>(world: &World, room: u8) -> Self {
        let options = draw::options(world, room);
        let limits = Limits::draw(world, options.max_hedges);
        let mut journal = world.journal();
        journal.purse = Purse::new(limits, world.clock.now());
        if !journal.listens {
            // Nothing is known of refusals.
            journal.purse.contest();
        }
        // Hedges that are only observed are paid for, but only the sink hears of them.
        journal.exact = journal.listens || !options.observe_only;
        journal.observes = options.observe_only;
        journal.has_control = options.holdback_percent > 0.0;
        if world.may(Fault::Early) || world.may(Fault::StepsBack) {
            journal.books = Books::new().untimed();
        }
        Self {
            options,
            limits,
            room,
            counts: M::ON,
        }
    }
}

pub(crate) type Answer<'w, V> = Result<Hedged<V>, Error<Value<'w>>>;

/// A request, and whose account it is on.
struct Held<F> {
    account: usize,
    request: Pin<Box<F>>,
}

pub(crate) struct Game<'g, 'w, L, B, const MAX: usize> {
    pub(crate) world: &'w World,
    pub(crate) hedger: &'g Hedger<&'w World, L, B, Ear<'w>, MAX>,
    room: u8,
    /// Whether there are metrics, and whether every request is timed from its start.
    pub(crate) counts: bool,
    timed: bool,
    options: Cell<Options>,
    polls: Cell<u64>,
}

impl<'g, 'w, L, B, const MAX: usize> Game<'g, 'w, L, B, MAX>
where
    L: SharedState<Strategy = Mind<'w>>,
    B: BudgetHandle,
    Max<MAX>:
        Capacity<Trial<'w>> + Capacity<FirstItem<Opens<'w>>> + Capacity<Ready<Result<(), ()>>>,
{
    pub(crate) fn new(
        world: &'w World,
        hedger: &'g Hedger<&'w World, L, B, Ear<'w>, MAX>,
        rules: Rules,
    ) -> Self {
        Self {
            world,
            hedger,
            room: rules.room,
            counts: rules.counts,
            timed: rules.counts || world.journal().listens,
            options: Cell::new(rules.options),
            polls: Cell::new(0),
        }
    }

    pub(crate) fn play(&self, tally: &mut Tally) {
        match self.world.below(4) {
            0 => self.play_on_replicas(),
            1 => self.run(
                |account, wish| {
                    let call = self.call(wish).classify(flow::judge);
                    let world = self.world;
                    call.stream(move |attempt| {
                        Opens::new(world, self.launch(account, attempt, true))
                    })
                },
                || (),
            ),
            _ => self.run(
                |account, wish| {
                    let call = self.call(wish);
                    call.open(move |attempt| self.launch(account, attempt, true))
                },
                || (),
            ),
        }
        if !self.world.is_broken() {
            self.check_totals(tally);
            self.check_usable();
        }
        tally.polls += self.polls.get();
    }

    /// Requests whose attempts are sent to replicas.
    fn play_on_replicas(&self) {
        let world = self.world;
        // A request pays once it is placed, and these come between its start and that.
        world.forbid(Fault::SinkPanics);
        world.forbid(Fault::PlanPanics);
        let fleet = Fleet::draw(world);
        let among = world.pick(&[u64::MAX, u64::MAX, 0b11, 0b1110]);
        self.run(
            |account, wish| {
                let call = self.call(wish).on(&fleet).among(among);
                call.open(move |attempt| {
                    let trial = self.launch(account, attempt, true);
                    world.journal().of(account).trial(trial.index).replica =
                        Some(attempt.replica());
                    trial
                })
            },
            || {
                fleet.befall();
                fleet.check();
            },
        );
        fleet.deliver_all();
        fleet.check();
    }

    /// Plays with the requests that `open` makes; `befall` is what happens after each step besides.
    fn run<F, V>(&self, open: impl Fn(usize, Wish) -> F, befall: impl Fn())
    where
        F: Future<Output = Answer<'w, V>>,
        V: Given<'w>,
    {
        let world = self.world;
        let mut held = [const { None }; HELD];
        let requests = 1 + world.below(HELD as u64) as usize;
        let steps = 6 + world.below(12 * requests as u64);
        for _ in 0..steps {
            self.step(&mut held[..requests], &open);
            self.check_budget();
            self.check_reservations();
            befall();
            if world.is_broken() {
                break;
            }
        }
        self.come_to_an_end(&mut held);
        for held in &mut held {
            self.discard(held);
            self.check_budget();
        }
        let sleeping = world.clock.sleeping();
        world.check(Invariant::AttemptsAreDropped, sleeping == 0, || {
            format!("{sleeping} sleep on")
        });
    }

    /// One thing happens.
    fn step<F, V>(&self, held: &mut [Option<Held<F>>], open: &impl Fn(usize, Wish) -> F)
    where
        F: Future<Output = Answer<'w, V>>,
        V: Given<'w>,
    {
        let world = self.world;
        let place = world.below(held.len() as u64) as usize;
        let Some(mine) = &mut held[place] else {
            held[place] = self.open(open);
            return;
        };
        let phase = world.journal().of(mine.account).phase;
        match world.below(16) {
            0 => match phase {
                Phase::Fresh if world.strikes(Fault::DropsFresh, 3) => {}
                Phase::Running if world.strikes(Fault::DropsRunning, 2) => {}
                Phase::Answered(_) => {
                    if world.journal().of(mine.account).alive() > 0 {
                        world.count(Fault::DropsLosers);
                    }
                }
                _ => return,
            },
            1 => return self.reconfigure(),
            2 => {
                if let Some(waker) = world.journal().of(mine.account).wake() {
                    waker.wake();
                }
                return;
            }
            3..7 => return self.pass_time(),
            _ => {
                let unasked = match phase {
                    Phase::Fresh => false,
                    Phase::Answered(_) => {
                        // Seldom, unless losers are to be driven.
                        let alive = world.journal().of(mine.account).alive();
                        if alive == 0 && world.below(3) > 0 {
                            return self.discard(&mut held[place]);
                        }
                        world.count(Fault::PollsAfterTheEnd);
                        false
                    }
                    _ => !world.tasks[mine.account].is_woken(),
                };
                if unasked && !world.strikes(Fault::PollsUnasked, 3) {
                    return self.pass_time();
                }
                let sound = self.poll(mine.account, mine.request.as_mut());
                if sound || world.strikes(Fault::PollsAfterPanic, 2) {
                    return;
                }
            }
        }
        self.discard(&mut held[place]);
    }

    fn open<F>(&self, open: &impl Fn(usize, Wish) -> F) -> Option<Held<F>> {
        let wish = Wish::draw(self.world);
        let wants = wish.wants(&self.options.get(), self.room);
        let account = self.world.journal().open(wants)?;
        Some(Held {
            account,
            request: Box::pin(open(account, wish)),
        })
    }

    #[allow(clippy::type_complexity)]
    fn call(
        &self,
        wish: Wish,
    ) -> Call<
        'g,
        &'w World,
        L,
        B,
        Ear<'w>,
        impl Fn(&Result<Value<'w>, Value<'w>>) -> Verdict + use<'g, 'w, L, B, MAX>,
        MAX,
    > {
        let mut call = self.hedger.call();
        if wish.unhedged {
            call = call.unhedged();
        }
        if let Some(hedges) = wish.max_hedges {
            call = call.max_hedges(hedges);
        }
        if let Some(timeout) = wish.timeout {
            call = call.timeout(timeout);
        }
        if let Some(deadline) = wish.deadline {
            call = call.deadline(deadline);
        }
        if wish.keeps {
            call = call.keep_losers();
        }
        if !wish.keeps_refused {
            call = call.keep_refused(false);
        }
        if let Some(teaches) = wish.teaches {
            call = call.teaches(teaches);
        }
        if let Some(deposits) = wish.deposits {
            call = call.deposits(deposits);
        }
        call.classify(judge)
    }

    /// The closure that starts attempts.
    fn launch(&self, account: usize, attempt: Attempt, nests: bool) -> Trial<'w> {
        let world = self.world;
        let launched = Launched::now(world);
        let (expected, panicked) = {
            let mut journal = world.journal();
            let account = journal.of(account);
            (account.admitted, account.panicked)
        };
        let index = attempt.index() as u8;
        world.check(
            Invariant::AttemptsAreNumbered,
            index == expected || panicked,
            || format!("{index} instead of {expected}"),
        );
        self.check_launch(account, index);
        if index == 0 {
            world.primary_admitted(account);
        } else {
            world.hedge_admitted(account);
            world.hedge_started(account, attempt);
        }
        if nests && world.strikes(Fault::DropsInPoll, 8) {
            self.nest();
        } else if nests && world.strikes(Fault::ReadsInPoll, 8) {
            let _ = (self.hedger.metrics(), self.hedger.options());
        }
        if world.may_panic(Fault::LaunchPanics, 16) {
            world.panic();
        }
        Trial::new(world, account, index, launched)
    }

    /// Makes a request, and drops it, in the middle of the poll of another.
    fn nest(&self) {
        let nested = self.open(&|account, wish| {
            let call = self.call(wish);
            call.open(move |attempt| self.launch(account, attempt, false))
        });
        self.world.journal().exact &= self.timed;
        if let Some(mut held) = nested {
            self.poll(held.account, held.request.as_mut());
            self.discard(&mut Some(held));
        }
    }

    /// Polls a request. Whether none of the caller's code panicked.
    fn poll<F, V>(&self, account: usize, request: Pin<&mut F>) -> bool
    where
        F: Future<Output = Answer<'w, V>>,
        V: Given<'w>,
    {
        let world = self.world;
        let task = &world.tasks[account];
        if world.strikes(Fault::ChangesWaker, 4) {
            task.change_waker();
        }
        task.sleep();
        let fresh = {
            let mut journal = world.journal();
            let account = journal.of(account);
            let fresh = account.phase == Phase::Fresh;
            if fresh {
                account.phase = Phase::Running;
            }
            fresh
        };
        self.polls.set(self.polls.get() + 1);
        let polled = self.on_account(account, || {
            request.poll(&mut Context::from_waker(task.waker()))
        });
        if fresh {
            world.journal().of(account).start = world.clock.latest();
        }
        match polled {
            Some(Poll::Ready(answer)) => self.check_answer(account, answer),
            Some(Poll::Pending) => self.check_wait(account),
            None => {
                let mut journal = world.journal();
                let account = journal.of(account);
                account.panicked = true;
                let unlaunched = core::mem::take(&mut account.launching);
                if let Some(end) = account.settled.take() {
                    account.phase = Phase::Answered(end);
                }
                journal.hedges_alive -= u32::from(unlaunched);
            }
        }
        polled_soundly(world, account)
    }

    /// Drops a request, if there is one.
    fn discard<F>(&self, held: &mut Option<Held<F>>) {
        let Some(Held { account, request }) = held.take() else {
            return;
        };
        let world = self.world;
        self.on_account(account, || drop(request));
        let mut journal = world.journal();
        if core::mem::take(&mut journal.of(account).may_reserve) {
            journal.purse.may_have_refunded();
        }
        let account = journal.of(account);
        account.settled = None;
        account.panicked = false;
        account.phase = Phase::Gone(match account.phase {
            Phase::Running => Some(End::Dropped),
            Phase::Answered(end) => Some(end),
            _ => None,
        });
        let alive = account.alive();
        world.check(Invariant::AttemptsAreDropped, alive == 0, || {
            format!("{alive} attempts of a request that was dropped")
        });
    }

    /// Runs `f`; `None` if it panics on purpose.
    fn on_account<R>(&self, account: usize, f: impl FnOnce() -> R) -> Option<R> {
        let world = self.world;
        let before = core::mem::replace(&mut world.journal().current, account);
        let result = panic::catch_unwind(AssertUnwindSafe(f));
        let mut journal = world.journal();
        journal.current = before;
        match result {
            Ok(result) => Some(result),
            Err(payload) => {
                // The sink may then hear about the request at another time.
                journal.exact &= self.timed;
                if !payload.is::<Deliberate>() {
                    world.broke(Invariant::NoPanicOfItsOwn, &message(&*payload));
                }
                None
            }
        }
    }

    fn pass_time(&self) {
        let world = self.world;
        let clock = &world.clock;
        if world.strikes(Fault::StandsStill, 3) {
        } else if world.strikes(Fault::Leaps, 8) {
            clock.advance(world.pick(&[1, 3_600_000 * TICK, u64::MAX / 4]));
        } else if world.strikes(Fault::Ends, 32) {
            clock.set(clock.now().max(u64::MAX - world.below(2)));
        } else if world.strikes(Fault::StepsBack, 6) {
            clock.set(clock.now().saturating_sub(TICK * world.below(30)));
        } else if let Some(next) = clock.next_deadline()
            && world.below(4) > 0
        {
            clock.set(clock.now().max(next));
        } else {
            clock.advance(TICK * world.below(20));
        }
        world.fire();
    }

    fn reconfigure(&self) {
        let (world, hedger) = (self.world, self.hedger);
        let done = if world.strikes(Fault::ChangesOptions, 2) {
            let options = draw::options(world, self.room);
            self.options.set(options);
            let mut journal = world.journal();
            journal.exact &= journal.listens || !options.observe_only;
            journal.observes |= options.observe_only;
            journal.has_control = options.holdback_percent > 0.0;
            // Of some requests the sink does not hear, if it panicked.
            journal.exact &= journal.untold == 0 || !options.observe_only;
            for account in journal.opened_mut() {
                account.wants.change(&options);
            }
            drop(journal);
            hedger.set_options(options)
        } else if world.strikes(Fault::ChangesBudget, 2) {
            let limits = Limits::draw(world, self.options.get().max_hedges);
            // What was reserved may have been paid by what is no more.
            let reserves = world.journal().purse.reserving() > 0;
            world.journal().exact &= !reserves;
            let mut journal = world.journal();
            journal.purse.reconfigure(limits, &world.clock);
            if let Some(halves) = &mut journal.halves {
                *halves = Halves::new(limits);
            }
            drop(journal);
            hedger.set_budget(limits.budget())
        } else if world.strikes(Fault::ChangesStrategy, 2) {
            hedger.reset();
            hedger.set_strategy(Mind::draw(world))
        } else {
            Ok(())
        };
        if let Err(error) = done {
            world.broke(Invariant::TheHedgerIsUsable, &error);
        }
    }

    /// Faults are over. Requests are polled only when they are woken.
    fn come_to_an_end<F, V>(&self, held: &mut [Option<Held<F>>])
    where
        F: Future<Output = Answer<'w, V>>,
        V: Given<'w>,
    {
        let world = self.world;
        for held in held.iter_mut() {
            let account = held.as_ref().map(|held| held.account);
            if account.is_some_and(|account| world.journal().of(account).panicked) {
                self.discard(held);
            }
        }
        world.be_honest();
        world.fire();
        let running = |held: &&mut Held<F>| {
            let phase = world.journal().of(held.account).phase;
            phase == Phase::Running
        };
        for _ in 0..1000 {
            if world.is_broken() {
                return;
            }
            let woken = held
                .iter_mut()
                .flatten()
                .filter(running)
                .find(|held| world.tasks[held.account].is_woken());
            if let Some(held) = woken {
                self.poll(held.account, held.request.as_mut());
            } else if let Some(next) = world.clock.next_deadline() {
                world.clock.set(world.clock.now().max(next));
                world.fire();
            } else {
                break;
            }
        }
        for held in held.iter_mut().flatten().filter(running) {
            self.check_stuck(held.account);
        }
    }
}

fn polled_soundly(world: &World, account: usize) -> bool {
    !world.journal().of(account).panicked
}
