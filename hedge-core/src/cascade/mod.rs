//! Cascades: providers that are called in turn, each as soon as the earlier ones are late, have
//! failed or are not good enough.
//!
//! ```
//! use core::time::Duration;
//! use hedge_core::cascade::{Cascade, Tier};
//! # use hedge_core::manual::ManualTimer;
//!
//! # let clock = ManualTimer::<8>::new();
//! # let ask = async |answer: &'static str, millis| {
//! #     clock.sleep(Duration::from_millis(millis)).await;
//! #     Ok::<_, std::io::Error>(answer)
//! # };
//! let tiers = [
//!     Tier::new("gpt-4").delay(Duration::from_millis(500)).cost(0.03).quality_threshold(0.95),
//!     Tier::new("gpt-3.5").delay(Duration::from_millis(300)).cost(0.002).quality_threshold(0.85),
//!     Tier::new("gemini").cost(0.0001),
//! ];
//! let quality = |answer: &&str| if answer.contains("detail") { 1.0 } else { 0.9 };
//! let cascade = Cascade::new(&clock, tiers)?.quality(quality);
//!
//! let answer = clock.drive(cascade.request((
//!     || ask("an answer in detail", 4800),
//!     || ask("an answer", 250),
//!     || ask("perhaps", 100),
//! )))?;
//! assert_eq!(answer.value, "an answer");
//! assert_eq!(answer.outcome.tier_name().as_str(), "gpt-3.5");
//! assert_eq!(answer.outcome.total_latency, Duration::from_millis(750));
//! assert_eq!(answer.outcome.total_cost, 0.032);
//! assert_eq!(answer.outcome.completed_cost, 0.002);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A tier starts when the previous tier has not answered within its delay, has failed, or has
//! answered below its threshold. The first answer that meets the threshold of its tier wins, and
//! the futures of the other tiers are dropped before it is returned. If no answer meets its
//! threshold, or if the time limit is reached, the best answer is returned with
//! [`accepted`](CascadeOutcome::accepted) set to false. If there is no answer at all, the error
//! contains the error of each tier.
//!
//! A tier can be hedged by a separate [`Hedger`](crate::Hedger):
//!
//! ```
//! # use core::time::Duration;
//! # use hedge_core::cascade::{Cascade, Tier};
//! # use hedge_core::manual::ManualTimer;
//! # use hedge_core::{Attempt, Error, Hedger};
//! # let clock = ManualTimer::<8>::new();
//! # let ask_large = async |_: Attempt| Ok::<_, ()>("large");
//! # let ask_small = async || Ok::<_, ()>("small");
//! let hedger = Hedger::builder(&clock).build_local()?;
//! let cascade = Cascade::new(&clock, [Tier::new("large"), Tier::new("small")])?;
//! let answer = clock.drive(cascade.request((
//!     async || Ok(hedger.request(&ask_large).await?.value),
//!     async || ask_small().await.map_err(|error| Error::Failed { error, attempts: 1 }),
//! )));
//! assert_eq!(answer.unwrap().value, "large");
//! # Ok::<(), hedge_core::ConfigError>(())
//! ```
//!
//! As with hedging, more than one provider may do the work and charge for it.
//!
//! In a spawned task the compiler refuses tiers that fail with a `Box<dyn Error + Send + Sync>` ("one type is more general
//! than the other"). Let them fail with a type that has no `dyn` in it, such as `anyhow::Error`.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::attempt::Attempt;
use crate::error::ConfigError;
use crate::hedger::{Labels, telemetry_prefix};
use crate::name::Name;
use crate::race::{Capacity, Finish, Max, Race, Slots, race_in};
use crate::record::RequestEnd;
use crate::stream::{First, FirstItem, HedgedStream, Map};
use crate::telemetry::{NoSink, Sink};
use crate::time::Timer;

pub use outcome::{CascadeError, CascadeOutcome, Cascaded, Failures};
#[cfg(feature = "alloc")]
pub use requests::{BoxedRequest, boxed};
pub use requests::{Either, Requests, TierRequest};
pub use tier::{Tier, TierEnd, TierReport};

use controller::{CascadeController, Kept};
use ids::Ids;
use requests::FirstItems;

mod controller;
mod ids;
mod outcome;
mod requests;
#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod text;
mod tier;

/// A cascade of up to `N` tiers, which can be used for many requests; see the [module](self). `N`
/// is 1 to 8.
#[derive(Clone, Debug)]
pub struct Cascade<T, const N: usize, Q = AnyAnswer, K = NoSink> {
    timer: T,
    plan: Plan<N>,
    quality: Q,
    sink: K,
}

