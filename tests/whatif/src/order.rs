//! In which order a trace's requests come, and how long their hedges take.

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::trace::Line;

/// How far from its primary's line a hedge's is drawn.
pub(crate) const NEARBY: usize = 50;

/// How long the hedge of a trace's request takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Draw {
    /// As another line within ±50 places: hedges are as slow as requests of that time.
    Nearby,
    /// As the second column says.
    Pair,
    /// As its primary: hedges never win.
    Same,
    /// As any line of the trace: hedges know nothing of slow times.
    Iid,
}

/// How a trace is played.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Order {
    /// Whether requests come in any order instead of the file's.
    pub(crate) shuffled: bool,
    pub(crate) draw: Draw,
}

impl Order {
    /// What is played unless told otherwise: the file's order, and hedges from its second column, else from nearby.
    pub(crate) fn of(lines: &[Line], shuffled: bool, draw: Option<Draw>) -> Result<Self, String> {
        let paired = is_paired(lines);
        if draw == Some(Draw::Pair) && !paired {
            return Err("`--draw pair` needs a second column of latencies".into());
        }
        let usual = if paired {
            Draw::Pair
        } else if shuffled {
            Draw::Iid
        } else {
            Draw::Nearby
        };
        Ok(Self {
            shuffled,
            draw: draw.unwrap_or(usual),
        })
    }

    /// The line of the `n`th request.
    pub(crate) fn line(self, n: u64, lines: &[Line], rng: &mut SmallRng) -> usize {
        if self.shuffled {
            rng.random_range(0..lines.len())
        } else {
            (n % lines.len() as u64) as usize
        }
    }

    /// How long a hedge takes of the request that is at `line`, in milliseconds.
    pub(crate) fn hedge(self, line: usize, lines: &[Line], rng: &mut SmallRng) -> f64 {
        let [first, second] = lines[line];
        let first = first.unwrap_or_default();
        match self.draw {
            Draw::Pair => second.unwrap_or(first),
            Draw::Same => first,
            Draw::Iid => lines[rng.random_range(0..lines.len())][0].unwrap_or_default(),
            Draw::Nearby => {
                let low = line.saturating_sub(NEARBY);
                let high = (line + NEARBY).min(lines.len() - 1);
                if low == high {
                    return first;
                }
                // Any but its own.
                let drawn = rng.random_range(low..high);
                let other = if drawn >= line { drawn + 1 } else { drawn };
                lines[other][0].unwrap_or_default()
            }
        }
    }

    /// For people.
    pub(crate) fn name(self) -> String {
        let order = if self.shuffled {
            "shuffled"
        } else {
            "in its order"
        };
        let hedges = match self.draw {
            Draw::Nearby => "hedges as another line within ±50 places",
            Draw::Pair => "hedges as the second column",
            Draw::Same => "hedges as their primaries",
            Draw::Iid => "hedges as any line",
        };
        format!("{order}, {hedges}")
    }
}

/// Whether every line has a second column.
pub(crate) fn is_paired(lines: &[Line]) -> bool {
    lines.iter().all(|[_, second]| second.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn lines(n: usize) -> Vec<Line> {
        (0..n).map(|i| [Some(i as f64), None]).collect()
    }

    #[test]
    fn a_nearby_hedge_is_another_line_within_fifty_places() {
        let lines = lines(1000);
        let order = Order::of(&lines, false, None).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        for line in [0, 10, 500, 995, 999] {
            let drawn: Vec<f64> = (0..2000)
                .map(|_| order.hedge(line, &lines, &mut rng))
                .collect();
            let own = line as f64;
            assert!(drawn.iter().all(|other| *other != own), "{line}");
            let (low, high) = ((own - 50.0).max(0.0), (own + 50.0).min(999.0));
            let least = drawn.iter().copied().fold(f64::MAX, f64::min);
            let most = drawn.iter().copied().fold(f64::MIN, f64::max);
            assert_eq!(
                (least, most),
                if line == 999 {
                    (low, 998.0)
                } else if line == 0 {
                    (1.0, high)
                } else {
                    (low, high)
                }
            );
        }
    }

    #[test]
    fn the_files_order_is_kept_unless_told_otherwise() {
        let lines = lines(300);
        let mut rng = SmallRng::seed_from_u64(1);
        let kept = Order::of(&lines, false, None).unwrap();
        assert!((0..600).all(|n| kept.line(n, &lines, &mut rng) == n as usize % 300));
        let shuffled = Order::of(&lines, true, None).unwrap();
        assert!((0..600).any(|n| shuffled.line(n, &lines, &mut rng) != n as usize % 300));
        assert_eq!(shuffled.draw, Draw::Iid);
    }

    #[test]
    fn pairs_need_a_second_column() {
        let single = lines(10);
        assert!(Order::of(&single, false, Some(Draw::Pair)).is_err());
        let paired = [[Some(1.0), Some(2.0)]];
        for shuffled in [false, true] {
            assert_eq!(Order::of(&paired, shuffled, None).unwrap().draw, Draw::Pair);
        }
    }

    #[test]
    fn a_trace_of_one_line_has_no_other() {
        let one = lines(1);
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(
            Order::of(&one, false, None)
                .unwrap()
                .hedge(0, &one, &mut rng),
            0.0
        );
    }
}
