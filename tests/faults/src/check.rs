//! Asks whether the invariants hold.

use core::future::{Ready, ready};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use hedge_core::adapter::{BudgetHandle, Capacity, Group, Max, SharedState};
use hedge_core::stream::FirstItem;
use hedge_core::{Error, Instant, MetricsSnapshot, Outcome, Suppressed};

use crate::caller::Mind;
use crate::clock::instant;
use crate::draw::COST;
use crate::flow::{Given, Opens};
use crate::game::{Answer, Game};
use crate::invariants::Invariant;
use crate::journal::{Account, End, Phase, State, Trial};
use crate::schedule::Tally;
use crate::trial;

impl<'w, L, B, const MAX: usize> Game<'_, 'w, L, B, MAX>
where
    L: SharedState<Strategy = Mind<'w>>,
    B: BudgetHandle,
    Max<MAX>: Capacity<trial::Trial<'w>>
        + Capacity<FirstItem<Opens<'w>>>
        + Capacity<Ready<Result<(), ()>>>,
{
    /// Between any two steps.
    pub(crate) fn check_budget(&self) {
        let world = self.world;
        let budget = self.hedger.budget();
        let (in_flight, tokens) = budget.edit(|budget| (budget.in_flight(), budget.tokens()));
        let journal = world.journal();
        let alive = journal.hedges_alive;
        let reserved = journal.purse.reserving();
        let right = in_flight >= alive && (journal.is_loose() || in_flight <= alive + reserved);
        world.check(Invariant::InFlightIsWhatRuns, right, || {
            format!("{in_flight} in flight, {alive} run")
        });
        if journal.exact {
            let right = match journal.purse.tokens() {
                Some((least, most)) => {
                    let tokens = (tokens * 1e6).round() as i64;
                    (least..=most).contains(&tokens)
                }
                None => tokens == f64::INFINITY,
            };
            world.check(Invariant::TokensAddUp, right, || {
                format!("{tokens}, {:?}", journal.purse)
            });
        }
    }

    /// Requests that wait for nothing but a hedge which the server put off have paid for it.
    pub(crate) fn check_reservations(&self) {
        let world = self.world;
        let budget = self.hedger.budget();
        let in_flight = budget.edit(|budget| budget.in_flight());
        let journal = world.journal();
        let accounts = journal.opened().iter().zip(&world.tasks);
        let waits = |(of, task): &(&Account, &crate::task::Task)| {
            let runs = of.phase == Phase::Running && !of.panicked && of.admitted > 0;
            runs && of.alive() == 0 && !task.is_woken()
        };
        let waiting = accounts.filter(waits).count();
        let reserved = in_flight - journal.hedges_alive;
        let right = journal.is_loose() || waiting <= reserved as usize;
        world.check(Invariant::NoWaitInVain, right, || {
            format!("{waiting} wait, {reserved} have paid")
        });
    }

    /// An attempt is launched.
    pub(crate) fn check_launch(&self, account: usize, index: u8) {
        let world = self.world;
        let mut journal = world.journal();
        let of = journal.of(account);
        if of.panicked {
            return;
        }
        let end = of.wants.deadline;
        let in_time = end == Instant::MAX || instant(world.clock.now()) < end;
        // What is known of the time of later ones may be older.
        world.check(
            Invariant::NothingIsSentTooLate,
            index > 0 || in_time,
            || format!("{of:?}"),
        );
        let held = |trial: &Trial| trial.refused && trial.ok && trial.results_dropped == 0;
        let holds = !of.wants.keeps_refused && of.trials().iter().any(held);
        world.check(Invariant::RefusedValuesAreLetGo, !holds, || {
            format!("{of:?}")
        });
    }

    /// A request is pending.
    pub(crate) fn check_wait(&self, account: usize) {
        let world = self.world;
        let mut journal = world.journal();
        let of = journal.of(account);
        if of.phase != Phase::Running || of.panicked {
            return;
        }
        let over = of.accepted.is_some() || of.fatal.is_some();
        world.check(Invariant::NoAcceptedResultIsLost, !over, || {
            format!("pending with a result: {of:?}")
        });
        let task = &world.tasks[account];
        if task.is_woken() {
            return;
        }
        let alarm = world.clock.alarm_of(task.waker());
        let waits = of.alive() > 0 || alarm.is_some();
        world.check(Invariant::NoWaitForNothing, waits, || format!("{of:?}"));
        if of.alive() == 0 {
            let limit = of.wants.call_limit.unwrap_or(u64::MAX);
            let end = of.start.saturating_add(limit);
            let end = instant(end).min(of.wants.deadline);
            let in_vain = of.starts_no_more() || alarm.is_some_and(|at| instant(at) >= end);
            world.check(Invariant::NoWaitInVain, !in_vain, || {
                format!("alarm {alarm:?}, {of:?}")
            });
        }
        let running = |trial: &&Trial| trial.drops == 0 && trial.results == 0;
        let oldest = of.trials().iter().find(running);
        if let (Some(limit), Some(trial)) = (of.wants.expiry, oldest) {
            let latest = trial.start.saturating_add(limit);
            let watched = alarm.is_some_and(|alarm| alarm <= latest);
            world.check(Invariant::TheTimeLimitIsWatched, watched, || {
                format!("alarm {alarm:?}, {of:?}")
            });
        }
        if !of.wants.limited && !of.wants.limited_by_call {
            return;
        }
        let limit = of.wants.call_limit.unwrap_or(u64::MAX);
        let latest = of.start.saturating_add(limit);
        let watched = alarm.is_some_and(|alarm| alarm <= latest);
        world.check(Invariant::TheTimeLimitIsWatched, watched, || {
            format!("alarm {alarm:?}, {of:?}")
        });
    }

    /// A request that is running when nothing more will happen.
    pub(crate) fn check_stuck(&self, account: usize) {
        let world = self.world;
        let mut journal = world.journal();
        let of = journal.of(account);
        let hangs = of
            .trials()
            .iter()
            .any(|trial| trial.hung.is_some() || trial.never_wakes && trial.drops == 0);
        let limited = of.wants.limited || of.wants.limited_by_call;
        let limited = limited || of.wants.expiry.is_some();
        world.check(Invariant::RequestsEnd, hangs && !limited, || {
            format!("{of:?}")
        });
    }

    /// A request gave its answer.
    pub(crate) fn check_answer<V: Given<'w>>(&self, account: usize, answer: Answer<'w, V>) {
        let world = self.world;
        {
            let mut journal = world.journal();
            let of = journal.of(account);
            let first = of.phase == Phase::Running;
            world.check(
                Invariant::RequestsAddUp,
                first,
                || "a request gives two answers",
            );
            let end = match &answer {
                Ok(hedged) => self.check_value(of, hedged.value.index(), &hedged.outcome),
                Err(Error::Failed { error, attempts }) => {
                    self.check_attempts(of, *attempts);
                    // An error may be what the classifier was waiting for.
                    if of.trial(error.index).accepted {
                        self.check_accepted(of, error.index)
                    } else {
                        self.check_refused(of, error.index)
                    }
                }
                Err(Error::Timeout {
                    attempts, error, ..
                }) => {
                    self.check_attempts(of, *attempts);
                    self.check_timeout(of, error.as_ref().map(|error| error.index))
                }
                Err(_) => End::Failed,
            };
            let may_reserve = core::mem::take(&mut of.may_reserve);
            of.phase = Phase::Answered(end);
            let alive = of.alive();
            let may_keep = end == End::Won && of.wants.ever_keeps;
            world.check(
                Invariant::AttemptsAreDropped,
                alive == 0 || may_keep,
                || format!("{alive} attempts of a request that has ended"),
            );
            let kept =
                |trial: &Trial| trial.results > 0 || trial.drops == 0 || of.may_have_expired(trial);
            let keeps = of.wants.call_keeps && end == End::Won && !of.panicked;
            world.check(
                Invariant::AttemptsAreDropped,
                !keeps || of.trials().iter().all(kept),
                || "a loser that was to be kept was dropped",
            );
            let given = answer.as_ref().ok().map(|hedged| hedged.value.index());
            let others = of.other_streams(given);
            world.check(Invariant::OtherStreamsAreDropped, others == 0, || {
                format!("{others} are open, besides that of {given:?}")
            });
            if may_reserve {
                journal.purse.may_have_refunded();
            }
        }
        if let Ok(hedged) = answer {
            hedged.value.end(world);
        }
    }

    fn check_value(&self, of: &Account, index: u8, outcome: &Outcome) -> End {
        let end = if outcome.accepted {
            self.check_accepted(of, index)
        } else {
            self.check_refused(of, index)
        };
        self.check_attempts(of, outcome.attempts);
        let cost = COST * f64::from(of.admitted);
        let told = (outcome.hedged, outcome.hedge_won, outcome.winner);
        let true_ = (of.admitted > 1, end == End::Won && index > 0, index);
        let right = told == true_ && outcome.cost == cost;
        self.world.check(Invariant::TheOutcomeIsTrue, right, || {
            format!("{outcome:?}")
        });
        let reason = outcome.suppressed.is_some() != outcome.hedged;
        self.world
            .check(Invariant::ReasonsAddUp, reason, || format!("{outcome:?}"));
        end
    }

    fn check_accepted(&self, of: &Account, index: u8) -> End {
        self.world.check(
            Invariant::NoAcceptedResultIsLost,
            of.accepted == Some(index) || of.panicked,
            || format!("{index} instead of {:?}", of.accepted),
        );
        End::Won
    }

    /// The result of attempt `index`, which was refused, is the answer.
    fn check_refused(&self, of: &Account, index: u8) -> End {
        let world = self.world;
        // What was known of results may have been lost in a panic.
        if of.panicked {
            return End::Failed;
        }
        world.check(
            Invariant::NoAcceptedResultIsLost,
            of.accepted.is_none(),
            || format!("{index} instead of {:?}", of.accepted),
        );
        let expected = match of.fatal {
            Some(fatal) => Some(fatal),
            None => {
                let over = |trial: &Trial| trial.results > 0 || of.may_have_expired(trial);
                let all = of.trials().iter().all(over);
                world.check(Invariant::NoFailureBeatsAnAttempt, all, || {
                    format!("{of:?}")
                });
                of.earliest_refused().0
            }
        };
        world.check(
            Invariant::TheEarliestFailureIsTold,
            expected == Some(index),
            || format!("{index} instead of {expected:?}"),
        );
        End::Failed
    }

    fn check_timeout(&self, of: &Account, error: Option<u8>) -> End {
        let world = self.world;
        if of.panicked {
            return End::TimedOut;
        }
        let over = of.accepted.is_some() || of.fatal.is_some();
        let mut trials = of.trials().iter();
        let expired = trials.all(|trial| trial.results > 0 || of.may_have_expired(trial));
        world.check(
            Invariant::OnlyLimitedRequestsTimeOut,
            (of.wants.ever_limited || expired) && !over,
            || format!("{of:?}"),
        );
        let expected = of.earliest_refused().1;
        world.check(
            Invariant::TheEarliestFailureIsTold,
            error == expected,
            || format!("{error:?} instead of {expected:?}"),
        );
        End::TimedOut
    }

    fn check_attempts(&self, of: &Account, attempts: u8) {
        let admitted = of.admitted;
        self.world
            .check(Invariant::TheOutcomeIsTrue, attempts == admitted, || {
                format!("{attempts} attempts are reported, {admitted} were made")
            });
    }

    /// When every request is gone.
    pub(crate) fn check_totals(&self, tally: &mut Tally) {
        let world = self.world;
        // Takes every request into account, so that the strategy has heard of them.
        let _ = self.hedger.options();
        let metrics = self.hedger.metrics();
        let mut journal = world.journal();
        let totals = Totals::of(journal.opened());
        tally.requests += totals.requests;
        tally.attempts += totals.attempts;
        for (mine, more) in tally.ends.iter_mut().zip(totals.ends) {
            *mine += more;
        }
        for trial in journal.opened().iter().flat_map(Account::trials) {
            let once = if trial.state == State::Absent {
                trial.drops == 0
            } else {
                trial.drops == 1
            };
            world.check(Invariant::AttemptsAreDropped, once, || format!("{trial:?}"));
            let once = trial.results <= 1 && trial.results_dropped == trial.results;
            world.check(Invariant::ResultsAreDroppedOnce, once, || {
                format!("{trial:?}")
            });
        }
        if self.counts {
            totals.check(world, &metrics);
        }
        if journal.learns {
            let heard = journal.heard;
            world.check(
                Invariant::TheStrategyHearsOfAll,
                heard == totals.taught,
                || format!("{heard:?}, {totals:?}"),
            );
        }
        // Of what is withheld only the sink hears.
        if journal.learns && journal.listens && journal.untold == 0 {
            let groups = journal.groups;
            world.check(Invariant::GroupsAddUp, groups == totals.groups, || {
                format!("{groups:?}, {totals:?}")
            });
        }
        if journal.listens {
            let (open, untold) = (journal.books.open() as u64, journal.untold);
            let hedges = journal.fired + journal.unfired;
            let told = (hedges, journal.ends + open, open);
            let right = (totals.hedges(), totals.requests, untold);
            world.check(Invariant::EventsAddUp, told == right, || {
                format!("{told:?} instead of {right:?}")
            });
        }
        journal.books = hedge_conformance::Books::new();
    }

    /// The next request is answered.
    pub(crate) fn check_usable(&self) {
        let request = pin!(self.hedger.request(|_| ready(Ok::<(), ()>(()))));
        let answer = request.poll(&mut Context::from_waker(Waker::noop()));
        let right = matches!(answer, Poll::Ready(Ok(_)));
        self.world
            .check(Invariant::TheHedgerIsUsable, right, || "no answer");
    }
}

