//! What happened to the requests of a schedule, as their attempts, their callers and their sink saw it.

use core::fmt;
use core::task::Waker;

use hedge_conformance::Books;
use hedge_core::adapter::Group;
use hedge_core::replicas::ReplicaId;
use hedge_core::{Instant, Options};

use crate::draw::{expiry, is_limit, max_pushback};
use crate::halves::Halves;
use crate::purse::{Limits, Purse};
use crate::world::REQUESTS;

/// Of all requests.
pub(crate) struct Journal {
    accounts: [Account; REQUESTS],
    opened: usize,
    /// Whose request is being polled or dropped.
    pub(crate) current: usize,
    pub(crate) purse: Purse,
    /// What delay hedges should have of the budget, where that can be known.
    pub(crate) halves: Option<Halves>,
    /// Whether the purse can know every charge and deposit in its order.
    pub(crate) exact: bool,
    /// Whether hedges were only observed at any time.
    pub(crate) observes: bool,
    /// Whether hedges are withheld for a control group.
    pub(crate) has_control: bool,
    /// Whether the sink listens.
    pub(crate) listens: bool,
    /// Whether the strategies want to hear of every request.
    pub(crate) learns: bool,
    pub(crate) books: Books,
    /// How many hedges exist, and those that are just being launched.
    pub(crate) hedges_alive: u32,
    pub(crate) fired: u64,
    /// Hedges of requests of which nothing is told any more.
    pub(crate) unfired: u64,
    pub(crate) ends: u64,
    /// Requests whose end was not told, since the caller's own code panicked just then.
    pub(crate) untold: u64,
    /// What the strategy heard of: requests, and their attempts.
    pub(crate) heard: (u64, u64),
    /// The requests of the control group of which the strategy heard, and of those that were hedged beside it.
    pub(crate) groups: (u64, u64),
}

/// Of one request.
pub(crate) struct Account {
    pub(crate) phase: Phase,
    /// What the caller and the options want.
    pub(crate) wants: Wants,
    trials: [Trial; 8],
    /// How many attempts were admitted, the primary included. Each is launched, unless the caller's code panics.
    pub(crate) admitted: u8,
    /// A hedge that was admitted is just being launched.
    pub(crate) launching: bool,
    /// A server has put a hedge off, which may have been paid for.
    pub(crate) may_reserve: bool,
    /// A result has left the request to the attempts that run.
    pub(crate) waits: bool,
    /// The longest pushback that a result has asked for, in nanoseconds.
    pub(crate) pushback: u64,
    pub(crate) accepted: Option<u8>,
    pub(crate) fatal: Option<u8>,
    /// How the request ended, where a panic of the caller's code kept it from saying so.
    pub(crate) settled: Option<End>,
    /// The caller's code has panicked, and the request was not dropped since.
    pub(crate) panicked: bool,
    /// No more events of it are expected, since a panic came between.
    pub(crate) silenced: bool,
    /// Drawn when its first hedge for slowness could start, where there is a control group.
    pub(crate) group: Option<Group>,
    /// A hedge for slowness was started.
    pub(crate) hedged: bool,
    /// A hedge was withheld since the last attempt was started.
    pub(crate) withheld: bool,
    /// Its primary tries a replica that is suspect, of which the strategy does not hear.
    pub(crate) probes: bool,
    /// The latest time at which it can have started.
    pub(crate) start: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) call_hedges: u8,
    /// The most that the options have allowed since the request was made.
    pub(crate) option_hedges: u8,
    /// The call's own limit, from the start, and whether the options had one all the time, or at any.
    pub(crate) call_limit: Option<u64>,
    pub(crate) limited_by_call: bool,
    pub(crate) deadline: Instant,
    /// Whether the call may be hedged, so that limits of the options count.
    pub(crate) may_hedge: bool,
    pub(crate) limited: bool,
    /// The longest that an attempt may last, if the options had a limit all the time, and the shortest limit that they had
    /// at any.
    pub(crate) expiry: Option<u64>,
    pub(crate) least_expiry: Option<u64>,
    /// The longest pushback that the options have allowed to wait for at any time.
    pub(crate) max_pushback: u64,
    pub(crate) keeps_refused: bool,
    pub(crate) ever_limited: bool,
    pub(crate) call_keeps: bool,
    pub(crate) ever_keeps: bool,
    pub(crate) teaches: bool,
    pub(crate) deposits: bool,
}

