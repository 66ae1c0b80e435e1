//! What a program holds for each backend it calls.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use pin_project_lite::pin_project;

use crate::builder::{Builder, check_cost};
use crate::gate::Gate;
use crate::ledger::{Ledger, State};
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::options::Labels;
use crate::pace::{Pace, Shared, Wishes};
use crate::race::{Earliest, Finish, Judge, Pacer, Race, Settled, race};
use crate::slots::{Capacity, Max, Slots};
use crate::strategy::{Hints, Strategy};
use crate::terms::Losers;
use crate::trace::Trace;
use crate::{
    Attempt, Budget, ByResult, Charge, Classify, ConfigError, Error, Hedged, Instant, Name, NoSink,
    Options, Outcome, Percentile, Sink, Timer, time,
};

/// Hedges the requests to one backend.
///
/// It is used through a shared reference, by any number of requests at once. Its parts are generic so
/// that it fits a server and a microcontroller alike: the timer `T`, the [`Ledger`] `L`
/// that keeps what requests share, the budget `B`, the event sink `K`, and `MAX`, how many attempts a
/// request has room for. The runtime crates name the usual choices.
#[derive(Debug)]
pub struct Hedger<T, L, B, K = NoSink, const MAX: usize = 2> {
    timer: T,
    shared: Shared<L, B, K>,
}

/// A hedger for one thread: a single-threaded executor, a test or a simulation.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Budget, Hedger, Percentile, Timer};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock)
///     .strategy(Percentile::new(95.0))
///     .budget(Budget::percent(10.0))
///     .build_local()?;
/// let hedged = clock.drive(hedger.request(|attempt| {
///     let latency = if attempt.is_hedge() { 5 } else { 900 };
///     let sleep = (&clock).sleep_until((&clock).now() + Duration::from_millis(latency));
///     async move {
///         sleep.await;
///         Ok::<_, ()>(attempt.index())
///     }
/// })).unwrap();
/// assert_eq!(hedged.value, 1);
/// assert_eq!(hedged.outcome.total_latency, Duration::from_millis(105));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
pub type LocalHedger<T, S, M = Metrics, K = NoSink, const MAX: usize = 2> =
    Hedger<T, RefCell<State<S, M>>, RefCell<Budget>, K, MAX>;

impl<T> Hedger<T, (), ()> {
    /// Starts to build a hedger.
    pub const fn builder(timer: T) -> Builder<T, Percentile, Metrics, NoSink, 2> {
        Builder::new(timer)
    }
}

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// A hedger of parts, in a `const` if need be. Nothing is checked, and what cannot be right is clamped;
    /// [`validate`](Self::validate) says what that was.
    pub const fn from_parts(timer: T, ledger: L, budget: B, sink: K) -> Self {
        Self::assemble(timer, ledger, budget, sink, Labels::DEFAULT, 1.0)
    }

    pub(crate) const fn assemble(
        timer: T,
        ledger: L,
        budget: B,
        sink: K,
        labels: Labels,
        cost_per_attempt: f64,
    ) -> Self {
        const {
            assert!(
                1 <= MAX && MAX <= 8,
                "a request has room for 1 to 8 attempts"
            )
        };
        Self {
            timer,
            shared: Shared {
                ledger,
                budget,
                sink,
                labels,
                cost_per_attempt,
            },
        }
    }

    /// The same hedger under a name of its own.
    #[must_use]
    pub const fn named(mut self, strategy_name: Name) -> Self {
        self.shared.labels.strategy_name = strategy_name;
        self
    }

    /// The hedger's `strategy_name`; empty if it has none.
    pub const fn strategy_name(&self) -> Name {
        self.shared.labels.strategy_name
    }

    /// What the names of its events begin with.
    pub const fn telemetry_prefix(&self) -> Name {
        self.shared.labels.telemetry_prefix
    }

    /// The clock that requests are timed by.
    pub const fn timer(&self) -> &T {
        &self.timer
    }

    /// What requests may spend.
    pub const fn budget(&self) -> &B {
        &self.shared.budget
    }

    /// Who hears of events.
    pub const fn sink(&self) -> &K {
        &self.shared.sink
    }
}

