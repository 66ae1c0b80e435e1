//! The caller's code that a hedger calls: the strategy and the sink.

use core::time::Duration;

use hedge_core::adapter::Group;
use hedge_core::strategy::{ExponentialBackoff, Fixed, Hints, Plan, Strategy, WindowedPercentile};
use hedge_core::telemetry::EventKind;
use hedge_core::{Attempt, Cause, Event, Instant, Record, Sink, StrategyKind, Suppressed};

use crate::clock::TICK;
use crate::fault::Fault;
use crate::invariants::Invariant;
use crate::journal::{End, Phase};
use crate::world::World;

/// A strategy that may panic.
#[derive(Clone)]
pub(crate) struct Mind<'w> {
    world: &'w World,
    inner: Inner,
    learns: bool,
}

/// What it is otherwise.
#[derive(Clone)]
// There is one for each schedule.
#[allow(clippy::large_enum_variant)]
enum Inner {
    Fixed(Fixed),
    Percentile(WindowedPercentile<16>),
    Backoff(ExponentialBackoff),
    Nonsense,
}

impl<'w> Mind<'w> {
    pub(crate) fn draw(world: &'w World) -> Self {
        let delay = Duration::from_nanos(TICK * world.pick(&[0, 1, 3, 10, 20, 20]));
        let inner = match world.below(4) {
            _ if world.may(Fault::PlansNonsense) => Inner::Nonsense,
            0 => Inner::Percentile(WindowedPercentile::with_window(90.0).initial_delay(delay)),
            1 => Inner::Backoff(ExponentialBackoff::new().base_delay(Duration::from_millis(20))),
            _ => Inner::Fixed(Fixed::new(delay)),
        };
        let learns = match &inner {
            Inner::Fixed(fixed) => fixed.learns(),
            Inner::Nonsense => world.any() & 1 == 0,
            Inner::Percentile(_) | Inner::Backoff(_) => true,
        };
        world.journal().learns &= learns;
        Self {
            world,
            inner,
            learns,
        }
    }
}

impl Strategy for Mind<'_> {
    fn plan(&mut self, hints: &Hints, now: Instant) -> Plan {
        let world = self.world;
        if world.may_panic(Fault::PlanPanics, 12) {
            world.plan_panics();
            world.panic();
        }
        match &mut self.inner {
            Inner::Fixed(fixed) => fixed.plan(hints, now),
            Inner::Percentile(percentile) => percentile.plan(hints, now),
            Inner::Backoff(backoff) => backoff.plan(hints, now),
            Inner::Nonsense => {
                world.count(Fault::PlansNonsense);
                nonsense(world)
            }
        }
    }

    fn record(&mut self, report: &Record) {
        let world = self.world;
        {
            let mut journal = world.journal();
            journal.heard.0 += 1;
            journal.heard.1 += u64::from(report.attempts());
            match report.group() {
                Some(Group::Control) => journal.groups.0 += 1,
                Some(Group::Hedged) => journal.groups.1 += 1,
                None => {}
            }
        }
        if world.may_panic(Fault::RecordPanics, 12) {
            let end = match report.end() {
                hedge_core::strategy::RequestEnd::Won(_) => End::Won,
                hedge_core::strategy::RequestEnd::Fatal(_)
                | hedge_core::strategy::RequestEnd::Failed(_) => End::Failed,
                hedge_core::strategy::RequestEnd::TimedOut => End::TimedOut,
                _ => End::Dropped,
            };
            world.settled_by_panic(end);
            world.silence();
            world.panic();
        }
        match &mut self.inner {
            Inner::Fixed(fixed) => fixed.record(report),
            Inner::Percentile(percentile) => percentile.record(report),
            Inner::Backoff(backoff) => backoff.record(report),
            Inner::Nonsense => {}
        }
    }

    fn learns(&self) -> bool {
        self.learns
    }

    fn typical_latency(&self, hints: &Hints) -> Option<Duration> {
        match &self.inner {
            Inner::Nonsense => match self.world.below(4) {
                0 => Some(Duration::MAX),
                1 => Some(Duration::ZERO),
                _ => None,
            },
            Inner::Fixed(fixed) => fixed.typical_latency(hints),
            Inner::Percentile(percentile) => percentile.typical_latency(hints),
            Inner::Backoff(backoff) => backoff.typical_latency(hints),
        }
    }

    fn expected_win_rate(&self) -> Option<f32> {
        let promises = [None, Some(0.0), Some(1.0), Some(f32::NAN), Some(-1.0)];
        match &self.inner {
            Inner::Nonsense => self.world.pick(&promises),
            Inner::Percentile(percentile) => percentile.expected_win_rate(),
            Inner::Fixed(_) | Inner::Backoff(_) => None,
        }
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Custom
    }
}