/// What the metrics should say.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    /// Requests whose deadline had passed, for which nothing was sent.
    unsent: u64,
    ends: [u64; 4],
    attempts: u64,
    hedged: u64,
    hedge_wins: u64,
    /// Requests of which the strategy is to hear, and their attempts.
    taught: (u64, u64),
    /// The requests of the control group, and of the group that is hedged.
    groups: (u64, u64),
}

impl Totals {
    fn of(accounts: &[Account]) -> Self {
        let mut totals = Self::default();
        for account in accounts {
            let Some(end) = account.end() else {
                continue;
            };
            totals.requests += 1;
            totals.ends[end as usize] += 1;
            totals.attempts += u64::from(account.admitted);
            let is_unsent = account.admitted == 0;
            totals.unsent += u64::from(is_unsent);
            if account.wants.teaches && !is_unsent && !account.probes {
                totals.taught.0 += 1;
                totals.taught.1 += u64::from(account.admitted);
                totals.groups.0 += u64::from(account.group == Some(Group::Control));
                totals.groups.1 += u64::from(account.group == Some(Group::Hedged));
            }
            totals.hedged += u64::from(account.hedges() > 0);
            let hedge_won = end == End::Won && account.accepted > Some(0);
            totals.hedge_wins += u64::from(hedge_won);
        }
        totals
    }

