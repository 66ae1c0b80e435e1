//! A request with options, before it is made.

use core::future::Future;
use core::time::Duration;

use crate::attempt::{Attempt, ByResult, Classify};
use crate::hedger::{BudgetHandle, Hedger, Losers, SharedState};
use crate::name::Name;
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max, race};
use crate::replicas::{Choice, Chosen, ReplicaSet};
use crate::request::{
    AlwaysReady, CallOptions, OnReplicas, Placement, Ready, Request, RequestController,
};
use crate::strategy::Hints;
use crate::telemetry::Sink;
use crate::telemetry::trace::Trace;
use crate::time;
use crate::time::{Instant, Timer};

/// A builder for one request with custom options. Finish with [`request`](Self::request).
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
pub struct Call<'h, T, L, B, K, C, const MAX: usize, G = AlwaysReady> {
    hedger: &'h Hedger<T, L, B, K, MAX>,
    /// The state of the request's key; `None` if it has none.
    pub(crate) state: Option<&'h L>,
    classify: C,
    pub(crate) placement: G,
    pub(crate) options: CallOptions,
}

impl<'h, T, L, B, K, const MAX: usize> Call<'h, T, L, B, K, ByResult, MAX> {
    pub(crate) fn new(hedger: &'h Hedger<T, L, B, K, MAX>) -> Self {
        Self {
            hedger,
            state: None,
            classify: ByResult,
            placement: AlwaysReady,
            options: CallOptions::NONE,
        }
    }
}

impl<'h, T, L, B, K, C, const MAX: usize, G> Call<'h, T, L, B, K, C, MAX, G> {
    /// Returns the hedger.
    pub const fn hedger(&self) -> &'h Hedger<T, L, B, K, MAX> {
        self.hedger
    }
}

impl<'h, T, L, B, K, C, const MAX: usize, G> Call<'h, T, L, B, K, C, MAX, G>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    G: Placement,
{
    /// Turns off hedging for this request, which is sent once and counted. Since it may differ from the requests that
    /// are hedged, nothing is [learned](Self::teaches) from it and it does not [deposit](Self::deposits), unless these
    /// are set.
    pub fn unhedged(mut self) -> Self {
        self.options.hedge = false;
        self
    }

    /// Sets whether strategy and guard learn from this request. By default they do if it may be hedged.
    pub fn teaches(mut self, teaches: bool) -> Self {
        self.options.teaches = Some(teaches);
        self
    }

    /// Sets whether this request deposits into the budget. By default it does if it may be hedged. A retry layer above
    /// the hedger makes several requests for each one that it receives; only the first of these should deposit.
    pub fn deposits(mut self, deposits: bool) -> Self {
        self.options.deposits = Some(deposits);
        self
    }

    /// Sets the maximum number of hedges, if the hedger would start more.
    pub fn max_hedges(mut self, hedges: u8) -> Self {
        self.options.max_hedges = hedges;
        self
    }

    /// Sets the time limit of the request, if that is shorter than the hedger's. The primary starts however short the limit
    /// is; a [`deadline`](Self::deadline) that has passed starts nothing.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = time::nanos(timeout);
        self
    }

    /// Ends the request at `deadline`, if it would end later.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Keeps losers in the request's future once it is answered, so that they can be polled
    /// further. The option `enable_cancellation = false` does this for all requests.
    pub fn keep_losers(mut self) -> Self {
        self.options.losers = Losers::Kept;
        self
    }

    /// Sets whether the request keeps values that the classifier refused while further attempts start. Default: true.
    /// With `false`, such a value is dropped before the next attempt starts, which releases what it holds, such as a
    /// pooled connection.
    ///
    /// If all attempts fail, the result of the earliest one that is still there is returned. The value is dropped after
    /// the next attempt was admitted, so it still exists when a closure given to [`request_if`](Self::request_if) is
    /// called.
    pub fn keep_refused(mut self, keep: bool) -> Self {
        self.options.keeps_refused = keep;
        self
    }

    /// Passes hints about the request to the strategy.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.options.hints = hints;
        self
    }

    /// Classifies results by `classify` instead of by `Ok` and `Err`.
    ///
    /// `classify` is a closure `Fn(&Result<V, E>) -> Verdict`, or [`ByAttempt`](crate::ByAttempt) with one that
    /// knows the attempt as well.
    ///
    /// If every `Ok` is refused, the `Ok` of the earliest attempt is returned with
    /// `outcome.accepted` set to false. The caller receives what it would have received without
    /// hedging.
    pub fn classify<D>(self, classify: D) -> Call<'h, T, L, B, K, D, MAX, G> {
        Call {
            hedger: self.hedger,
            state: self.state,
            classify,
            placement: self.placement,
            options: self.options,
        }
    }

    fn place<H>(self, placement: H) -> Call<'h, T, L, B, K, C, MAX, H> {
        Call {
            hedger: self.hedger,
            state: self.state,
            classify: self.classify,
            placement,
            options: self.options,
        }
    }

    /// Returns the choice for the primary of this request, for a caller that chooses its replica before the request is
    /// made: see [`starting_at`](Self::starting_at). A request that is not hedged, as things are, probes no suspect.
    pub fn choice(&self) -> Choice {
        let parts = self.hedger.parts();
        let state = self.state.unwrap_or(&parts.state);
        let plan = self.options.plan(state, self.hedger.timer().now());
        Choice::primary(if MAX > 1 { plan.rescue_limit() } else { 0 })
    }

    /// Makes the request like [`Hedger::request`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if every attempt failed, and [`Error::Timeout`] if the request ran
    /// out of time.
    pub fn request<M, F, V, E>(
        self,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, T, L, B, K, C, M, F, V, E, MAX, G>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        self.open(launch)
    }

    /// Makes the request as a future whose type can be named.
    ///
    /// Use it to store the request in a struct, or to poll losers that are kept.
    // An alias would need as many parameters.
    #[allow(clippy::type_complexity)]
    pub fn open<M, F, V, E>(
        self,
        launch: M,
    ) -> Request<
        T,
        RequestController<'h, L, B, K, C, MAX, G>,
        M,
        V,
        E,
        <Max<MAX> as Capacity<F>>::Slots,
    >
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        let timer = self.hedger.timer().clone();
        let key = self.state.map_or(Name::EMPTY, L::key);
        let trace = Trace::new(self.hedger.strategy_name(), key);
        Request::new(
            race::<MAX, _, _, _, _, _, _>(timer, self.controller(), launch),
            trace,
        )
    }

    /// Returns the controller of the request without its future, for a simulation that drives it.
    pub fn controller(self) -> RequestController<'h, L, B, K, C, MAX, G> {
        let parts = self.hedger.parts();
        let state = self.state.unwrap_or(&parts.state);
        RequestController::new(parts, state, self.classify, self.placement, self.options)
    }
}

