//! What a simulation shows.

use super::scenario::{BAD, Millis, Phases};

/// A failure that comes sooner does not count as a latency.
const FAST_FAILURE: Millis = 100.0;

/// What happened in one simulation.
pub(crate) struct Log {
    phases: Phases,
    /// Of requests that began before, during and after the incident.
    before: Vec<Millis>,
    during: Vec<Millis>,
    after: Vec<Millis>,
    requests: u64,
    accepted: u64,
    attempts: u64,
    /// Primaries by bin and replica.
    primaries: Vec<Vec<u32>>,
    /// The latencies of each second, for a picture.
    seconds: Vec<Vec<Millis>>,
}

impl Log {
    pub(crate) fn new(phases: Phases, replicas: usize) -> Self {
        let bins = (phases.over / phases.bin) as usize + 1;
        Self {
            phases,
            before: Vec::new(),
            during: Vec::new(),
            after: Vec::new(),
            requests: 0,
            accepted: 0,
            attempts: 0,
            primaries: vec![vec![0; replicas]; bins],
            seconds: vec![Vec::new(); bins],
        }
    }

    pub(crate) fn sent(&mut self, replica: usize, hedge: bool, at: Millis) {
        self.attempts += u64::from(self.phases.incident(at));
        if !hedge && let Some(bin) = self.primaries.get_mut((at / self.phases.bin) as usize) {
            bin[replica] += 1;
        }
    }

    pub(crate) fn finished(&mut self, start: Millis, latency: Millis, accepted: bool) {
        let counts = accepted || latency > FAST_FAILURE;
        if let Some(bin) = self.seconds.get_mut((start / self.phases.bin) as usize) {
            bin.push(latency);
        }
        if self.phases.incident(start) {
            self.requests += 1;
            self.accepted += u64::from(accepted);
            if counts {
                self.during.push(latency);
            }
        } else if start >= self.phases.end {
            self.after.push(latency);
        } else if start >= self.phases.warm {
            self.before.push(latency);
        }
    }

    /// The primaries that each replica got in a span of time.
    fn share(&self, from: Millis, to: Millis) -> Vec<f64> {
        let bin = |at: Millis| (at / self.phases.bin) as usize;
        let mut counts = vec![0_u64; self.primaries[0].len()];
        for bin in &self.primaries[bin(from)..bin(to)] {
            for (count, more) in counts.iter_mut().zip(bin) {
                *count += u64::from(*more);
            }
        }
        let all: u64 = counts.iter().sum();
        counts
            .iter()
            .map(|count| *count as f64 / all.max(1) as f64)
            .collect()
    }

    /// How long after `from` the bad replica's share of the traffic first satisfies `is`, of its fair share.
    fn until(&self, from: Millis, is: impl Fn(f64) -> bool) -> Option<Millis> {
        let first = (from / self.phases.bin) as usize;
        let fair = 1.0 / self.primaries[0].len() as f64;
        let bins = self.primaries.iter().skip(first);
        let found = bins.enumerate().find(|(_, bin)| {
            let all: u32 = bin.iter().sum();
            all > 0 && is(f64::from(bin[BAD]) / f64::from(all) / fair)
        });
        found.map(|(bin, _)| bin as f64 * self.phases.bin)
    }

    /// What happened second by second, or bin by bin if these are longer.
    pub(super) fn timeline(&self) -> impl Iterator<Item = Second> {
        let bins = ((SECOND / self.phases.bin) as usize).max(1);
        let chunks = self.primaries.chunks(bins).zip(self.seconds.chunks(bins));
        chunks
            .enumerate()
            .map(move |(chunk, (primaries, latencies))| {
                let count =
                    |replica: usize| -> u32 { primaries.iter().map(|bin| bin[replica]).sum() };
                let replicas = primaries.first().map_or(0, Vec::len);
                let all: u32 = (0..replicas).map(count).sum();
                let share = |replica| f64::from(count(replica)) / f64::from(all);
                Second {
                    at: (chunk * bins) as f64 * self.phases.bin,
                    shares: (0..replicas).map(share).collect(),
                    p99: percentile(&mut latencies.concat(), 0.99),
                }
            })
    }
}

const SECOND: Millis = 1000.0;

/// A second of an incident.
pub(super) struct Second {
    /// When it began.
    pub(super) at: Millis,
    /// The share of the primaries that each replica got; not a number if there were none.
    pub(super) shares: Vec<f64>,
    /// Not a number if there was no request.
    pub(super) p99: Millis,
}

/// What several simulations of one setting show together.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) p50: Millis,
    pub(crate) p99: Millis,
    pub(crate) p999: Millis,
    pub(crate) after_p99: Millis,
    /// Hedges and retries for each request.
    pub(crate) extra: f64,
    pub(crate) goodput: f64,
    /// The share of the primaries that the bad replica got during the incident, and after its first quarter.
    pub(crate) bad_share: f64,
    pub(crate) bad_share_late: f64,
    /// When the bad replica's share fell under a quarter of what is fair, and when it was above half of that again.
    pub(crate) noticed: Millis,
    pub(crate) back: Millis,
    /// What the busiest replica got before the incident, over its fair share.
    pub(crate) busiest: f64,
    /// The share of each replica during the incident.
    pub(crate) shares: Vec<f64>,
}

impl Figures {
    pub(crate) fn of(logs: &[Log]) -> Self {
        let gather = |of: fn(&Log) -> &Vec<Millis>| -> Vec<Millis> {
            logs.iter().flat_map(of).copied().collect()
        };
        let sum = |of: fn(&Log) -> u64| logs.iter().map(of).sum::<u64>() as f64;
        let mean = |of: &dyn Fn(&Log) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
        let mut during = gather(|log| &log.during);
        let mut after = gather(|log| &log.after);
        let replicas = logs.first().map_or(0, |log| log.primaries[0].len());
        let shares = |log: &Log| log.share(log.phases.begin, log.phases.end);
        let late = |log: &Log| {
            let Phases { begin, end, .. } = log.phases;
            log.share(begin + (end - begin) / 4.0, end)[BAD]
        };
        let busiest = |log: &Log| {
            let shares = log.share(log.phases.warm, log.phases.begin);
            shares.into_iter().fold(0.0, f64::max) * replicas as f64
        };
        let never = |log: &Log| log.phases.over;
        Self {
            p50: percentile(&mut during, 0.5),
            p99: percentile(&mut during, 0.99),
            p999: percentile(&mut during, 0.999),
            after_p99: percentile(&mut after, 0.99),
            extra: sum(|log| log.attempts) / sum(|log| log.requests) - 1.0,
            goodput: sum(|log| log.accepted) / sum(|log| log.requests),
            bad_share: mean(&|log| shares(log)[BAD]),
            bad_share_late: mean(&late),
            noticed: mean(&|log| {
                let noticed = log.until(log.phases.begin, |share| share < 0.25);
                noticed.unwrap_or_else(|| never(log))
            }),
            back: mean(&|log| {
                let back = log.until(log.phases.end, |share| share > 0.5);
                back.unwrap_or_else(|| never(log))
            }),
            busiest: mean(&busiest),
            shares: (0..replicas)
                .map(|replica| mean(&|log| shares(log)[replica]))
                .collect(),
        }
    }
}

fn percentile(latencies: &mut [Millis], share: f64) -> Millis {
    latencies.sort_unstable_by(f64::total_cmp);
    let index = (share * latencies.len() as f64) as usize;
    let last = latencies.len().saturating_sub(1);
    latencies.get(index.min(last)).copied().unwrap_or(f64::NAN)
}
