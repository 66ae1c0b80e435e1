//! `whatif replicas`: which replica to ask, tried on simulated incidents.
//!
//! Every rule is hedged alike, by the hedger of servers at P95 within a budget of 10 %, so that only the choice of
//! replicas differs.

mod chooser;
mod client;
mod figures;
mod picture;
mod scenario;
mod simulation;
mod targets;

use core::fmt::{Error, Write};
use std::path::PathBuf;

use clap::Args;

use chooser::Rule;
use figures::Figures;
use scenario::Scenario;
use simulation::Setting;
use targets::{Cell, Row};

use crate::parallel;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A scenario to compare all rules in; repeatable. Default: every one, and the targets.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// The work that arrives over the work that the replicas can do.
    #[arg(long, default_value_t = 0.6)]
    load: f64,
    /// How many clients share the traffic, each of which learns alone.
    #[arg(long, default_value = "4,50", value_delimiter = ',')]
    clients: Vec<usize>,
    /// How many seeds each figure is taken from.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of these seeds.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Check the targets only, and print them as an array of objects.
    #[arg(long, conflicts_with = "scenario")]
    json: bool,
    /// Draw one incident over time: each replica's share of the traffic, and the P99 by rule. Needs one `--scenario`.
    #[arg(long, value_name = "FILE", requires = "scenario")]
    svg: Option<PathBuf>,
}

/// The figures of each cell.
#[derive(Debug, Default)]
pub(crate) struct Grid(Vec<(Cell, Figures)>);

impl Grid {
    fn get(&self, cell: Cell) -> Option<&Figures> {
        let found = self.0.iter().find(|(other, _)| *other == cell);
        found.map(|(_, figures)| figures)
    }

    /// Runs all `cells` on every processor.
    fn run(cells: &[Cell], options: &Options) -> Result<Self, String> {
        let mut unique: Vec<Cell> = Vec::new();
        for cell in cells {
            if !unique.contains(cell) {
                unique.push(*cell);
            }
        }
        let bar = hedge_terminal::progress(unique.len() as u64);
        let grid = parallel::map(unique.len(), |index| {
            let figures = simulate(&unique[index], options)?;
            bar.inc(1);
            Ok((unique[index], figures))
        });
        bar.finish_and_clear();
        Ok(Self(grid.into_iter().collect::<Result<_, String>>()?))
    }
}

fn setting(cell: &Cell, seed: u64) -> Setting {
    Setting {
        scenario: cell.scenario,
        rule: cell.rule,
        clients: cell.clients,
        replicas: cell.replicas,
        load: cell.load,
        seed,
    }
}

fn simulate(cell: &Cell, options: &Options) -> Result<Figures, String> {
    let seeds = options.first_seed..options.first_seed + options.seeds;
    let logs = seeds.map(|seed| simulation::run(setting(cell, seed)));
    Ok(Figures::of(&logs.collect::<Result<Vec<_>, _>>()?))
}

pub(crate) fn print(options: &Options) -> Result<(), String> {
    if options.clients.contains(&0) || !(0.01..=0.95).contains(&options.load) {
        return Err("`--clients` must be 1 or more, `--load` 0.01 to 0.95".into());
    }
    if let Some(file) = &options.svg {
        let [scenario] = options.scenario[..] else {
            return Err("`--svg` draws one `--scenario`".into());
        };
        let clients = options.clients.first().copied().unwrap_or(4);
        let rules = [
            Rule::Hedge,
            Rule::PeakEwma,
            Rule::LeastOutstanding,
            Rule::Random,
        ];
        let cells = rules.map(|rule| Cell::new(scenario, rule, clients, options.load));
        let logs = parallel::map(cells.len(), |index| {
            let log = simulation::run(setting(&cells[index], options.first_seed))?;
            Ok((rules[index], log))
        });
        let logs: Vec<_> = logs.into_iter().collect::<Result<_, String>>()?;
        picture::draw(file, &cells[0], &logs)?;
    }
    if options.json {
        let rows = targets::rows(&Grid::run(&targets::cells(), options)?);
        return hedge_terminal::print(&json(&rows)?);
    }
    let all = <Scenario as clap::ValueEnum>::value_variants();
    let scenarios = if options.scenario.is_empty() {
        all
    } else {
        &options.scenario
    };
    let mut text = String::new();
    for scenario in scenarios {
        let clients: &[usize] = if scenario.is_rare() {
            &[1]
        } else {
            &options.clients
        };
        for clients in clients {
            let cells = Rule::ALL.map(|rule| Cell::new(*scenario, rule, *clients, options.load));
            let grid = Grid::run(&cells, options)?;
            // Writing to a string does not fail.
            let _: Result<(), Error> = table(&mut text, &cells, &grid);
        }
    }
    if options.scenario.is_empty() {
        let rows = targets::rows(&Grid::run(&targets::cells(), options)?);
        let _: Result<(), Error> = verdicts(&mut text, &rows);
    }
    hedge_terminal::print(&text)
}

fn json(rows: &[Row]) -> Result<String, String> {
    let lines = rows
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    Ok(format!("[{}]\n", lines.join(",\n ")))
}

fn table(text: &mut String, cells: &[Cell], grid: &Grid) -> Result<(), Error> {
    if let Some(cell) = cells.first() {
        writeln!(
            text,
            "{}: {} replicas, load {}, {} clients, times in ms\n{:<18} {:>7} {:>7} {:>7} {:>7} {:>8} {:>9} {:>8} {:>8}",
            cell.scenario,
            cell.replicas,
            cell.load,
            cell.clients,
            "",
            "P50",
            "P99",
            "P99.9",
            "after",
            "extra %",
            "goodput %",
            "bad %",
            "back s",
        )?;
    }
    for cell in cells {
        let Some(figures) = grid.get(*cell) else {
            continue;
        };
        writeln!(
            text,
            "{:<18} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>8.2} {:>9.2} {:>8.2} {:>8.1}",
            cell.rule,
            figures.p50,
            figures.p99,
            figures.p999,
            figures.after_p99,
            100.0 * figures.extra,
            100.0 * figures.goodput,
            100.0 * figures.bad_share,
            figures.back / 1e3,
        )?;
    }
    writeln!(text)
}

fn verdicts(text: &mut String, rows: &[Row]) -> Result<(), Error> {
    writeln!(text, "{:<52} {:>9} {:>9}  met", "target", "", "measured")?;
    for row in rows {
        let met = if row.met { "yes" } else { "no" };
        writeln!(
            text,
            "{:<52} {:>9} {:>9.3}  {met}",
            row.name, row.target, row.measured
        )?;
    }
    let missed = rows.iter().filter(|row| !row.met).count();
    writeln!(text, "{} of {} met", rows.len() - missed, rows.len())
}
