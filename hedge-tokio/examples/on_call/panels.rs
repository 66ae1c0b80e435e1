//! The panels of the dashboard, evaluated by a Prometheus.

use std::fs;
use std::path::Path;

use reqwest::Client;
use serde::Deserialize;

use crate::cli::Failure;
use crate::incident::{BEGIN, END, Incident, LENGTH};
use crate::record::{APART, EPOCH};
use crate::{observability, picture};

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

/// A curve: the values of its labels, and points of time in seconds and value.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: std::collections::BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// What a panel shows late in an incident: its title, a word of the curve's name, and between which numbers its value
/// has to be.
type Expected = (Incident, &'static str, &'static str, f64, f64);

const EXPECTED: [Expected; 14] = [
    (Incident::Storm, "Hedge rate", "delay", 0.3, 1.0),
    (Incident::Storm, "Latency", "P99", 0.2, 2.5),
    (Incident::Storm, "Win rate", "delay", 0.05, 0.6),
    (Incident::Vain, "Win rate", "delay", 0.0, 0.01),
    (Incident::Vain, "Hedge rate", "delay", 0.01, 0.06),
    (
        Incident::Spent,
        "Not hedged, by reason",
        "budget_ratio",
        0.03,
        0.25,
    ),
    (Incident::Spent, "Budget", "tokens", 0.0, 2.0),
    (Incident::Spent, "Win rate", "delay", 0.6, 1.0),
    (Incident::Spent, "What hedging saved", "low", 0.0, 0.3),
    (Incident::Replica, "Suspect replicas", "1", 1.0, 1.0),
    (Incident::Replica, "Suspect replicas", "0", 0.0, 0.0),
    (Incident::Replica, "Requests", "ok", 5.0, 10.1),
    (Incident::Guard, "Guard level", "level", 1.0, 6.0),
    (Incident::Guard, "Not hedged, by reason", "guard", 0.01, 0.2),
];

/// The panel that shows an incident best, and what it is.
const PICTURES: [(Incident, &str, &str); 5] = [
    (Incident::Storm, "Hedge rate", "share of requests"),
    (Incident::Vain, "Win rate", "share of hedges"),
    (
        Incident::Spent,
        "Not hedged, by reason",
        "share of requests",
    ),
    (Incident::Replica, "Suspect replicas", "suspect"),
    (Incident::Guard, "Guard level", "level"),
];

fn dashboard() -> Result<Vec<Panel>, Failure> {
    let text = fs::read_to_string(observability().join("dashboard.json"))?;
    let dashboard: Dashboard = serde_json::from_str(&text)?;
    Ok(dashboard.panels)
}

/// Evaluates a panel from one second to another.
async fn curves(address: &str, panel: &Panel, from: u64, to: u64) -> Result<Vec<Curve>, Failure> {
    let mut curves = Vec::new();
    for target in &panel.targets {
        let expr = encoded(&target.expr);
        let url =
            format!("{address}/api/v1/query_range?query={expr}&start={from}&end={to}&step=30");
        let text = Client::new()
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        let reply: Reply = serde_json::from_str(&text)?;
        for Row { metric, values } in reply.data.result {
            let number = |(at, value): &(f64, String)| Some((*at, value.parse().ok()?));
            let mut name = metric.into_values().collect::<Vec<_>>().join(" ");
            // What has the same labels is told apart by its query.
            name += match target.expr.as_str() {
                expr if expr.contains("(0.99,") => " P99",
                expr if expr.contains("(0.5,") => " P50",
                expr if expr.contains("guard_slow") => " slow",
                expr if expr.contains("guard_level") => " level",
                expr if expr.contains("capacity") => " capacity",
                expr if expr.contains("budget_tokens") => " tokens",
                _ => "",
            };
            curves.push(Curve {
                name: name.trim().into(),
                points: values.iter().filter_map(number).collect(),
            });
        }
    }
    Ok(curves)
}

/// As a part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn start_of(incident: Incident) -> u64 {
    let place = Incident::ALL.iter().position(|other| *other == incident);
    EPOCH + APART * place.unwrap_or(0) as u64
}

pub(crate) async fn check(address: &str, live: bool) -> Result<(), Failure> {
    let panels = dashboard()?;
    let mut missed = Vec::new();
    if live {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        for panel in &panels {
            let curves = curves(address, panel, now - 30, now + 30).await?;
            let shown = curves.iter().map(|curve| curve.points.len()).sum::<usize>();
            println!("{}: {} curves, {shown} points", panel.title, curves.len());
            if shown == 0 {
                missed.push(format!("{} shows nothing", panel.title));
            }
        }
    } else {
        for (incident, title, word, low, high) in EXPECTED {
            let panel = panels.iter().find(|panel| panel.title == title);
            let panel = panel.ok_or_else(|| format!("no panel is called {title:?}"))?;
            let at = start_of(incident) + 60 * (END - 1);
            let curves = curves(address, panel, at, at).await?;
            let curve = curves
                .iter()
                .find(|curve| curve.name.split(' ').any(|part| part == word));
            let value = curve
                .and_then(|curve| curve.points.last())
                .map(|(_, value)| *value);
            println!(
                "{}: {title}, {word}: {value:?}, expected {low} to {high}",
                incident.name()
            );
            if !value.is_some_and(|value| (low..=high).contains(&value)) {
                missed.push(format!("{}: {title}, {word}", incident.name()));
            }
        }
        for panel in &panels {
            let at = start_of(Incident::Storm);
            let curves = curves(address, panel, at, at + 60 * LENGTH).await?;
            if curves.is_empty() {
                missed.push(format!("{} shows nothing", panel.title));
            }
        }
    }
    if missed.is_empty() {
        println!("every panel shows what it should");
        return Ok(());
    }
    Err(missed.join("; ").into())
}

pub(crate) async fn draw(address: &str, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let panels = dashboard()?;
    for (incident, title, unit) in PICTURES {
        let panel = panels.iter().find(|panel| panel.title == title);
        let panel = panel.ok_or_else(|| format!("no panel is called {title:?}"))?;
        let start = start_of(incident);
        let mut curves = curves(address, panel, start, start + 60 * LENGTH).await?;
        for curve in &mut curves {
            for (at, _) in &mut curve.points {
                *at = (*at - start as f64) / 60.0;
            }
        }
        let file = folder.join(format!("{}.svg", incident.name()));
        fs::write(
            file,
            picture::draw(title, unit, &curves, [BEGIN, END, LENGTH])?,
        )?;
    }
    Ok(())
}
