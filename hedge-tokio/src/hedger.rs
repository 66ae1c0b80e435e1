//! The types of the hedger for tokio.

use core::future::Future;

use hedge_core::{Attempt, ByResult, HedgeConfig, Hedged, runtime};

use crate::{RequestError, TokioTimer};

/// Hedges the requests to one backend. A clone is another handle to the same hedger.
///
/// A request has room for `MAX` attempts: by default, the primary and up to three hedges.
/// [`Builder::attempts`](runtime::Builder::attempts) changes that.
///
/// ```
/// use hedge_tokio::{Budget, Hedger, Percentile};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hedger = Hedger::builder()
///     .strategy(Percentile::new(95.0))
///     .max_hedges(2)
///     .budget(Budget::percent(10.0))
///     .build()?;
/// let hedged = hedger.request(|attempt| async move { Ok::<_, std::io::Error>(attempt.index()) }).await?;
/// assert_eq!(hedged.value, 0);
/// assert_eq!(hedger.metrics().total_requests, 1);
/// # Ok(())
/// # }
/// ```
///
/// From a config:
///
/// ```
/// use hedge_tokio::{HedgeConfig, Hedger};
///
/// let config = HedgeConfig { percentile: 99.0, budget_percent: 5.0, ..HedgeConfig::default() };
/// let hedger = Hedger::from_config(&config)?;
/// # Ok::<(), hedge_tokio::ConfigError>(())
/// ```
///
/// A request with custom options:
///
/// ```
/// # use core::time::Duration;
/// use hedge_tokio::{Hedger, Hints};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let hedger = Hedger::builder().build()?;
/// # let prompt = "";
/// let hedged = hedger
///     .call()
///     .timeout(Duration::from_secs(2))
///     .hints(Hints::NONE.prompt_length(prompt.len() as u32))
///     .request(|_| async { Ok::<_, std::io::Error>("answer") })
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// A download that is hedged on its first bytes, and fails if nothing comes for ten seconds:
///
/// ```
/// # use core::pin::pin;
/// # use core::time::Duration;
/// use futures_lite::StreamExt;
/// use hedge_tokio::Hedger;
///
/// # async fn download(hedger: &Hedger, client: &reqwest::Client) -> Result<(), Box<dyn std::error::Error>> {
/// # let urls = [""; 2];
/// let hedged = hedger
///     .stream(async |attempt| {
///         let response = client.get(urls[attempt.index() % 2]).send().await?;
///         Ok::<_, reqwest::Error>(response.error_for_status()?.bytes_stream())
///     })
///     .await?;
/// let mut chunks = pin!(hedged.value.stall(Duration::from_secs(10)));
/// while let Some(chunk) = chunks.next().await.transpose()? {
///     println!("{} bytes", chunk.len());
/// }
/// # Ok(())
/// # }
/// ```
///
/// Reading what the strategy has learned:
///
/// ```
/// use hedge_tokio::{Hedger, Percentile};
///
/// let hedger = Hedger::builder().strategy(Percentile::new(99.0)).build()?;
/// let stats = hedger.with_strategy(|percentile: &mut Percentile| percentile.stats());
/// assert_eq!(stats.map(|stats| stats.samples), Some(0));
/// # Ok::<(), hedge_tokio::ConfigError>(())
/// ```
pub type Hedger<const MAX: usize = 4> = runtime::Hedger<TokioTimer, MAX>;

/// A builder for a [`Hedger`], which validates all options.
pub type Builder<const MAX: usize = 4> = runtime::Builder<TokioTimer, MAX>;

/// A builder for one request with custom options. See [`hedge_core::Call`].
pub type Call<'h, C = ByResult, const MAX: usize = 4> = runtime::Call<'h, TokioTimer, C, MAX>;

/// A [`Budget`](crate::Budget) that several hedgers and a retry layer can share. A clone is another
/// handle to the same budget.
///
/// The budget has its own clock, for the reserve per second.
///
/// ```
/// use hedge_tokio::{Budget, Hedger, SharedBudget};
///
/// let budget = SharedBudget::new(Budget::percent(5.0));
/// let search = Hedger::builder().shared_budget(budget.clone()).build()?;
/// let ads = Hedger::builder().shared_budget(budget.clone()).build()?;
///
/// // A retry layer deposits for each of its requests and charges each retry.
/// budget.deposit();
/// if budget.try_withdraw().is_ok() {
///     // … retry …
///     budget.give_back(1);
/// }
/// # Ok::<(), hedge_tokio::ConfigError>(())
/// ```
pub type SharedBudget = runtime::SharedBudget<TokioTimer>;

/// A set of hedgers, one for each `strategy_name`, each created from its config on first use. A
/// clone is another handle to the same registry.
///
/// ```
/// use hedge_tokio::{HedgeConfig, Registry};
///
/// let registry = Registry::new();
/// let config = HedgeConfig { strategy_name: Some("search".parse()?), ..HedgeConfig::default() };
/// let hedger = registry.hedger(&config)?; // then make requests with it
/// for (name, hedger) in registry.list() {
///     println!("{name}: {} requests", hedger.metrics().total_requests);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Registry<const MAX: usize = 4> = runtime::Registry<TokioTimer, MAX>;

/// Makes one hedged request with the options of `config`, without a lasting hedger.
///
/// A strategy that learns cannot learn from a single request, and hedges as it does before its
/// first sample. Keep a [`Hedger`] to call a backend more than once.
///
/// ```
/// use hedge_tokio::{HedgeConfig, StrategyKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = HedgeConfig { max_hedges: 2, ..HedgeConfig::default() };
/// let hedged = hedge_tokio::request(|_| async { Ok::<_, std::io::Error>("answer") }, &config).await?;
/// assert_eq!(hedged.value, "answer");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns [`RequestError::Config`] for an invalid option, before anything is sent, and
/// [`RequestError::Request`] for the errors of [`Hedger::request`](runtime::Hedger::request).
pub async fn request<V, E, F, Fut>(
    launch: F,
    config: &HedgeConfig,
) -> Result<Hedged<V>, RequestError<E>>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<V, E>>,
{
    runtime::request::<TokioTimer, _, _, _, _>(launch, config).await
}