impl<T: Timer, L: Ledger, B: Charge, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// Whether its parts can be right. A builder has asked; whoever assembled them in a `const` has not.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Shared {
            ledger,
            budget,
            cost_per_attempt,
            ..
        } = &self.shared;
        let options = ledger.edit(self.timer.now(), |policy| {
            policy.strategy.validate()?;
            let options = policy.options();
            options.validate().map(|()| options)
        })?;
        check_room(options.max_hedges, MAX)?;
        budget.edit(|budget| budget.validate(options.max_hedges))?;
        check_cost(*cost_per_attempt)
    }
}

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX>
where
    T: Timer + Clone,
    L: Ledger,
    B: Charge,
    K: Sink,
{
    /// Makes a request: `launch` is called once per attempt, when it starts, inside the caller's task.
    ///
    /// The first attempt that returns `Ok` gives the value. An `Err` starts the next hedge at once, if
    /// `max_hedges` and the budget allow, and never beats an attempt that is still running. Attempts
    /// that lose are dropped before this resolves. Dropping the future drops every attempt.
    ///
    /// Hedge only what is idempotent: more than one attempt may reach the backend, and a dropped one may
    /// have had its effect.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when every attempt failed, [`Error::Timeout`] when the request's time is up.
    pub fn request<M, F, V, E>(
        &self,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'_, T, L, B, K, M, F, V, E, MAX>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        Max<MAX>: Capacity<F>,
    {
        self.call().request(launch)
    }

    /// A request with options of its own.
    pub fn call(&self) -> Call<'_, T, L, B, K, ByResult, MAX> {
        Call {
            hedger: self,
            classify: ByResult,
            wishes: Wishes::NONE,
        }
    }

    /// What was counted, every request that has ended included.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.ledger.metrics(self.timer.now())
    }

    /// Starts counting anew.
    pub fn reset_metrics(&self) {
        self.shared.ledger.reset_metrics(self.timer.now());
    }

    /// Access to the strategy, as for its `stats()`. No request is planned or recorded meanwhile: `f`
    /// must be short, and must not use the hedger.
    pub fn with_strategy<R>(&self, f: impl FnOnce(&mut L::Strategy) -> R) -> R {
        self.shared
            .ledger
            .edit(self.timer.now(), |policy| f(&mut policy.strategy))
    }

    /// Changes the strategy of the working hedger. What the old one had learned is lost.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_strategy(&self, strategy: L::Strategy) -> Result<(), ConfigError> {
        strategy.validate()?;
        self.shared
            .ledger
            .edit(self.timer.now(), |policy| policy.set_strategy(strategy));
        Ok(())
    }

    /// Forgets what was learned. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.shared
            .ledger
            .edit(self.timer.now(), |policy| policy.reset());
    }

    /// What was learned, to be kept over a restart. Neither the guard's opinion, which takes 24 hedges
    /// to come back, nor the metrics are part of it.
    ///
    /// Without an allocator, [`with_strategy`](Self::with_strategy) gets at
    /// [`Strategy::export`](crate::Strategy::export).
    #[cfg(feature = "alloc")]
    pub fn export(&self) -> crate::strategy::Learned {
        let now = self.timer.now();
        self.with_strategy(|strategy| crate::strategy::Learned::of(strategy, now))
    }

    /// Goes on with what was learned before, in place of what has been learned since.
    ///
    /// # Errors
    ///
    /// If it is of another kind of strategy, or if something in it cannot be right; nothing is changed
    /// then.
    #[cfg(feature = "alloc")]
    pub fn restore(
        &self,
        learned: &crate::strategy::Learned,
    ) -> Result<(), crate::strategy::RestoreError> {
        let now = self.timer.now();
        self.with_strategy(|strategy| learned.restore(strategy, now))
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.shared
            .ledger
            .edit(self.timer.now(), |policy| policy.options())
    }

    /// Changes options of the working hedger, for requests that are made from now on.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        check_room(options.max_hedges, MAX)?;
        self.shared
            .ledger
            .edit(self.timer.now(), |policy| policy.set_options(options))
    }

    /// Changes the budget's options. Hedges in flight stay counted.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_budget(&self, budget: Budget) -> Result<(), ConfigError> {
        budget.validate(self.options().max_hedges)?;
        self.shared.budget.edit(|old| old.reconfigure(budget));
        Ok(())
    }

    /// How many hedges are running, in all that share the budget.
    pub fn in_flight(&self) -> u32 {
        self.shared.budget.edit(|budget| budget.in_flight())
    }
}

