//! What one request costs.

use core::time::Duration;

use crate::case::Case;
use crate::cases::{self, HAND_LEARNING};
use crate::options::Overhead;
use crate::rounds::{Judge, Patience, alternate};
use crate::runtime::Flavour;
use crate::script::{Kind, Slot};

/// How many requests wait for their hedges at the same time.
const TOGETHER: usize = 1024;

/// How long undisturbed rounds are waited for: for eight sorts of requests, four minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One case, measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) kind: Kind,
    pub(crate) flavour: Flavour,
    pub(crate) median_ns: f64,
    pub(crate) allocations: f64,
    pub(crate) ratio_to_hand_learning: f64,
    /// Rounds that nothing disturbed, and all.
    pub(crate) undisturbed: usize,
    pub(crate) tried: usize,
}

pub(crate) fn measure(options: &Overhead) -> Result<Vec<Row>, String> {
    let slots: &'static [Slot] = (0..TOGETHER)
        .map(|_| Slot::default())
        .collect::<Vec<_>>()
        .leak();
    let judge = Judge::new();
    let kinds = options.kinds();
    let flavours = options.flavours();
    let bar = hedge_terminal::progress((kinds.len() * flavours.len()) as u64);
    let mut rows = Vec::new();
    for flavour in flavours {
        for &kind in &kinds {
            bar.set_message(format!("{}, {}", flavour.name(), kind.name()));
            rows.extend(measure_kind(options, flavour, kind, slots, &judge)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn measure_kind(
    options: &Overhead,
    flavour: Flavour,
    kind: Kind,
    slots: &'static [Slot],
    judge: &Judge,
) -> Result<Vec<Row>, String> {
    let runtime = flavour.start()?;
    let guard = runtime.enter();
    let mut cases = cases::all(kind);
    drop(guard);
    cases.retain(|case| case.name == HAND_LEARNING || options.wants(case.name));

    // Tables grow, histograms are made, and code is read from disk.
    let warm = |case: &Case| case.round(&runtime, kind, slots, options.requests);
    cases.iter().try_for_each(|case| warm(case).map(drop))?;
    let counted = if kind.hedges() { 20 } else { 500 };
    let allocations = cases
        .iter()
        .map(|case| case.allocations(&runtime, kind, &slots[0], counted))
        .collect::<Result<Vec<_>, _>>()?;
    let patience = Patience {
        wanted: options.rounds,
        time: PATIENCE,
    };
    let rounds = alternate(judge, cases.len(), patience, |cell| {
        cases[cell].round(&runtime, kind, slots, options.requests)
    })?;

    let medians: Vec<f64> = rounds
        .iter()
        .map(|rounds| rounds.median(patience))
        .collect();
    let hand = cases.iter().position(|case| case.name == HAND_LEARNING);
    let hand = hand.map_or(f64::NAN, |hand| medians[hand]);
    let row = |cell: usize| Row {
        case: cases[cell].name,
        kind,
        flavour,
        median_ns: medians[cell],
        allocations: allocations[cell],
        ratio_to_hand_learning: medians[cell] / hand,
        undisturbed: rounds[cell].undisturbed(),
        tried: rounds[cell].tried(),
    };
    Ok((0..cases.len()).map(row).collect())
}
