//! What choosing replicas has to achieve, and whether it does.

use serde::Serialize;

use super::Grid;
use super::chooser::Rule;
use super::figures::Figures;
use super::scenario::Scenario;

/// A target and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

/// The loads that targets are averaged over.
pub(crate) const LOADS: [f64; 3] = [0.3, 0.6, 0.8];
/// Few clients, that see each a large part of the traffic, and many.
pub(crate) const CLIENTS: [usize; 2] = [4, 50];
/// At this load the zone that is near can do all the work.
const ZONES_LOAD: [f64; 1] = [0.3];

/// One cell of the grid: what is simulated for a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) scenario: Scenario,
    pub(crate) rule: Rule,
    pub(crate) clients: usize,
    pub(crate) load: f64,
    pub(crate) replicas: usize,
}

impl Cell {
    pub(crate) fn new(scenario: Scenario, rule: Rule, clients: usize, load: f64) -> Self {
        Self {
            scenario,
            rule,
            clients,
            load,
            replicas: scenario.replicas(load),
        }
    }

    /// Two replicas at a load that one of them can bear.
    fn pair(scenario: Scenario) -> Self {
        Self {
            replicas: 2,
            ..Self::new(scenario, Rule::Hedge, 4, 0.3)
        }
    }
}

/// Gathers rows, and before that the cells that they need: the same code runs twice.
pub(crate) struct Targets<'g> {
    grid: &'g Grid,
    cells: Vec<Cell>,
    rows: Vec<Row>,
}

/// The cells that the targets need.
pub(crate) fn cells() -> Vec<Cell> {
    let grid = Grid::default();
    let mut targets = Targets::new(&grid);
    targets.check();
    targets.cells
}

/// Every target.
pub(crate) fn rows(grid: &Grid) -> Vec<Row> {
    let mut targets = Targets::new(grid);
    targets.check();
    targets.rows
}

impl<'g> Targets<'g> {
    fn new(grid: &'g Grid) -> Self {
        Self {
            grid,
            cells: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn check(&mut self) {
        use Scenario::{
            AllFail, AllSlow, Capacity, FailFast, HalfFail, Hang, Healthy, Pauses, RareHang,
            RareSlow, Restart, Slow, Zones,
        };
        self.p99(Healthy, [1.03, 1.03]);
        self.at_most(Healthy, "busiest ÷ fair", [1.05; 2], |cell| cell.busiest);
        self.at_most(Healthy, "extra load, %", [6.5; 2], |cell| {
            100.0 * cell.extra
        });
        self.p99(Slow, [1.10, 1.20]);
        self.bad_share(Slow);
        self.at_most(Slow, "noticed after s", [0.5, 1.5], |cell| {
            cell.noticed / 1e3
        });
        self.at_most(Slow, "back after s", [1.0, 8.0], |cell| cell.back / 1e3);
        self.p99(Hang, [1.10, 1.30]);
        self.goodput(Hang, 99.95);
        self.goodput(FailFast, 99.8);
        self.bad_share(FailFast);
        self.goodput(HalfFail, 99.7);
        self.p99(Pauses, [1.15, 1.6]);
        self.p99(Restart, [1.05; 2]);
        self.p99(AllSlow, [1.06; 2]);
        self.p99(AllFail, [1.06; 2]);
        self.zones(Zones);
        self.capacity(Capacity);
        for scenario in [RareSlow, RareHang] {
            let ratio = self.ratio(scenario, Rule::Told, 1, &[0.6]);
            self.row(format!("{scenario}: P99 ÷ told"), ratio, "≤", 1.10);
        }
        for scenario in [Slow, Hang] {
            let p99 = self
                .get(Cell::pair(scenario))
                .map_or(f64::NAN, |cell| cell.p99);
            self.row(format!("{scenario} of two: P99, ms"), p99, "≤", 50.0);
        }
    }

    /// The P99 beside that of somebody who knew which replica is bad.
    fn p99(&mut self, scenario: Scenario, bounds: [f64; 2]) {
        for (clients, bound) in CLIENTS.into_iter().zip(bounds) {
            let ratio = self.ratio(scenario, Rule::Told, clients, &LOADS);
            self.row(name(scenario, clients, "P99 ÷ told"), ratio, "≤", bound);
        }
    }

    fn bad_share(&mut self, scenario: Scenario) {
        self.at_most(scenario, "share of the bad, %", [2.2; 2], |cell| {
            100.0 * cell.bad_share_late
        });
    }

    fn goodput(&mut self, scenario: Scenario, bound: f64) {
        for clients in CLIENTS {
            let goodput = self.mean(scenario, clients, &LOADS, |cell| 100.0 * cell.goodput);
            self.row(name(scenario, clients, "goodput, %"), goodput, "≥", bound);
        }
    }

    fn zones(&mut self, scenario: Scenario) {
        for clients in CLIENTS {
            let near = self.mean(scenario, clients, &ZONES_LOAD, |cell| {
                100.0 * cell.shares.iter().take(2).sum::<f64>()
            });
            self.row(name(scenario, clients, "near, %"), near, "≥", 94.0);
            let p99 = self.mean(scenario, clients, &ZONES_LOAD, |cell| cell.p99);
            self.row(name(scenario, clients, "P99, ms"), p99, "≤", 46.0);
        }
    }

    fn capacity(&mut self, scenario: Scenario) {
        for clients in CLIENTS {
            let ratio = self.ratio(scenario, Rule::LeastOutstanding, clients, &LOADS);
            self.row(
                name(scenario, clients, "P99 ÷ least outstanding"),
                ratio,
                "≤",
                1.0,
            );
        }
    }

    fn at_most(
        &mut self,
        scenario: Scenario,
        what: &str,
        bounds: [f64; 2],
        of: impl Fn(&Figures) -> f64,
    ) {
        for (clients, bound) in CLIENTS.into_iter().zip(bounds) {
            let mean = self.mean(scenario, clients, &LOADS, &of);
            self.row(name(scenario, clients, what), mean, "≤", bound);
        }
    }

    fn row(&mut self, name: String, measured: f64, relation: &str, bound: f64) {
        self.rows.push(Row {
            name,
            target: format!("{relation} {bound}"),
            measured,
            met: if relation == "≤" {
                measured <= bound
            } else {
                measured >= bound
            },
        });
    }

    fn get(&mut self, cell: Cell) -> Option<&'g Figures> {
        self.cells.push(cell);
        self.grid.get(cell)
    }

    /// The mean over the loads.
    fn mean(
        &mut self,
        scenario: Scenario,
        clients: usize,
        loads: &[f64],
        of: impl Fn(&Figures) -> f64,
    ) -> f64 {
        let each = loads.iter().map(|load| {
            let cell = Cell::new(scenario, Rule::Hedge, clients, *load);
            self.get(cell).map_or(f64::NAN, &of)
        });
        each.sum::<f64>() / loads.len() as f64
    }

    /// Our P99 over that of another rule: the geometric mean over the loads.
    fn ratio(&mut self, scenario: Scenario, rule: Rule, clients: usize, loads: &[f64]) -> f64 {
        let mut logs = 0.0;
        for load in loads {
            let mut p99 = |rule| {
                let cell = Cell::new(scenario, rule, clients, *load);
                self.get(cell).map_or(f64::NAN, |cell| cell.p99)
            };
            logs += libm::log(p99(Rule::Hedge) / p99(rule));
        }
        libm::exp(logs / loads.len() as f64)
    }
}

fn name(scenario: Scenario, clients: usize, what: &str) -> String {
    format!("{scenario}, {clients} clients: {what}")
}