/// `max_hedges` hedges and a primary need room.
pub(crate) fn check_room(max_hedges: u8, max_attempts: usize) -> Result<(), ConfigError> {
    // A hedger of one attempt never hedges, whatever the options say.
    if max_attempts == 1 {
        return Ok(());
    }
    let room = max_attempts.saturating_sub(1) as f64;
    let why = "the number of hedges that the hedger's type has room for";
    ConfigError::check_at_most("max_hedges", max_hedges.into(), room, why)
}

/// One request before it is made: options of its own, then [`request`](Self::request).
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Hedger, Verdict};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock).build_local()?;
/// let call = hedger.call().timeout(Duration::from_secs(1)).classify(|result: &Result<u16, ()>| {
///     match result {
///         Ok(503) | Err(()) => Verdict::Retry,
///         Ok(_) => Verdict::Accept,
///     }
/// });
/// let hedged = clock.drive(call.request(|attempt| async move {
///     Ok(if attempt.is_hedge() { 200 } else { 503 })
/// })).unwrap();
/// assert_eq!((hedged.value, hedged.outcome.attempts), (200, 2));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Debug)]
#[must_use = "a call does nothing until its request is made"]
pub struct Call<'h, T, L, B, K, C, const MAX: usize> {
    hedger: &'h Hedger<T, L, B, K, MAX>,
    classify: C,
    pub(crate) wishes: Wishes,
}

impl<'h, T, L, B, K, C, const MAX: usize> Call<'h, T, L, B, K, C, MAX> {
    /// The hedger.
    pub const fn hedger(&self) -> &'h Hedger<T, L, B, K, MAX> {
        self.hedger
    }
}

impl<'h, T, L, B, K, C, const MAX: usize> Call<'h, T, L, B, K, C, MAX>
where
    T: Timer + Clone,
    L: Ledger,
    B: Charge,
    K: Sink,
{
    /// Does not hedge this request: it is made once, counted and learned from.
    pub fn unhedged(mut self) -> Self {
        self.wishes.hedge = false;
        self
    }

    /// Allows fewer hedges than the hedger would.
    pub fn max_hedges(mut self, hedges: u8) -> Self {
        self.wishes.max_hedges = hedges;
        self
    }

    /// Gives the request less time than the hedger would.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wishes.timeout = time::nanos(timeout);
        self
    }

    /// Ends the request at `deadline`, if it would not end sooner.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.wishes.deadline = deadline;
        self
    }

    /// Keeps losers in the request's future when it is answered, as with `enable_cancellation` off, to be
    /// polled on.
    pub fn keep_losers(mut self) -> Self {
        self.wishes.losers = Losers::Kept;
        self
    }

    /// Tells the strategy what kind of request this is.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.wishes.hints = hints;
        self
    }

    /// Judges results by `classify` instead of by `Ok` and `Err`.
    ///
    /// An `Ok` that every attempt had refused is returned all the same, that of the earliest attempt,
    /// with `outcome.accepted` false: the caller sees what it would have seen without hedging.
    pub fn classify<D>(self, classify: D) -> Call<'h, T, L, B, K, D, MAX> {
        Call {
            hedger: self.hedger,
            classify,
            wishes: self.wishes,
        }
    }

    /// Makes the request, as [`Hedger::request`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when every attempt failed, [`Error::Timeout`] when the request's time is up.
    pub fn request<M, F, V, E>(
        self,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, T, L, B, K, C, M, F, V, E, MAX>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        self.open(launch)
    }

    /// The same, but a hedge is started only if `ready` says so when it is due: what it needs may not be at hand,
    /// as a connection that is idle. A hedge that is not started for that reason costs nothing, and is not
    /// waited for: it is [`Suppressed::NotReady`](crate::Suppressed::NotReady).
    ///
    /// `ready` is asked once the strategy agrees, and before the budget is charged, which may yet refuse.
    ///
    /// ```
    /// use core::cell::Cell;
    /// use core::time::Duration;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::{Fixed, Hedger, Suppressed};
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock).strategy(Fixed::new(Duration::from_millis(20))).build_local()?;
    /// let idle = Cell::new(1_u32);
    /// let request = hedger.call().request_if(
    ///     || idle.get() > 0,
    ///     |_| {
    ///         let clock = &clock;
    ///         idle.set(idle.get() - 1); // The primary takes the only one.
    ///         async move {
    ///             clock.sleep(Duration::from_millis(90)).await;
    ///             Ok::<_, ()>(())
    ///         }
    ///     },
    /// );
    /// let outcome = clock.drive(request).unwrap().outcome;
    /// assert_eq!(outcome.suppressed, Some(Suppressed::NotReady));
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn request_if<G, M, F, V, E>(
        self,
        ready: G,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, T, L, B, K, C, G, M, F, V, E, MAX>
    where
        G: FnMut() -> bool,
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        let (timer, trace) = (self.hedger.timer.clone(), self.trace());
        Request {
            race: race::<MAX, _, _, _, _, _, _>(timer, Gate::new(self.pace(), ready), launch),
            trace,
        }
    }

    /// The same request as a future with a name: to be stored in a struct, and to be polled on for the
    /// sake of losers that are kept.
    // An alias would have as many parameters.
    #[allow(clippy::type_complexity)]
    pub fn open<M, F, V, E>(
        self,
        launch: M,
    ) -> Request<T, Pace<'h, L, B, K, C, MAX>, M, V, E, <Max<MAX> as Capacity<F>>::Slots>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        let (timer, trace) = (self.hedger.timer.clone(), self.trace());
        Request {
            trace,
            race: race::<MAX, _, _, _, _, _, _>(timer, self.pace(), launch),
        }
    }

    fn trace(&self) -> Trace {
        Trace::new(self.hedger.strategy_name())
    }

    /// Only the request's decisions, to be driven by hand: a simulation of millions of requests.
    pub fn pace(self) -> Pace<'h, L, B, K, C, MAX> {
        Pace::new(&self.hedger.shared, self.classify, self.wishes)
    }
}

