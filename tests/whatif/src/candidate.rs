//! Strategies to try.

use hedge_core::{HedgeConfig, StrategyKind};
use serde_json::{Map, Value, json};

use crate::lab::percentile;
use crate::workload::Source;

/// What a strategy is to do where its own options do not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aims {
    /// The most that hedges may add, in percent of the requests.
    pub(crate) budget: Option<f64>,
    pub(crate) max_hedges: u8,
    /// The percentile that matters.
    pub(crate) target: f64,
}

impl Aims {
    /// As in a config that says nothing.
    pub(crate) const DEFAULT: Self = Self {
        budget: None,
        max_hedges: 1,
        target: 99.0,
    };
}

/// A strategy to try, and with which options.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// What the output calls it.
    pub(crate) name: String,
    pub(crate) config: HedgeConfig,
    /// Whether requests end at the config's timeout. They do if it was named: a trace says how long requests
    /// may take.
    pub(crate) times_out: bool,
}

impl Candidate {
    /// `NAME[:option=value,...]`: options as in a config file.
    ///
    /// # Errors
    ///
    /// Names the option that is invalid.
    pub(crate) fn parse(text: &str, aims: &Aims) -> Result<Self, String> {
        let failed = |error: String| format!("strategy `{text}`: {error}");
        let named = options(text).map_err(failed)?;
        let has = |option| named.contains_key(option);
        let mut config: HedgeConfig = serde_json::from_value(Value::Object(named.clone()))
            .map_err(|error| failed(error.to_string()))?;
        if !has("max_hedges") {
            config.max_hedges = aims.max_hedges;
        }
        if solves(&config) && !has("optimal_target") {
            config.optimal_target = aims.target;
        }
        if solves(&config)
            && !has("optimal_budget_percent")
            && let Some(budget) = aims.budget.filter(|budget| *budget > 0.0)
        {
            config.optimal_budget_percent = budget;
        }
        if !has("budget_percent") {
            config.budget_percent = bucket(&config, aims.budget);
        }
        config
            .validate()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            name: text.into(),
            times_out: has("timeout_ms"),
            config,
        })
    }

    /// What of the config is not the default, as JSON.
    pub(crate) fn options(&self) -> Map<String, Value> {
        let fields = |config: &HedgeConfig| match serde_json::to_value(config) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let defaults = fields(&HedgeConfig::default());
        let mut own = fields(&self.config);
        own.retain(|name, value| name == "strategy" || defaults.get(name) != Some(value));
        own
    }
}

/// Whether it is `optimal`, on its own or scaled by hints.
fn solves(config: &HedgeConfig) -> bool {
    config.strategy == StrategyKind::Optimal
        || config.strategy == StrategyKind::WorkloadAware
            && config.workload_inner == Some(StrategyKind::Optimal)
}

/// The hedger's budget, in percent. For `optimal`, which keeps to its own, it is a safety net twice as wide.
fn bucket(config: &HedgeConfig, budget: Option<f64>) -> f64 {
    let plain = budget.unwrap_or(HedgeConfig::default().budget_percent);
    let own = config.optimal_budget_percent;
    let allows = budget.is_none_or(|budget| 0.0 < budget && own <= budget);
    if solves(config) && allows {
        plain.max((2.0 * own).min(100.0 * f64::from(config.max_hedges)))
    } else {
        plain
    }
}

/// The name and the options in `text`.
fn options(text: &str) -> Result<Map<String, Value>, String> {
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    let mut fields = Map::new();
    fields.insert("strategy".into(), json!(name));
    for option in split(options) {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| format!("`{option}` is not of the form option=value"))?;
        let key = key.trim();
        // A number, a list or a boolean as in JSON, else a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value.trim()));
        // Alone, so that an error is about this option.
        serde_json::from_value::<HedgeConfig>(json!({ key: value }))
            .map_err(|error| error.to_string())?;
        if fields.insert(key.into(), value).is_some() {
            return Err(format!("`{key}` is given twice"));
        }
    }
    Ok(fields)
}

/// Splits at commas outside brackets.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let comma = move |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    options
        .split(comma)
        .filter(|option| !option.trim().is_empty())
}

