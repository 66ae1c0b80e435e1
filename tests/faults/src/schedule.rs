//! A schedule: one hedger, some requests, and what befalls them, drawn from a seed.

use core::any::Any;
use core::future::Ready;
use core::ops::AddAssign;
use core::panic::AssertUnwindSafe;
use std::panic;

use hedge_conformance::{Home, Local, Threads};
use hedge_core::adapter::{Capacity, Max};
use hedge_core::metrics::Recorder;
use hedge_core::stream::FirstItem;
use hedge_core::{Builder, Hedger};

use crate::caller::{Ear, Mind};
use crate::draw;
use crate::fault::{Counts, Fault};
use crate::flow::Opens;
use crate::game::{Game, Rules};
use crate::halves::{Halves, Watched};
use crate::invariants::{Broken, Invariant};
use crate::trial::Trial;
use crate::world::World;

/// Plays schedules, one after the other.
pub struct Stage {
    world: World,
}

/// What was played.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How many schedules.
    pub schedules: u64,
    /// How many requests were made, how many attempts they started, and how often they were polled.
    pub requests: u64,
    /// See `requests`.
    pub attempts: u64,
    /// See `requests`.
    pub polls: u64,
    /// How many requests were won, failed, timed out, and were dropped.
    pub ends: [u64; 4],
    /// What went wrong, on purpose.
    pub faults: Counts,
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.polls += other.polls;
        for (mine, theirs) in self.ends.iter_mut().zip(other.ends) {
            *mine += theirs;
        }
        self.faults += &other.faults;
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

impl Stage {
    /// A stage on which nothing has been played.
    pub fn new() -> Self {
        Self {
            world: World::new(),
        }
    }

    /// Plays the schedule of `seed`.
    ///
    /// # Errors
    ///
    /// The first invariant that was broken.
    pub fn play(&mut self, seed: u64, tally: &mut Tally) -> Result<(), Broken> {
        let world = &self.world;
        world.begin(seed);
        // A panic that nobody caught is a bug, there or here.
        let played = panic::catch_unwind(AssertUnwindSafe(|| play(world, tally)));
        if let Err(payload) = played {
            world.broke(Invariant::NoPanicOfItsOwn, &message(&*payload));
        }
        tally.schedules += 1;
        tally.faults += &world.take_counts();
        let broken = world.take_broken();
        if broken.is_some() {
            // Whatever state that was left in.
            *self = Self::new();
        }
        broken.map_or(Ok(()), Err)
    }
}

pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

/// Picks the types of the hedger.
fn play(world: &World, tally: &mut Tally) {
    let builder = Hedger::builder(world)
        .strategy(Mind::draw(world))
        .sink(Ear::draw(world));
    match world.below(256) {
        // Seldom, for it asks the system how many processors there are, which takes long.
        0 => {
            // There the strategy hears later, and in the middle of what others do.
            world.forbid(Fault::PlanPanics);
            world.forbid(Fault::RecordPanics);
            // Deposits are handed on later, too.
            on::<Threads, _, 4>(world, builder.attempts(), false, tally);
        }
        1..12 => on::<Local, _, 1>(world, builder.attempts(), true, tally),
        12..44 => on::<Local, _, 2>(world, builder.attempts(), true, tally),
        44..60 => on::<Local, _, 8>(world, builder.attempts(), true, tally),
        60..120 => on::<Local, _, 4>(world, builder.attempts().without_metrics(), true, tally),
        _ => on::<Local, _, 4>(world, builder.attempts(), true, tally),
    }
}

fn on<'w, H: Home, M: Recorder, const MAX: usize>(
    world: &'w World,
    builder: Builder<&'w World, Mind<'w>, M, Ear<'w>, MAX>,
    watches: bool,
    tally: &mut Tally,
) where
    Max<MAX>:
        Capacity<Trial<'w>> + Capacity<FirstItem<Opens<'w>>> + Capacity<Ready<Result<(), ()>>>,
{
    let rules = Rules::draw::<M>(world, MAX as u8);
    world.journal().halves = watches.then(|| Halves::new(rules.limits));
    let built = builder
        .options(rules.options)
        .budget(rules.limits.budget())
        .cost_per_attempt(draw::COST)
        .build_with(H::ledger, |budget| Watched {
            world,
            budget: H::budget(budget),
        });
    match built {
        Ok(hedger) => Game::new(world, &hedger, rules).play(tally),
        Err(error) => world.broke(Invariant::TheHedgerIsUsable, &error),
    }
}
