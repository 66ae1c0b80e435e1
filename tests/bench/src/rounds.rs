//! Rounds that alternate between cases, and medians of those that nothing disturbed.
//!
//! Machines are shared. A round counts if, while it was timed, its thread did not wait for a processor (by the
//! kernel's account), and if a loop that does always the same took as long as it does at best before the round and
//! after it. Whatever else the machine does shows in one or the other: it takes the processor away, or it makes
//! it slower.

use core::hint::black_box;
use core::time::Duration;
use std::time::Instant;

/// A round in this much of its time waited, or more, is disturbed.
const MOST_WAITED: f64 = 0.01;
/// As is one beside which the loop took so many times as long as at best.
const MOST_SLOWED: f64 = 1.1;
/// How many rounds are tried for one that is wanted.
const MOST_TRIES: u32 = 6;

/// What a round measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) value: f64,
    pub(crate) took: Duration,
    /// How long it waited for a processor meanwhile. Absent if that is not known, or makes no difference.
    pub(crate) waited: Option<Duration>,
}

/// Tells disturbed rounds.
#[derive(Debug)]
pub(crate) struct Judge {
    best_pace: Duration,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let best_pace = (0..200).map(|_| pace()).min().unwrap_or_default();
        Self { best_pace }
    }

    /// Runs a round, and says what it measured and whether it ran as if alone.
    fn observe<E>(&self, round: impl FnOnce() -> Result<Round, E>) -> Result<(f64, bool), E> {
        let before = pace();
        let round = round()?;
        let paced = before.max(pace());
        Ok((round.value, self.is_undisturbed(&round, paced)))
    }

    /// `paced` is how long the loop took, before or after, whichever was longer.
    fn is_undisturbed(&self, round: &Round, paced: Duration) -> bool {
        let most = round.took.mul_f64(MOST_WAITED);
        round.waited.is_none_or(|waited| waited <= most)
            && paced <= self.best_pace.mul_f64(MOST_SLOWED)
    }
}

/// The time of a loop that does always the same, some microseconds.
fn pace() -> Duration {
    let start = Instant::now();
    let mut x = black_box(88172645463325252_u64);
    for _ in 0..4000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
    start.elapsed()
}

/// The values of the rounds of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    undisturbed: Vec<f64>,
    disturbed: Vec<f64>,
}

impl Rounds {
    pub(crate) fn add(&mut self, value: f64, undisturbed: bool) {
        if undisturbed {
            self.undisturbed.push(value);
        } else {
            self.disturbed.push(value);
        }
    }

    /// The median of the rounds that nothing disturbed; of all, if those are few.
    pub(crate) fn median(&self, patience: Patience) -> f64 {
        if self.suffice(patience) {
            return median(&self.undisturbed);
        }
        median(&[self.undisturbed.as_slice(), &self.disturbed].concat())
    }

    fn suffice(&self, patience: Patience) -> bool {
        self.undisturbed.len() >= patience.least().max(1) as usize
    }

    pub(crate) fn undisturbed(&self) -> usize {
        self.undisturbed.len()
    }

    pub(crate) fn tried(&self) -> usize {
        self.undisturbed.len() + self.disturbed.len()
    }
}

/// How many rounds are wanted, and for how long they are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) wanted: u32,
    pub(crate) time: Duration,
}

impl Patience {
    /// How many undisturbed rounds are enough for a median.
    pub(crate) const fn least(self) -> u32 {
        self.wanted / 3
    }
}

/// Runs rounds of `cells` in turn until each has as many as are wanted that nothing disturbed, or was tried often
/// enough, or the time is up.
///
/// # Errors
///
/// If a round fails.
pub(crate) fn alternate<E>(
    judge: &Judge,
    cells: usize,
    patience: Patience,
    mut round: impl FnMut(usize) -> Result<Round, E>,
) -> Result<Vec<Rounds>, E> {
    let wanted = patience.wanted as usize;
    let start = Instant::now();
    let mut rounds = vec![Rounds::default(); cells];
    for _ in 0..patience.wanted.saturating_mul(MOST_TRIES) {
        for (cell, rounds) in rounds.iter_mut().enumerate() {
            if rounds.undisturbed() < wanted {
                let (value, undisturbed) = judge.observe(|| round(cell))?;
                rounds.add(value, undisturbed);
            }
        }
        let enough = |rounds: &Rounds| rounds.undisturbed() >= wanted;
        if rounds.iter().all(enough) || start.elapsed() >= patience.time {
            break;
        }
    }
    let short = rounds.iter().filter(|rounds| !rounds.suffice(patience));
    let short = short.count();
    if short > 0 {
        eprintln!(
            "note: the machine is busy. {short} of {cells} medians are of disturbed rounds too, which makes them worse."
        );
    }
    Ok(rounds)
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        values if values.len() % 2 == 1 => values[middle],
        values => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests;