pin_project! {
    /// A request. Nothing happens before it is first polled.
    ///
    /// With `enable_cancellation` off, losers stay here after the result was given; drop it, or poll on
    /// through [`drain`](Self::drain).
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Request<T, P, M, V, E, S>
    where
        T: Timer,
        P: Pacer,
    {
        #[pin]
        race: Race<T, P, M, Earliest<V, E>, S>,
        trace: Trace,
    }
}

impl<T, P, M, F, V, E, S> Future for Request<T, P, M, V, E, S>
where
    T: Timer,
    P: Judge<V, E, Record = Outcome>,
    M: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    S: Slots<F>,
{
    type Output = Result<Hedged<V>, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let finish = {
            let _span = this.trace.enter();
            ready!(this.race.poll(cx))
        };
        this.trace.record(&finish);
        // Not `map_or`, which costs 40 instructions.
        let Some(result) = answer(finish) else {
            return Poll::Pending;
        };
        Poll::Ready(result)
    }
}

/// What the caller is told; absent for a race that was dropped, which nobody polls.
fn answer<V, E, R, P>(finish: Finish<V, E, R, P>) -> Option<Result<Hedged<V>, Error<E>>>
where
    P: Pacer<Record = Outcome>,
{
    let outcome = finish.record;
    let attempts = outcome.attempts;
    Some(match (finish.how, finish.result) {
        (Settled::TimedOut, result) => Err(Error::Timeout {
            elapsed: outcome.total_latency,
            attempts,
            error: result.and_then(Result::err),
        }),
        (_, Some(Ok(value))) => Ok(Hedged { value, outcome }),
        (_, Some(Err(error))) => Err(Error::Failed { error, attempts }),
        (_, None) => return None,
    })
}

impl<T, P, M, V, E, S> Request<T, P, M, V, E, S>
where
    T: Timer,
    P: Judge<V, E, Record = Outcome>,
{
    /// How many attempts are running.
    pub fn live<F>(&self) -> usize
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        S: Slots<F>,
    {
        self.race.live()
    }

    /// Runs the losers that were kept to their ends, once the result has been given. Their results are
    /// dropped.
    pub async fn drain<F>(mut self: Pin<&mut Self>)
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        S: Slots<F>,
    {
        core::future::poll_fn(|cx| {
            if self.race.is_settled() {
                let this = self.as_mut().project();
                let _span = this.trace.enter();
                // Never ready again.
                let _ = this.race.poll(cx);
            }
            let over = self.live() == 0 || !self.race.is_settled();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<T, P, M, V, E, S> fmt::Debug for Request<T, P, M, V, E, S>
where
    T: Timer,
    P: Pacer,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("settled", &self.race.is_settled())
            .finish_non_exhaustive()
    }
}
