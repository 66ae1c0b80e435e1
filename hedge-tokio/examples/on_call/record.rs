//! What Prometheus would have scraped in the incidents, as files for `promtool`.

use core::fmt::Write;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::BUCKETS;
use crate::cli::Failure;
use crate::incident::{BEGIN, END, Incident, LENGTH};

/// From one scrape to the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);
/// When the first incident's recording starts; each has two hours. In seconds since 1970, at a full two hours, which
/// is what a block of Prometheus holds.
pub(crate) const EPOCH: u64 = 1_699_999_200;
pub(crate) const APART: u64 = 7200;

/// The alerts, each of which fires in the incident of the same place, and their summaries in `rules.yml`.
const ALERTS: [(&str, &str, &str); 5] = [
    (
        "HedgeStorm",
        "page",
        "More than 15 % of the requests are hedged.",
    ),
    (
        "HedgesInVain",
        "ticket",
        "Hedges are sent, and fewer than 5 % of them win.",
    ),
    (
        "HedgeBudgetSpent",
        "ticket",
        "More than 2 % of the requests are slow and find the budget spent.",
    ),
    (
        "HedgeReplicaSuspect",
        "ticket",
        "A replica is more than twice as slow as the fastest, and gets probes only.",
    ),
    (
        "HedgeGuardUp",
        "ticket",
        "The guard defers hedges, since they do not win or the callee is slow as a whole.",
    ),
];

/// The values of each series, one per scrape; `None` before its first.
type Series = BTreeMap<String, Vec<Option<f64>>>;

fn recorded(incident: Incident) -> Result<Series, Failure> {
    let durations = Matcher::Suffix("_duration_seconds".into());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    let mut series = Series::new();
    let mut scrapes = 0;
    let scrape = || {
        let text = handle.render();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let values = series.entry(name.into()).or_default();
            values.resize(scrapes, None);
            values.push(value.parse().ok());
        }
        scrapes += 1;
    };
    metrics::with_local_recorder(&recorder, || incident.play(INTERVAL, scrape))?;
    Ok(series)
}

/// Writes `incidents.om`, in the OpenMetrics format, and `rules.test.yml`, which tests the alerts.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let mut samples = String::new();
    let mut tests = String::from(
        "# Written by the example `on_call`: what Prometheus scraped in five incidents, and which alerts fire.\n\
         rule_files: [rules.yml]\nevaluation_interval: 30s\ntests:\n",
    );
    for (place, incident) in Incident::ALL.into_iter().enumerate() {
        let series = recorded(incident)?;
        let start = EPOCH + APART * place as u64;
        for (name, values) in &series {
            for (scrape, value) in values.iter().enumerate() {
                let at = start + INTERVAL.as_secs() * (scrape as u64 + 1);
                if let Some(value) = value {
                    writeln!(samples, "{name} {value} {at}")?;
                }
            }
        }
        test(&mut tests, place, incident, &series)?;
    }
    samples += "# EOF\n";
    fs::write(folder.join("incidents.om"), samples)?;
    fs::write(folder.join("rules.test.yml"), tests)?;
    Ok(())
}

/// Whether a rule reads the series.
fn is_tested(name: &str) -> bool {
    let read = [
        "hedge_requests_total",
        "hedge_hedges_total",
        "hedge_wins_total",
        "hedge_suppressed_total",
        "hedge_replica_suspect",
        "hedge_guard_level",
        "hedge_guard_slow",
    ];
    read.iter().any(|read| name.starts_with(read))
}

fn test(
    text: &mut String,
    place: usize,
    incident: Incident,
    series: &Series,
) -> Result<(), Failure> {
    writeln!(text, "  - name: {}", incident.name())?;
    writeln!(text, "    interval: 30s\n    input_series:")?;
    for (name, values) in series.iter().filter(|(name, _)| is_tested(name)) {
        let values: Vec<String> = values
            .iter()
            .map(|value| value.map_or("_".into(), |value| value.to_string()))
            .collect();
        // The first scrape is at half a minute.
        writeln!(
            text,
            "      - series: '{name}'\n        values: '_ {}'",
            values.join(" ")
        )?;
    }
    writeln!(text, "    alert_rule_test:")?;
    let late = [END - 6, END - 1];
    let others = [
        5,
        BEGIN - 1,
        BEGIN + 2,
        BEGIN + 5,
        BEGIN + 10,
        END - 6,
        END - 1,
        END + 5,
        LENGTH - 1,
    ];
    for (fires, (alert, severity, summary)) in ALERTS.into_iter().enumerate() {
        if fires != place {
            for minute in others {
                writeln!(
                    text,
                    "      - {{ eval_time: {minute}m, alertname: {alert}, exp_alerts: [] }}"
                )?;
            }
            continue;
        }
        for minute in [5, BEGIN - 1, LENGTH - 1] {
            writeln!(
                text,
                "      - {{ eval_time: {minute}m, alertname: {alert}, exp_alerts: [] }}"
            )?;
        }
        let labels = if incident == Incident::Replica {
            "strategy_name: search, replica: \"1\"".into()
        } else {
            format!("strategy_name: {}", incident.name())
        };
        for minute in late {
            writeln!(
                text,
                "      - eval_time: {minute}m\n        alertname: {alert}\n        exp_alerts:"
            )?;
            writeln!(
                text,
                "          - exp_labels: {{ severity: {severity}, {labels} }}"
            )?;
            writeln!(
                text,
                "            exp_annotations: {{ summary: \"{summary}\" }}"
            )?;
        }
    }
    Ok(())
}