/// Any plan.
fn nonsense(world: &World) -> Plan {
    let delay = |world: &World| match world.below(6) {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2 => Duration::from_nanos(1),
        _ => Duration::from_nanos(TICK * world.below(30)),
    };
    let plan = match world.below(5) {
        // Other reasons are not a strategy's to give: what the sink hears of them would not fit.
        // Not `Off`, which has no time limit: whether a request has one would depend on what was drawn.
        0 => Plan::never(world.pick(&[Suppressed::NotDue, Suppressed::WarmingUp])),
        1 => Plan::after(delay(world)).then_every(delay(world)),
        _ => Plan::after(delay(world)),
    };
    let chances = [
        1.0,
        1.0,
        0.5,
        0.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::MIN_POSITIVE,
    ];
    let plan = plan.with_chance(world.pick(&chances));
    if world.any() & 1 == 0 {
        plan.reusable()
    } else {
        plan
    }
}

/// A sink that listens closely, and may panic.
pub(crate) struct Ear<'w> {
    world: &'w World,
    listens: bool,
}

impl<'w> Ear<'w> {
    pub(crate) fn draw(world: &'w World) -> Self {
        let listens = world.below(3) > 0;
        world.journal().listens = listens;
        Self { world, listens }
    }
}

impl Sink for Ear<'_> {
    fn emit(&self, event: &Event) {
        let world = self.world;
        let entered = world.journal().books.enter(event);
        if let Err(why) = entered {
            world.broke(
                Invariant::EventsComeInOrder,
                &format_args!("{why}: {event:?}"),
            );
        }
        match event.kind {
            EventKind::HedgeFired { .. } => world.journal().fired += 1,
            EventKind::HedgeSuppressed {
                reason: Suppressed::Holdback,
                ..
            } => world.withheld(),
            EventKind::HedgeSuppressed { reason, .. } => world.refused(reason),
            EventKind::RequestStop { .. }
            | EventKind::RequestException { .. }
            | EventKind::RequestDropped { .. } => world.journal().ends += 1,
            _ => {}
        }
        // Of an attempt that is cancelled it is not known how its request ended.
        let known = !matches!(event.kind, EventKind::RequestCancelled { .. });
        // Even while another panic unwinds, which is none of the sink's business.
        if known && world.strikes(Fault::SinkPanics, 16) {
            world.sink_panics(event);
            world.panic();
        }
    }

    fn enabled(&self) -> bool {
        self.listens
    }
}

impl World {
    /// A plan may be wanted before the primary is launched. The request has started all the same.
    fn plan_panics(&self) {
        let current = self.journal().current;
        let is_running = self.journal().of(current).phase == Phase::Running;
        if is_running {
            self.primary_admitted(current);
        }
    }

    /// A request was settled, and a panic keeps it from saying so.
    fn settled_by_panic(&self, end: End) {
        let mut journal = self.journal();
        let current = journal.current;
        journal.of(current).settled = Some(end);
    }

    /// No more events of the request are expected, not even its end.
    fn silence(&self) {
        let mut journal = self.journal();
        let current = journal.current;
        let silenced = core::mem::replace(&mut journal.of(current).silenced, true);
        // Nor is it of refusals.
        journal.purse.contest();
        journal.untold += u64::from(!silenced);
    }

    /// What is not going to happen, since the sink panics.
    fn sink_panics(&self, event: &Event) {
        let current = {
            let mut journal = self.journal();
            journal.exact &= !journal.observes;
            journal.current
        };
        match event.kind {
            EventKind::RequestStart => {
                let is_late = {
                    let deadline = self.journal().of(current).wants.deadline;
                    deadline != Instant::MAX && deadline <= event.at
                };
                if !is_late {
                    self.primary_admitted(current);
                }
            }
            // It is not launched.
            EventKind::HedgeFired { attempt, .. } => {
                self.hedge_admitted(current);
                self.hedge_started(current, attempt);
            }
            EventKind::HedgeWon { .. } => self.settled_by_panic(End::Won),
            EventKind::RequestStop { outcome, .. } => {
                let end = if outcome.accepted {
                    End::Won
                } else {
                    End::Failed
                };
                return self.settled_by_panic(end);
            }
            EventKind::RequestException { timed_out, .. } => {
                let end = if timed_out {
                    End::TimedOut
                } else {
                    End::Failed
                };
                return self.settled_by_panic(end);
            }
            EventKind::RequestDropped { .. } => return,
            _ => {}
        }
        self.silence();
    }