/// The options that all requests of a cascade share.
#[derive(Clone, Debug)]
struct Plan<const N: usize> {
    /// The first `len` entries are in use.
    tiers: [Tier; N],
    len: usize,
    timeout: Option<Duration>,
    name: Name,
    telemetry_prefix: Name,
    ids: Ids,
}

impl<T, const N: usize> Cascade<T, N> {
    /// Creates a cascade from `tiers`, which start in this order.
    ///
    /// By default, all answers have the same quality, and a request may take 30 s in total.
    ///
    /// # Errors
    ///
    /// Returns an error if an option of a tier is invalid.
    pub fn new(timer: T, tiers: [Tier; N]) -> Result<Self, ConfigError> {
        const { assert!(N >= 1 && N <= 8, "a cascade has 1 to 8 tiers") };
        Self::checked(timer, tiers, N)
    }

    /// Creates a cascade from a slice of 1 to `N` tiers, such as those in a config.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no tiers or too many, or if an option of one is invalid.
    pub fn from_slice(timer: T, tiers: &[Tier]) -> Result<Self, ConfigError> {
        const { assert!(N >= 1 && N <= 8, "a cascade has 1 to 8 tiers") };
        ConfigError::check_range("tiers", tiers.len() as f64, 1.0, N as f64)?;
        let mut room = [const { Tier::new("") }; N];
        for (place, tier) in room.iter_mut().zip(tiers) {
            *place = *tier;
        }
        Self::checked(timer, room, tiers.len())
    }

    fn checked(timer: T, tiers: [Tier; N], len: usize) -> Result<Self, ConfigError> {
        tiers.iter().try_for_each(Tier::validate)?;
        let plan = Plan {
            tiers,
            len,
            timeout: Some(Duration::from_secs(30)),
            name: Name::EMPTY,
            telemetry_prefix: Labels::DEFAULT.telemetry_prefix,
            ids: Ids::default(),
        };
        Ok(Self {
            timer,
            plan,
            quality: AnyAnswer,
            sink: NoSink,
        })
    }
}

impl<T, const N: usize, Q, K> Cascade<T, N, Q, K> {
    /// Sets the function that rates answers, a closure `Fn(&V) -> f64`. A larger number is better.
    pub fn quality<R>(self, quality: R) -> Cascade<T, N, R, K> {
        Cascade {
            timer: self.timer,
            plan: self.plan,
            quality,
            sink: self.sink,
        }
    }

    /// Sets the time limit for a whole request; `None` for no limit. With zero, nothing is sent.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.plan.timeout = timeout.into();
        self
    }

    /// Sets the name of the cascade in events, truncated to 32 bytes.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.plan.name = Name::truncated(name);
        self
    }

    /// Sets the prefix of event names, before `.cascade.`: parts of letters, digits and `_`, joined
    /// by dots, at most 32 bytes. Default: `hedging`.
    ///
    /// # Errors
    ///
    /// Returns an error if the prefix is invalid.
    pub fn telemetry_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.plan.telemetry_prefix = telemetry_prefix(prefix)?;
        Ok(self)
    }

    /// Sets the sink that receives events. The field `request` of the events counts the requests of
    /// this cascade; a clone of the cascade counts separately.
    pub fn sink<S: Sink>(self, sink: S) -> Cascade<T, N, Q, S> {
        Cascade {
            timer: self.timer,
            plan: self.plan,
            quality: self.quality,
            sink,
        }
    }

    /// Returns the tiers in order.
    pub fn tiers(&self) -> &[Tier] {
        self.plan.tiers.get(..self.plan.len).unwrap_or_default()
    }
}

impl<T: Timer + Clone, const N: usize, Q, K: Sink> Cascade<T, N, Q, K> {
    /// Makes a request, with one closure per tier.
    ///
    /// # Errors
    ///
    /// Returns [`CascadeError::Failed`] if every tier failed, [`CascadeError::Timeout`] if the
    /// request ran out of time before a tier had answered, and [`CascadeError::Invalid`] if there
    /// are more or fewer closures than tiers.
    pub fn request<'c, V, E, R>(
        &'c self,
        requests: R,
    ) -> impl Future<Output = Result<Cascaded<V, N>, CascadeError<E, N>>> + use<'c, T, V, E, R, Q, K, N>
    where
        R: Requests<V, E>,
        Q: Quality<V>,
        Max<N>: Capacity<TierRequest<R::Future>>,
    {
        let (tiers, found) = (self.plan.len, requests.len());
        let invalid = (tiers != found).then(|| {
            let expected = "as many as there are tiers";
            ConfigError::number("requests", found as f64, expected)
        });
        let mut start = requests.starter();
        CascadeFuture {
            race: race_in::<_, _, _, _, _, _, _, SlotsOf<N, TierRequest<R::Future>>>(
                self.timer.clone(),
                CascadeController::new(&self.plan, &self.quality, &self.sink),
                move |attempt: Attempt| TierRequest::new(start(attempt.index())),
            ),
            invalid,
        }
    }
}

