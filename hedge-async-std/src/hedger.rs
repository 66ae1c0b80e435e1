//! The hedger of a program on smol or async-std, or of a page.

use core::future::Future;

use hedge_core::{Attempt, ByResult, HedgeConfig, Hedged, runtime};

use crate::{AsyncStdTimer, RequestError};

/// Hedges the requests to one backend. A clone is another handle to the same hedger.
///
/// Attempts have room for one primary and up to three hedges, `MAX` in all;
/// [`Builder::attempts`](runtime::Builder::attempts) changes that.
///
/// ```
/// use hedge_async_std::{Budget, Hedger, Percentile};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
/// let hedger = Hedger::builder()
///     .strategy(Percentile::new(95.0))
///     .max_hedges(2)
///     .budget(Budget::percent(10.0))
///     .build()?;
/// let hedged = hedger.request(|attempt| async move { Ok::<_, std::io::Error>(attempt.index()) }).await?;
/// assert_eq!(hedged.value, 0);
/// assert_eq!(hedger.metrics().total_requests, 1);
/// # Ok(())
/// # }) }
/// ```
///
/// From a config:
///
/// ```
/// use hedge_async_std::{HedgeConfig, Hedger};
///
/// let config = HedgeConfig { percentile: 99.0, budget_percent: 5.0, ..HedgeConfig::default() };
/// let hedger = Hedger::from_config(&config)?;
/// # Ok::<(), hedge_async_std::ConfigError>(())
/// ```
///
/// A request with options of its own:
///
/// ```
/// # use core::time::Duration;
/// use hedge_async_std::{Hedger, Hints};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
/// # let hedger = Hedger::builder().build()?;
/// # let prompt = "";
/// let hedged = hedger
///     .call()
///     .timeout(Duration::from_secs(2))
///     .hints(Hints::NONE.prompt_length(prompt.len() as u32))
///     .request(|_| async { Ok::<_, std::io::Error>("answer") })
///     .await?;
/// # Ok(())
/// # }) }
/// ```
///
/// What the strategy has learned:
///
/// ```
/// use hedge_async_std::{Hedger, Percentile};
///
/// let hedger = Hedger::builder().strategy(Percentile::new(99.0)).build()?;
/// let stats = hedger.with_strategy(|percentile: &mut Percentile| percentile.stats());
/// assert_eq!(stats.map(|stats| stats.samples), Some(0));
/// # Ok::<(), hedge_async_std::ConfigError>(())
/// ```
pub type Hedger<const MAX: usize = 4> = runtime::Hedger<AsyncStdTimer, MAX>;

/// Collects the parts of a [`Hedger`], and refuses what cannot be right.
pub type Builder<const MAX: usize = 4> = runtime::Builder<AsyncStdTimer, MAX>;

/// One request before it is made: options of its own. See [`hedge_core::Call`].
pub type Call<'h, C = ByResult, const MAX: usize = 4> = runtime::Call<'h, AsyncStdTimer, C, MAX>;

/// A [`Budget`](crate::Budget) that several hedgers and a retry layer share: a clone is another handle to it.
///
/// It has a clock of its own, for the reserve per second.
///
/// ```
/// use hedge_async_std::{Budget, Hedger, SharedBudget};
///
/// let budget = SharedBudget::new(Budget::percent(5.0));
/// let search = Hedger::builder().shared_budget(budget.clone()).build()?;
/// let ads = Hedger::builder().shared_budget(budget.clone()).build()?;
///
/// // A retry layer that makes requests of its own deposits for each, and charges its retries.
/// budget.deposit();
/// if budget.try_charge().is_ok() {
///     // … retry …
///     budget.give_back(1);
/// }
/// # Ok::<(), hedge_async_std::ConfigError>(())
/// ```
pub type SharedBudget = runtime::SharedBudget<AsyncStdTimer>;

/// One hedger for each `strategy_name`, made from its config on first use and shared from then on: a clone
/// is another handle to the same registry.
///
/// ```
/// use hedge_async_std::{HedgeConfig, Registry};
///
/// let registry = Registry::new();
/// let config = HedgeConfig { strategy_name: Some("search".parse()?), ..HedgeConfig::default() };
/// let hedger = registry.hedger(&config)?; // with which requests are made
/// for (name, hedger) in registry.list() {
///     println!("{name}: {} requests", hedger.metrics().total_requests);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Registry<const MAX: usize = 4> = runtime::Registry<AsyncStdTimer, MAX>;

/// Makes one hedged request as `config` says, and keeps nothing.
///
/// A strategy that learns has nothing to learn from here and hedges as it does before its first sample.
/// Whoever calls a backend more than once should keep a [`Hedger`].
///
/// ```
/// use hedge_async_std::{HedgeConfig, StrategyKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
/// let config = HedgeConfig { max_hedges: 2, ..HedgeConfig::default() };
/// let hedged = hedge_async_std::request(|_| async { Ok::<_, std::io::Error>("answer") }, &config).await?;
/// assert_eq!(hedged.value, "answer");
/// # Ok(())
/// # }) }
/// ```
///
/// # Errors
///
/// [`RequestError::Config`] for an option that cannot be right, before anything is sent;
/// [`RequestError::Request`] as [`Hedger::request`](runtime::Hedger::request).
pub async fn request<V, E, F, Fut>(
    launch: F,
    config: &HedgeConfig,
) -> Result<Hedged<V>, RequestError<E>>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<V, E>>,
{
    runtime::request::<AsyncStdTimer, _, _, _, _>(launch, config).await
}
