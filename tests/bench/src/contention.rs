//! What several tasks cost each other.

use core::time::Duration;

use crate::cases;
use crate::options::Contention;
use crate::rounds::{Judge, Patience, alternate};
use crate::runtime::Flavour;
use crate::script::{Kind, Slot};

/// How many tasks share what is measured.
pub(crate) const TASKS: [usize; 4] = [1, 2, 4, 8];

/// How long undisturbed rounds are waited for, of each case.
const PATIENCE: Duration = Duration::from_secs(10);

/// One case, measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) tasks: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) ratio_to_one: f64,
    pub(crate) undisturbed: usize,
    pub(crate) tried: usize,
}

pub(crate) fn measure(options: &Contention) -> Result<Vec<Row>, String> {
    let kind = Kind::Ready;
    let slots: &'static [Slot] = (0..8).map(|_| Slot::default()).collect::<Vec<_>>().leak();
    let runtime = Flavour::MultiThread.start()?;
    let guard = runtime.enter();
    let mut cases = cases::shared(kind);
    drop(guard);
    cases.retain(|case| options.wants(case.name));
    let judge = Judge::new();

    let patience = Patience {
        wanted: options.rounds,
        time: PATIENCE,
    };
    let bar = hedge_terminal::progress(cases.len() as u64);
    let mut rows = Vec::new();
    for case in &cases {
        bar.set_message(case.name);
        let rounds = alternate(&judge, TASKS.len(), patience, |cell| {
            let tasks = TASKS[cell];
            // As long for every number of tasks.
            let requests = options.requests / tasks as u32;
            Ok::<_, String>(case.tasks(&runtime, kind, &slots[..tasks], requests))
        })?;
        let medians = rounds.iter().map(|rounds| rounds.median(patience));
        let medians: Vec<f64> = medians.collect();
        for (cell, rounds) in rounds.iter().enumerate() {
            rows.push(Row {
                case: case.name,
                tasks: TASKS[cell],
                requests_per_second: medians[cell],
                ratio_to_one: medians[cell] / medians[0],
                undisturbed: rounds.undisturbed(),
                tried: rounds.tried(),
            });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}
