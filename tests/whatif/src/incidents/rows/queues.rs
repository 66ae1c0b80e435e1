//! Queues, where hedges make others wait, and brown-outs.

use hedge_core::strategy::{Off, Percentile};

use super::super::verdict::{As, Figure, Row};
use super::{Group, mean_of, worst_of};
use crate::lab::percentile;
use crate::overload;
use crate::queue::Queues;
use crate::seeds::Seeds;
use crate::table::{guards, limits};

pub(super) const GROUPS: &[Group] = &[
    ("queue_shared", shared),
    ("queue_separate", separate),
    ("correlated", correlated),
    ("brownout", brownout),
];

/// How many seeds, unless told otherwise: a queue is a matter of chance.
const SEEDS: u64 = 100;

/// P99 over unhedged, for each seed in order of size.
fn ratios(seeds: Seeds, queues: Queues, load: f64) -> Result<Vec<f64>, String> {
    let mut ratios = seeds.or(SEEDS).each(|seed| {
        let off = guards::p99(Off, false, queues, load, seed)?;
        Ok(guards::p99(Percentile::new(95.0), true, queues, load, seed)? / off)
    })?;
    ratios.sort_by(f64::total_cmp);
    Ok(ratios)
}

fn shared(seeds: Seeds) -> Result<Vec<Row>, String> {
    let over = |ratios: &[f64], most| {
        let mean = mean_of(ratios, |ratio| *ratio);
        Figure::at_most("P99 ÷ unhedged, mean", As::Number(3), mean, most)
    };
    let (calm, busy) = (
        ratios(seeds, Queues::One, 0.7)?,
        ratios(seeds, Queues::One, 0.9)?,
    );
    let tail = percentile(&busy, 95.0);
    Ok(vec![
        Row::new("queue_shared_0.7", vec![over(&calm, 1.01)]),
        Row::new(
            "queue_shared_0.9",
            vec![
                over(&busy, 1.03),
                Figure::at_most(
                    &format!("95th percentile of {} seeds", busy.len()),
                    As::Number(3),
                    tail,
                    1.10,
                ),
            ],
        ),
    ])
}

fn separate(seeds: Seeds) -> Result<Vec<Row>, String> {
    let ratios = ratios(seeds, Queues::Each, 0.9)?;
    let mean = mean_of(&ratios, |ratio| *ratio);
    let figure = Figure::at_most("P99 ÷ unhedged, mean", As::Number(3), mean, 0.80);
    Ok(vec![Row::new("queue_separate_0.9", vec![figure])])
}

fn correlated(seeds: Seeds) -> Result<Vec<Row>, String> {
    let shares = limits::hedged_in_vain(seeds)?;
    let beside = format!("worst seed {:.2} %", worst_of(&shares, |share| *share));
    let mean = mean_of(&shares, |share| *share) / 100.0;
    let figure = Figure::at_most("hedged after 5000", As::Percent, mean, 0.003);
    Ok(vec![Row::new(
        "correlated_0.9",
        vec![figure.beside(&beside)],
    )])
}

fn brownout(seeds: Seeds) -> Result<Vec<Row>, String> {
    let back = overload::comeback(0.9, seeds.or(SEEDS))?;
    let beside = format!("{:.1} s, unhedged {:.1} s", back.percentile, back.off);
    let answer = if back.no_worse { "yes" } else { "no" };
    Ok(vec![
        Row::new(
            "brownout_percentile",
            vec![
                Figure::said(
                    "no worse than unhedged:",
                    "yes",
                    answer.into(),
                    back.no_worse,
                )
                .beside(&beside),
            ],
        ),
        Row::new(
            "brownout_fixed",
            vec![Figure::at_most(
                "recovery ÷ unhedged",
                As::Number(2),
                back.fixed / back.off,
                overload::FIXED_RECOVERY,
            )],
        ),
    ])
}