    fn hedges(&self) -> u64 {
        self.attempts + self.unsent - self.requests
    }

    fn check(&self, world: &crate::world::World, metrics: &MetricsSnapshot) {
        let ends = [
            metrics.won,
            metrics.failed,
            metrics.timed_out,
            metrics.cancelled,
        ];
        let right = metrics.total_requests == self.requests && ends == self.ends;
        world.check(Invariant::RequestsAddUp, right, || {
            format!("{ends:?}, {self:?}")
        });
        let told = (
            metrics.hedges,
            metrics.hedged_requests,
            metrics.hedge_wins,
            metrics.total_cost,
        );
        let cost = COST * self.attempts as f64;
        let right = told == (self.hedges(), self.hedged, self.hedge_wins, cost);
        world.check(Invariant::HedgesAddUp, right, || {
            format!("{told:?}, {self:?}")
        });
        let reasons = Suppressed::ALL
            .iter()
            .map(|reason| metrics.refused(*reason));
        let reasons = reasons.sum::<u64>();
        let right = reasons + metrics.hedged_requests == metrics.total_requests;
        world.check(Invariant::ReasonsAddUp, right, || {
            format!("{reasons} reasons, {self:?}")
        });
        let samples = metrics.sample_count;
        world.check(Invariant::LatenciesAddUp, samples == metrics.won, || {
            format!("{samples} samples, {self:?}")
        });
    }
}