/// Tiers that open streams.
impl<T: Timer + Clone, const N: usize, Q, K: Sink> Cascade<T, N, Q, K> {
    /// Makes a request, with one closure per tier whose future opens a stream. The first item of the stream is the
    /// answer of its tier: see [`stream`](crate::stream). All tiers open streams of the same type; box streams that
    /// differ.
    ///
    /// ```
    /// use core::time::Duration;
    /// use futures_lite::{StreamExt, stream};
    /// use hedge_core::cascade::{Cascade, Tier};
    /// # use hedge_core::manual::ManualTimer;
    ///
    /// # let clock = ManualTimer::<8>::new();
    /// let tiers = [Tier::new("large").delay(Duration::from_millis(500)), Tier::new("small")];
    /// let cascade = Cascade::new(&clock, tiers)?;
    /// clock.drive(async {
    ///     // The large model accepts the prompt, and gives no token.
    ///     let answer = cascade.stream((
    ///         async || Ok::<_, ()>(stream::pending().boxed_local()),
    ///         async || Ok(stream::iter(["hello", ", ", "world"].map(Ok)).boxed_local()),
    ///     ));
    ///     let answer = answer.await.unwrap();
    ///     assert_eq!(answer.outcome.tier_name().as_str(), "small");
    ///     assert_eq!(answer.value.count().await, 3);
    /// });
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`request`](Self::request).
    // An alias would need as many parameters.
    #[allow(clippy::type_complexity)]
    pub fn stream<'c, S, I, E, R>(
        &'c self,
        requests: R,
    ) -> impl Future<Output = Result<Cascaded<HedgedStream<S, I, T>, N>, CascadeError<E, N>>>
    + use<'c, T, S, I, E, R, Q, K, N>
    where
        R: Requests<S, E>,
        S: Stream<Item = Result<I, E>> + Unpin,
        Q: Quality<First<I, S>>,
        Max<N>: Capacity<TierRequest<FirstItem<R::Future>>>,
    {
        let timer = self.timer.clone();
        Map {
            future: self.request(FirstItems::new(requests)),
            f: Some(|result: Result<Cascaded<First<I, S>, N>, _>| {
                result.map(|answer| Cascaded {
                    value: HedgedStream::new(answer.value, timer),
                    outcome: answer.outcome,
                })
            }),
        }
    }
}

type SlotsOf<const N: usize, F> = <Max<N> as Capacity<F>>::Slots;

pin_project! {
    /// The state of a request to a cascade.
    struct CascadeFuture<R> {
        #[pin]
        race: R,
        invalid: Option<ConfigError>,
    }
}

impl<T, V, E, L, F, S, Q, K, const N: usize> Future
    for CascadeFuture<Race<T, CascadeController<'_, Q, K, N>, L, Kept<V, E, N>, S>>
where
    T: Timer,
    L: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    S: Slots<F>,
    Q: Quality<V>,
    K: Sink,
{
    type Output = Result<Cascaded<V, N>, CascadeError<E, N>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(invalid) = this.invalid.take() {
            return Poll::Ready(Err(CascadeError::Invalid(invalid)));
        }
        let Finish {
            end,
            result,
            refused: Kept { mut errors, .. },
            output: outcome,
        } = ready!(this.race.poll(cx));
        let error = match result {
            Some(Ok(value)) => return Poll::Ready(Ok(Cascaded { value, outcome })),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let RequestEnd::Failed(index) = end
            && let Some(slot) = errors.get_mut(usize::from(index))
        {
            *slot = error;
        }
        let failures = Failures { errors, outcome };
        Poll::Ready(Err(if end == RequestEnd::TimedOut {
            CascadeError::Timeout(failures)
        } else {
            CascadeError::Failed(failures)
        }))
    }
}

/// Rates answers. Implemented by closures `Fn(&V) -> f64`.
pub trait Quality<V> {
    /// Returns the quality of `answer`, where a larger number is better. NaN meets no threshold.
    fn of(&self, answer: &V) -> f64;
}

impl<V, F: Fn(&V) -> f64> Quality<V> for F {
    fn of(&self, answer: &V) -> f64 {
        self(answer)
    }
}

/// The default rating: every answer has the quality 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyAnswer;

impl<V> Quality<V> for AnyAnswer {
    fn of(&self, _: &V) -> f64 {
        1.0
    }
}