/// Every strategy, the plainest first, with delays that suit the latencies.
///
/// # Errors
///
/// Names the option that is invalid.
pub(crate) fn all(source: &Source, aims: &Aims) -> Result<Vec<Candidate>, String> {
    let mut sample: Vec<f64> = source
        .stream(100_000, 1)
        .map(|[latency, _]| latency)
        .collect();
    sample.sort_by(f64::total_cmp);
    // The share of the requests to hedge, in percent: alike for all, so that they can be compared.
    let aim = aims
        .budget
        .unwrap_or(HedgeConfig::default().optimal_budget_percent)
        .clamp(0.1, 50.0);
    let delay = due(&sample, aim);
    let arms = arms(&sample, aim);
    let options = |kind| match kind {
        StrategyKind::Fixed => format!("delay_ms={delay:.3}"),
        StrategyKind::Percentile => format!("percentile={}", 100.0 - aim),
        StrategyKind::Adaptive => format!("delay_candidates=[{arms}]"),
        StrategyKind::WorkloadAware => format!("base_delay={delay:.3}"),
        StrategyKind::ExponentialBackoff => format!(
            "exponential_base_delay={delay:.3},exponential_min_delay={delay:.3},\
             exponential_max_delay={:.3}",
            delay * 100.0
        ),
        // As it is by default.
        _ => String::new(),
    };
    let kinds = StrategyKind::ALL.into_iter();
    kinds
        .filter(|kind| *kind != StrategyKind::Custom)
        .map(|kind| {
            let mut candidate = Candidate::parse(&format!("{kind}:{}", options(kind)), aims)?;
            candidate.name = kind.to_string();
            Ok(candidate)
        })
        .collect()
}

/// The delay that a share of the latencies exceeds, in percent.
fn due(sorted: &[f64], share: f64) -> f64 {
    percentile(sorted, 100.0 - share).max(0.001)
}

/// Candidates for `adaptive`, with commas between them: the delay that a share of the latencies exceeds, and longer ones.
pub(crate) fn arms(sorted: &[f64], share: f64) -> String {
    let mut arms = [1.0, 0.5, 0.25, 0.125, 0.0625]
        .map(|part| due(sorted, share * part))
        .to_vec();
    arms.dedup_by(|later, earlier| *later < *earlier * 1.001 + 0.001);
    if let [only] = arms[..] {
        arms.push(only * 2.0);
    }
    let arms: Vec<_> = arms.iter().map(|arm| format!("{arm:.3}")).collect();
    arms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, budget: Option<f64>) -> HedgeConfig {
        let aims = Aims {
            budget,
            ..Aims::DEFAULT
        };
        Candidate::parse(text, &aims).unwrap().config
    }

    #[test]
    fn a_bare_name_is_the_default_config() {
        for strategy in [StrategyKind::Percentile, StrategyKind::Optimal] {
            // A config file that leaves the delay out has none.
            let config = HedgeConfig {
                strategy,
                delay_ms: None,
                ..HedgeConfig::default()
            };
            assert_eq!(parse(strategy.as_str(), None), config);
        }
    }

    #[test]
    fn the_bucket_is_wider_than_what_optimal_aims_at() {
        let budgets = |text, budget| {
            let config = parse(text, budget);
            (config.optimal_budget_percent, config.budget_percent)
        };
        assert_eq!(budgets("optimal", Some(2.0)), (2.0, 4.0));
        assert_eq!(budgets("optimal", Some(80.0)), (80.0, 100.0));
        assert_eq!(budgets("optimal", Some(0.0)), (5.0, 0.0));
        assert_eq!(
            budgets("optimal:optimal_budget_percent=25", None),
            (25.0, 50.0)
        );
        // The most that was allowed is the most.
        assert_eq!(
            budgets("optimal:optimal_budget_percent=25", Some(10.0)),
            (25.0, 10.0)
        );
        assert_eq!(
            budgets(
                "optimal:optimal_budget_percent=2,budget_percent=3",
                Some(9.0)
            ),
            (2.0, 3.0)
        );
        assert_eq!(parse("percentile", Some(2.0)).budget_percent, 2.0);
    }
}
