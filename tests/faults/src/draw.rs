//! Options, drawn at random. All of them can be right.

use core::time::Duration;

use hedge_core::{Instant, Options};

use crate::clock::{self, TICK};
use crate::journal::Wants;
use crate::world::World;

/// What an attempt costs. A power of two, so that sums are exact.
pub(crate) const COST: f64 = 0.25;

pub(crate) const fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * TICK)
}

/// Options of a hedger with room for so many attempts.
pub(crate) fn options(world: &World, room: u8) -> Options {
    let mut options = Options::default();
    options.enabled = world.below(16) > 0;
    options.observe_only = world.below(16) == 0;
    let hedges = room.saturating_sub(1).max(1);
    options.max_hedges = 1 + world.below(hedges.into()) as u8;
    options.timeout = match world.below(4) {
        0 => None,
        1 => Some(world.pick(&[Duration::from_nanos(1), Duration::MAX, ticks(100_000)])),
        _ => Some(ticks(1 + world.below(80))),
    };
    options.attempt_timeout = match world.below(8) {
        0 => Some(world.pick(&[Duration::from_nanos(1), Duration::MAX, ticks(100_000)])),
        1 | 2 => Some(ticks(1 + world.below(40))),
        _ => None,
    };
    options.max_pushback = (world.below(4) == 0).then(|| ticks(world.below(30)));
    options.enable_cancellation = world.below(3) > 0;
    options.holdback_percent = world.pick(&[0.0, 0.0, 0.0, 20.0, 50.0]);
    options.guard = world.pick(&[None, Some(false), Some(true)]);
    if world.below(4) == 0 {
        options.min_delay = ticks(world.below(5));
        options.max_delay = Some(options.min_delay + ticks(1 + world.below(10)));
    }
    options
}

/// What a call wants besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) unhedged: bool,
    pub(crate) max_hedges: Option<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) keeps: bool,
    pub(crate) keeps_refused: bool,
    pub(crate) teaches: Option<bool>,
    pub(crate) deposits: Option<bool>,
}

impl Wish {
    pub(crate) fn draw(world: &World) -> Self {
        let plain = world.any() & 1 == 0;
        let seldom = |odds| !plain && world.below(odds) == 0;
        Self {
            unhedged: seldom(12),
            max_hedges: seldom(4).then(|| world.below(4) as u8),
            timeout: seldom(3).then(|| ticks(world.below(40))),
            deadline: seldom(6).then(|| {
                let now = world.clock.now();
                clock::instant(now.saturating_add(TICK * world.below(40)))
            }),
            keeps: seldom(4),
            keeps_refused: !seldom(3),
            teaches: seldom(8).then(|| world.any() & 1 == 0),
            deposits: seldom(8).then(|| world.any() & 1 == 0),
        }
    }

    /// What that is, together with the options in force.
    pub(crate) fn wants(&self, options: &Options, room: u8) -> Wants {
        let may_hedge = !self.unhedged && self.max_hedges != Some(0);
        let limited = may_hedge && options.enabled && options.timeout.is_some_and(is_limit);
        let end = self.deadline.unwrap_or(Instant::MAX);
        let by_call = self.timeout.is_some() || end < Instant::MAX;
        Wants {
            call_hedges: if self.unhedged {
                0
            } else {
                self.max_hedges.unwrap_or(u8::MAX).min(room - 1)
            },
            option_hedges: options.max_hedges,
            call_limit: self.timeout.map(|timeout| timeout.as_nanos() as u64),
            limited_by_call: by_call,
            deadline: end,
            may_hedge,
            limited,
            expiry: expiry(options).filter(|_| may_hedge),
            least_expiry: expiry(options).filter(|_| may_hedge),
            max_pushback: max_pushback(options),
            keeps_refused: self.keeps_refused,
            ever_limited: limited || by_call,
            call_keeps: self.keeps,
            teaches: self.teaches.unwrap_or(may_hedge),
            deposits: self.deposits.unwrap_or(may_hedge),
            ever_keeps: self.keeps || !options.enable_cancellation,
        }
    }
}

/// How long an attempt may last, in nanoseconds.
pub(crate) fn expiry(options: &Options) -> Option<u64> {
    let limit = options.attempt_timeout.filter(|limit| is_limit(*limit))?;
    options.enabled.then_some(limit.as_nanos() as u64)
}

/// How long a request waits for a hedge that its server puts off, in nanoseconds.
pub(crate) fn max_pushback(options: &Options) -> u64 {
    let most = options.max_pushback.filter(|most| is_limit(*most));
    most.map_or(u64::MAX, |most| most.as_nanos() as u64)
}

/// Whether a timeout is one: 584 years are not.
pub(crate) fn is_limit(timeout: Duration) -> bool {
    timeout.as_nanos() < u128::from(u64::MAX)
}