/// Calls whose attempts go to replicas.
impl<'h, T, L, B, K, C, const MAX: usize> Call<'h, T, L, B, K, C, MAX>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
{
    /// Sends each attempt to a replica that `set` chooses: [`Attempt::replica`] says which. A hedge goes to another
    /// replica than the primary, unless all others are much slower. The end of every attempt is reported to the set.
    ///
    /// An attempt that ends in [`Verdict::Fatal`](crate::Verdict::Fatal) does not count as a failure of its replica,
    /// since the request itself is at fault, unless
    /// [`Classify::blames_replica`](crate::Classify::blames_replica) returns true.
    ///
    /// ```
    /// use core::cell::RefCell;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::replicas::Replicas;
    /// use hedge_core::{Fixed, Hedger};
    /// use core::time::Duration;
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock).strategy(Fixed::new(Duration::from_millis(20))).build_local()?;
    /// let replicas = RefCell::new(Replicas::<3>::all());
    /// let hedged = clock.drive(hedger.call().on(&replicas).request(|attempt| {
    ///     let (clock, replica) = (&clock, attempt.replica());
    ///     async move {
    ///         // The primary's replica is stuck.
    ///         clock.sleep(Duration::from_millis(if attempt.is_hedge() { 5 } else { 900 })).await;
    ///         Ok::<_, ()>(replica)
    ///     }
    /// })).unwrap();
    /// assert_eq!(hedged.outcome.replica, Some(hedged.value));
    /// assert_eq!(hedged.outcome.replicas_used.count_ones(), 2);
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn on<S: ReplicaSet>(self, set: S) -> Call<'h, T, L, B, K, C, MAX, OnReplicas<S, T, MAX>> {
        let timer = self.hedger.timer().clone();
        self.place(OnReplicas::new(set, timer))
    }

    /// Sends each attempt to a replica, like [`on`](Self::on), and a hedge only to a replica for which `ready` returns
    /// true: a hedge may need a resource there, such as an idle connection. If `ready` returns false, the next best
    /// replica is chosen. If there is none, the hedge is suppressed as
    /// [`Suppressed::NotReady`](crate::Suppressed::NotReady).
    pub fn on_ready<S: ReplicaSet, W: FnMut(Attempt) -> bool>(
        self,
        set: S,
        ready: W,
    ) -> Call<'h, T, L, B, K, C, MAX, OnReplicas<S, T, MAX, W>> {
        let timer = self.hedger.timer().clone();
        self.place(OnReplicas::with_ready(set, timer, ready))
    }

    /// Makes the request, and starts a hedge only if `ready` returns true when the hedge is due: a hedge may need a
    /// resource, such as an idle connection. A hedge that is not ready costs nothing, and is asked for again at 2, 4, 8
    /// … times its delay. If it never starts, it is suppressed as
    /// [`Suppressed::NotReady`](crate::Suppressed::NotReady).
    ///
    /// `ready` receives the hedge as it would start now. It is called after the strategy has agreed and before the
    /// budget is asked, which may still refuse. For a retry that waits for a pushback, it is called when the wait
    /// begins and again when it ends.
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
    ///     |_| idle.get() > 0,
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
    /// Returns the errors of [`request`](Self::request).
    pub fn request_if<G, M, F, V, E>(
        self,
        ready: G,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<V>, Error<E>>> + use<'h, T, L, B, K, C, G, M, F, V, E, MAX>
    where
        G: Ready,
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        C: Classify<V, E>,
        Max<MAX>: Capacity<F>,
    {
        self.place(ready).open(launch)
    }
}

impl<'h, T, L, B, K, C, const MAX: usize, S, W>
    Call<'h, T, L, B, K, C, MAX, OnReplicas<S, T, MAX, W>>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    S: ReplicaSet,
    W: FnMut(Attempt) -> bool,
{
    /// Allows only replicas whose bit in `mask` is set: bit i stands for index i. If this is called several times, a
    /// replica must be in every mask. The request fails with [`Error::NoReplica`] if none is left.
    pub fn among(mut self, mask: u64) -> Self {
        self.placement.among(mask);
        self
    }

    /// Sends the primary to a replica that the caller has chosen from the same set, for [`choice`](Self::choice). If the
    /// request is never polled, the attempt is reported as cancelled.
    pub fn starting_at(mut self, chosen: Chosen) -> Self {
        self.placement.start_at(chosen);
        self
    }
}