impl Wants {
    /// The hedger has other options from now on. A request takes those of when it first waits.
    pub(crate) fn change(&mut self, options: &Options) {
        let limited = self.may_hedge && options.enabled && options.timeout.is_some_and(is_limit);
        self.option_hedges = self.option_hedges.max(options.max_hedges);
        self.limited &= limited;
        let expiry = expiry(options).filter(|_| self.may_hedge);
        self.expiry = self.expiry.zip(expiry).map(|(one, other)| one.max(other));
        self.least_expiry = self.least_expiry.into_iter().chain(expiry).min();
        self.max_pushback = self.max_pushback.max(max_pushback(options));
        self.ever_limited |= limited;
        self.ever_keeps |= !options.enable_cancellation;
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Absent,
    /// Never polled.
    Fresh,
    Running,
    /// The result was given, or a panic took its place; the request still exists.
    Answered(End),
    Gone(Option<End>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Won,
    Failed,
    TimedOut,
    Dropped,
}

#[derive(Debug, Default)]
pub(crate) struct Trial {
    pub(crate) state: State,
    pub(crate) drops: u8,
    /// The result that it returned, if it did.
    pub(crate) ok: bool,
    pub(crate) accepted: bool,
    pub(crate) refused: bool,
    pub(crate) results: u8,
    pub(crate) results_dropped: u8,
    /// Hangs until this is woken.
    pub(crate) hung: Option<Waker>,
    pub(crate) never_wakes: bool,
    /// The latest time at which it can have started.
    pub(crate) start: u64,
    /// The longest time that it can have lasted, if it was dropped without a result.
    pub(crate) lasted: u64,
    /// Where it was sent.
    pub(crate) replica: Option<ReplicaId>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum State {
    #[default]
    Absent,
    Running,
    Returned,
    /// It has given a stream, and its first item.
    Streams,
    Dropped,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("phase", &self.phase)
            .field("wants", &self.wants)
            .field("trials", &self.trials())
            .field("accepted", &self.accepted)
            .field("fatal", &self.fatal)
            .field("panicked", &self.panicked)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Account {
    const fn new() -> Self {
        Self {
            phase: Phase::Absent,
            wants: Wants {
                call_hedges: 0,
                option_hedges: 0,
                call_limit: None,
                limited_by_call: false,
                deadline: Instant::MAX,
                may_hedge: true,
                limited: false,
                expiry: None,
                least_expiry: None,
                max_pushback: u64::MAX,
                keeps_refused: true,
                ever_limited: false,
                call_keeps: false,
                ever_keeps: false,
                teaches: true,
                deposits: true,
            },
            trials: [const {
                Trial {
                    state: State::Absent,
                    drops: 0,
                    ok: false,
                    accepted: false,
                    refused: false,
                    results: 0,
                    results_dropped: 0,
                    hung: None,
                    never_wakes: false,
                    start: 0,
                    lasted: 0,
                    replica: None,
                }
            }; 8],
            admitted: 0,
            launching: false,
            may_reserve: false,
            waits: false,
            pushback: 0,
            accepted: None,
            fatal: None,
            settled: None,
            panicked: false,
            silenced: false,
            group: None,
            hedged: false,
            withheld: false,
            probes: false,
            start: 0,
        }
    }

    pub(crate) fn trial(&mut self, index: u8) -> &mut Trial {
        &mut self.trials[usize::from(index)]
    }

    /// Those that may have been launched.
    pub(crate) fn trials(&self) -> &[Trial] {
        &self.trials[..usize::from(self.admitted)]
    }

    /// How many attempts exist.
    pub(crate) fn alive(&self) -> usize {
        let alive = |trial: &&Trial| matches!(trial.state, State::Running | State::Returned);
        self.trials().iter().filter(alive).count()
    }

    /// How many streams are open, besides that of attempt `given`.
    pub(crate) fn other_streams(&self, given: Option<u8>) -> usize {
        let trials = self.trials().iter().enumerate();
        let streams = |(index, trial): &(usize, &Trial)| {
            trial.state == State::Streams && given != Some(*index as u8)
        };
        trials.filter(streams).count()
    }

    /// Whether an attempt may have been dropped since it lasted too long.
    pub(crate) fn may_have_expired(&self, trial: &Trial) -> bool {
        // At the end of time, whatever has a limit has lasted long enough.
        let is_over = |limit| trial.lasted >= limit || trial.start.checked_add(limit).is_none();
        trial.results == 0 && trial.drops > 0 && self.wants.least_expiry.is_some_and(is_over)
    }

    /// Whether nothing more may be started for it.
    pub(crate) fn starts_no_more(&self) -> bool {
        !self.panicked && (self.waits || self.pushback > self.wants.max_pushback)
    }

    /// The earliest attempt whose result was refused, and the earliest whose error was. Refused values that were let go
    /// do not count.
    pub(crate) fn earliest_refused(&self) -> (Option<u8>, Option<u8>) {
        let let_go = |trial: &Trial| trial.results_dropped > 0 && !self.wants.keeps_refused;
        let first = |f: &dyn Fn(&Trial) -> bool| self.trials().iter().position(f).map(|i| i as u8);
        (
            first(&|trial| trial.refused && !(trial.ok && let_go(trial))),
            first(&|trial| trial.refused && !trial.ok),
        )
    }

    pub(crate) fn hedges(&self) -> u64 {
        u64::from(self.admitted.saturating_sub(1))
    }

    /// The waker of an attempt that hangs, which will then not hang any longer.
    pub(crate) fn wake(&mut self) -> Option<Waker> {
        self.trials.iter_mut().find_map(|trial| trial.hung.take())
    }

    /// How it ended, if it did.
    pub(crate) fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Answered(end) | Phase::Gone(Some(end)) => Some(end),
            _ => None,
        }
    }
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            accounts: [const { Account::new() }; REQUESTS],
            opened: 0,
            current: 0,
            purse: Purse::new(Limits::NONE, 0),
            halves: None,
            exact: true,
            observes: false,
            has_control: false,
            listens: true,
            learns: true,
            books: Books::new(),
            hedges_alive: 0,
            fired: 0,
            unfired: 0,
            ends: 0,
            untold: 0,
            heard: (0, 0),
            groups: (0, 0),
        }
    }