    /// A request has started.
    pub(crate) fn primary_admitted(&self, account: usize) {
        let mut journal = self.journal();
        // Anew, if the caller's code panicked the first time.
        if journal.of(account).admitted == 0 {
            if journal.of(account).wants.deposits {
                journal.purse.deposit();
            }
            journal.of(account).admitted = 1;
        }
    }

    /// A hedge was admitted, and so was paid for.
    pub(crate) fn hedge_admitted(&self, account: usize) {
        let mut journal = self.journal();
        let (running, most) = (journal.hedges_alive, journal.purse.max_in_flight());
        journal.hedges_alive += 1;
        // What was reserved before the budget was changed is started all the same.
        let right = running < most || journal.purse.reserving() > 0 && !journal.exact;
        self.check(Invariant::NoMoreInFlightThanAllowed, right, || {
            format!("{running} are running, of {most}")
        });
        let paid = journal.purse.charge(&self.clock);
        self.check(Invariant::TheBudgetIsKept, paid || !journal.exact, || {
            format!("{:?}", journal.purse)
        });
        let account = journal.of(account);
        let waits = account.starts_no_more();
        account.admitted += 1;
        account.launching = true;
        let (wants, silenced) = (account.wants, account.silenced);
        let most = wants.call_hedges.min(wants.option_hedges);
        let hedges = account.hedges();
        self.check(Invariant::NothingStartsAfterAWait, !waits, || {
            format!("{account:?}")
        });
        self.check(
            Invariant::NoMoreHedgesThanAllowed,
            hedges <= most.into(),
            || format!("{hedges} of {most}: {account:?}"),
        );
        journal.unfired += u64::from(silenced);
    }

    /// A hedge was started.
    pub(crate) fn hedge_started(&self, account: usize, hedge: Attempt) {
        let mut journal = self.journal();
        let has_control = journal.has_control;
        let account = journal.of(account);
        account.withheld = false;
        if hedge.cause() != Cause::Delay {
            return;
        }
        if has_control && !account.hedged && !account.probes && account.group.is_none() {
            account.group = Some(Group::Hedged);
        }
        account.hedged = true;
        let right = account.group != Some(Group::Control);
        self.check(Invariant::TheControlGroupIsNotHedged, right, || {
            format!("{hedge:?} of {account:?}")
        });
    }

    /// A hedge was withheld for the control group.
    fn withheld(&self) {
        let mut journal = self.journal();
        let (current, has_control) = (journal.current, journal.has_control);
        let account = journal.of(current);
        let is_known = account.group == Some(Group::Control);
        let again = core::mem::replace(&mut account.withheld, true);
        let may_be = !account.hedged && !account.probes;
        let right = may_be && !again && (is_known || has_control);
        account.group = Some(Group::Control);
        self.check(Invariant::TheControlGroupIsNotHedged, right, || {
            format!("withheld of {account:?}")
        });
        drop(journal);
        self.refused(Suppressed::Holdback);
    }

    fn refused(&self, reason: Suppressed) {
        let mut journal = self.journal();
        let right = match reason {
            Suppressed::ObserveOnly => journal.purse.charge(&self.clock),
            Suppressed::BudgetRatio => !journal.purse.has_token() && !journal.purse.has_reserve(),
            Suppressed::BudgetRate => !journal.purse.has_token() && journal.purse.has_reserve(),
            Suppressed::InFlight => {
                let most = journal.hedges_alive + journal.purse.reserving();
                journal.is_loose() || most >= journal.purse.max_in_flight()
            }
            _ => true,
        };
        // A hedge that was refused for another reason is asked for again, and if the budget refuses it then, that is not
        // reported: a request reports one refusal.
        if !matches!(
            reason,
            Suppressed::ObserveOnly | Suppressed::NotDrawn | Suppressed::Deadline
        ) {
            journal.purse.contest();
        }
        self.check(
            Invariant::NothingIsRefusedInVain,
            right || !journal.exact,
            || format!("{reason}: {:?}", journal.purse),
        );
    }
}
