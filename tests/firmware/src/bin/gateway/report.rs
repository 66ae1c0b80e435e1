//! How long polls took.

use core::cell::RefCell;

use cortex_m_semihosting::hprintln;
use embassy_time::{Duration, Instant, Timer};
#[cfg(feature = "fading")]
use futures_lite::future::zip;
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

/// How often a gateway polls the hub in a run: each sensor every 30 ms, for a minute.
pub const POLLS: usize = AT_ONCE * 2000;
/// How many sensors are polled at a time.
const AT_ONCE: usize = if cfg!(feature = "fading") { 4 } else { 1 };
const EVERY: Duration = Duration::from_millis(30);

impl Run {
    /// Polls with `poll` over `links`.
    pub async fn of(
        links: &[Link; 2],
        poll: impl AsyncFn(&[Link; 2], u16) -> Result<Reading, Damaged>,
    ) -> Self {
        let frames = || links.iter().map(Link::frames).sum::<u32>();
        let run = RefCell::new(Self {
            latencies: Vec::new(),
            failed: 0,
            frames: frames(),
        });
        let poller = async |first: usize| {
            let mut due = Instant::now();
            for sensor in (first..POLLS).step_by(AT_ONCE) {
                Timer::at(due).await;
                due += EVERY;
                let (sensor, start) = (sensor as u16, Instant::now());
                let polled = poll(links, sensor).await;
                let mut run = run.borrow_mut();
                match polled {
                    Ok(reading) => {
                        assert_eq!(reading, Reading::of(sensor));
                        let millis = start.elapsed().as_millis() as u16;
                        // There is room for every poll.
                        let _ = run.latencies.push(millis);
                    }
                    Err(Damaged) => run.failed += 1,
                }
            }
        };
        #[cfg(feature = "fading")]
        zip(zip(poller(0), poller(1)), zip(poller(2), poller(3))).await;
        #[cfg(not(feature = "fading"))]
        poller(0).await;
        let mut run = run.into_inner();
        run.latencies.sort_unstable();
        run.frames = frames() - run.frames;
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
    /// How many bytes of RAM the choice of links takes.
    #[cfg(feature = "fading")]
    pub replicas: usize,
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
            "the hedger takes at most 976 bytes of RAM",
            costs.hedger <= 976,
        ),
    ]
    .iter()
    .all(|ok| *ok)
}

/// Says what became of the polls while the first link faded and `after`, and whether that is what we promise.
#[cfg(feature = "fading")]
pub fn compare_fading(before: &Run, fading: &Run, after: &Run, costs: &Costs) -> bool {
    let p99 = |run: &Run| u32::from(run.percentile(99)).max(1);
    let [faded, recovered] = [fading, after].map(|run| 100 * p99(run) / p99(before));
    let extra = 1000 * fading.frames.saturating_sub(POLLS as u32) / POLLS as u32;
    hprintln!(
        "\nP99 while a link fades: {} % of that before, {} % afterwards",
        faded,
        recovered
    );
    hprintln!("RAM: {} bytes for the choice of links\n", costs.replicas);
    [
        check("P99 is at most 130 % while a link fades", faded <= 130),
        check("and 130 % afterwards", recovered <= 130),
        check("at most 10.5 % more frames meanwhile", extra <= 105),
        check("no hedge is left in flight", costs.in_flight == 0),
        check(
            "the choice of links takes at most 72 bytes of RAM",
            costs.replicas <= 72,
        ),
    ]
    .iter()
    .all(|ok| *ok)
}

fn check(what: &str, ok: bool) -> bool {
    hprintln!("{}: {}", if ok { "ok" } else { "FAILED" }, what);
    ok
}