    pub(crate) fn begin(&mut self) {
        for account in &mut self.accounts[..self.opened] {
            *account = Account::new();
        }
        self.opened = 0;
        self.current = 0;
        self.exact = true;
        self.learns = true;
        self.books = Books::new();
        self.hedges_alive = 0;
        (self.fired, self.unfired) = (0, 0);
        (self.ends, self.untold) = (0, 0);
        self.observes = false;
        self.heard = (0, 0);
        self.groups = (0, 0);
    }

    /// A new account, if there is room.
    pub(crate) fn open(&mut self, wants: Wants) -> Option<usize> {
        let place = self.opened;
        let account = self.accounts.get_mut(place)?;
        account.phase = Phase::Fresh;
        account.wants = wants;
        self.opened += 1;
        Some(place)
    }

    pub(crate) fn of(&mut self, account: usize) -> &mut Account {
        &mut self.accounts[account]
    }

    pub(crate) fn opened(&self) -> &[Account] {
        &self.accounts[..self.opened]
    }

    pub(crate) fn opened_mut(&mut self) -> &mut [Account] {
        &mut self.accounts[..self.opened]
    }

    /// Whether some request may hold places in flight that its attempts have left, since a panic came between.
    pub(crate) fn is_loose(&self) -> bool {
        self.opened().iter().any(|account| account.panicked)
    }
}
