//! How long polls took.

use cortex_m_semihosting::hprintln;
use embassy_time::Instant;
use heapless::Vec;

use crate::link::{Damaged, Link, Reading};

/// What a gateway's polls took.
pub struct Run {
    /// Of the polls that were answered, in ms, ascending.
    latencies: Vec<u16, POLLS>,
    /// How many polls no link answered.
    pub failed: u32,
    /// How many frames the hub saw.
    pub frames: u32,
}

/// How often a gateway polls the hub.
pub const POLLS: usize = 2000;

impl Run {
    /// Polls with `poll`, one poll after another, over links that are the same for every run.
    pub async fn of(poll: impl AsyncFn(&[Link; 2], u16) -> Result<Reading, Damaged>) -> Self {
        let links = [Link::new(1), Link::new(2)];
        let mut run = Self {
            latencies: Vec::new(),
            failed: 0,
            frames: 0,
        };
        for sensor in 0..POLLS as u16 {
            let start = Instant::now();
            match poll(&links, sensor).await {
                Ok(reading) => {
                    assert_eq!(reading, Reading::of(sensor));
                    let millis = start.elapsed().as_millis() as u16;
                    // There is room for every poll.
                    let _ = run.latencies.push(millis);
                }
                Err(Damaged) => run.failed += 1,
            }
        }
        run.latencies.sort_unstable();
        run.frames = links.iter().map(Link::frames).sum();
        run
    }

    /// The latency, in ms, that so many percent of the polls do not exceed.
    pub fn percentile(&self, percent: usize) -> u16 {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        let place = rank.saturating_sub(1);
        self.latencies.get(place).copied().unwrap_or(0)
    }

    /// A line of the table.
    pub fn print(&self, name: &str) {
        let [p50, p95, p99] = [50, 95, 99].map(|percent| self.percentile(percent));
        hprintln!(
            "{:<8}{:>6}{:>7}{:>7}{:>9}{:>9}",
            name,
            p50,
            p95,
            p99,
            self.failed,
            self.frames
        );
    }
}

/// What hedging took.
#[derive(Default)]
pub struct Costs {
    /// How many of the polls were hedged.
    pub hedged: u32,
    /// How many a hedge answered.
    pub won: u32,
    /// How many hedges are running.
    pub in_flight: u32,
    /// How many bytes of RAM the hedger takes.
    pub hedger: usize,
    /// How many bytes of RAM a request takes, two attempts included.
    pub request: usize,
}

/// Says what hedging did, and whether that is what we promise.
pub fn compare(plain: &Run, hedged: &Run, costs: &Costs) -> bool {
    let p99 = |run: &Run| u32::from(run.percentile(99)).max(1);
    let cut = 100_u32.saturating_sub(100 * p99(hedged) / p99(plain));
    // Of the polls: not of the frames, some of which were sent for a damaged one.
    let per_mille = |count: u32| 1000 * count / POLLS as u32;
    let extra = per_mille(hedged.frames.saturating_sub(POLLS as u32));
    let rate = per_mille(costs.hedged);
    let wins = 100 * costs.won / costs.hedged.max(1);

    hprintln!(
        "\nP99 {} % shorter, for {}.{} % more frames",
        cut,
        extra / 10,
        extra % 10
    );
    hprintln!(
        "{}.{} % of the polls hedged, {} % of the hedges won",
        rate / 10,
        rate % 10,
        wins
    );
    hprintln!(
        "RAM: {} bytes for the hedger, {} for a request\n",
        costs.hedger,
        costs.request
    );
    [
        check("P99 is shorter by half or more", cut >= 50),
        check("at most 10.5 % more frames", extra <= 105),
        check("hedges won", costs.won > 0),
        check("no hedge is left in flight", costs.in_flight == 0),
        check(
            "the hedger takes at most 1 KiB of RAM",
            costs.hedger <= 1024,
        ),
    ]
    .iter()
    .all(|ok| *ok)
}

fn check(what: &str, ok: bool) -> bool {
    hprintln!("{}: {}", if ok { "ok" } else { "FAILED" }, what);
    ok
}
