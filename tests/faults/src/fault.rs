//! What the adversary can do.

use core::ops::AddAssign;

macro_rules! faults {
    ($($group:literal: { $($(#[doc = $says:literal])+ $variant:ident,)* })*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Fault {
            $($($(#[doc = $says])+ $variant,)*)*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// Whose fault it is.
            pub const fn group(self) -> &'static str {
                match self {
                    $($(Self::$variant => $group,)*)*
                }
            }

            /// What happens.
            pub const fn says(self) -> &'static str {
                match self {
                    $($(Self::$variant => concat!($($says),+),)*)*
                }
            }
        }
    };
}

faults! {
    "attempts": {
        /// hangs, until somebody wakes it
        Hangs,
        /// never wakes
        NeverWakes,
        /// wakes for nothing
        WakesForNothing,
        /// computes for long in one poll
        Computes,
        /// answers in the poll that starts it
        AnswersAtOnce,
        /// fails
        Fails,
        /// asks for patience
        AsksForPatience,
        /// fails, and leaves it to the others that run
        LeavesItToOthers,
        /// fails fatally
        FailsFatally,
        /// panics when polled
        PanicsInPoll,
        /// panics when dropped
        PanicsInDrop,
    }
    "timers": {
        /// end early
        Early,
        /// wake late
        Late,
        /// wake twice
        Twice,
        /// wake when it is not time
        Spurious,
        /// are pending when it is time
        Reluctant,
    }
    "clock": {
        /// stands still
        StandsStill,
        /// leaps far ahead
        Leaps,
        /// reaches its end
        Ends,
        /// steps back
        StepsBack,
    }
    "callers": {
        /// drop a request that was not polled
        DropsFresh,
        /// drop a request on its way
        DropsRunning,
        /// drop a request in the middle of the poll of another
        DropsInPoll,
        /// drop losers that were kept
        DropsLosers,
        /// poll though nobody woke
        PollsUnasked,
        /// poll with another waker
        ChangesWaker,
        /// poll after the answer
        PollsAfterTheEnd,
        /// poll after a panic
        PollsAfterPanic,
        /// change options of a working hedger
        ChangesOptions,
        /// change the budget of a working hedger
        ChangesBudget,
        /// change the strategy of a working hedger
        ChangesStrategy,
        /// read metrics in the middle of a poll
        ReadsInPoll,
    }
    "streams": {
        /// open late
        OpensLate,
        /// fail to open
        FailsToOpen,
        /// end without an item
        EndsAtOnce,
        /// stall after their first item
        Stalls,
        /// panic while they are read
        PanicsInStream,
        /// are dropped while they are read
        DropsStream,
    }
    "replicas": {
        /// are added
        AddsReplica,
        /// are removed
        RemovesReplica,
        /// are drained
        DrainsReplica,
        /// are resumed
        ResumesReplica,
        /// are on hold
        HoldsReplica,
        /// hear late that an attempt has ended
        ReportsLate,
    }
    "code of the caller's": {
        /// the closure that starts attempts panics
        LaunchPanics,
        /// the classifier panics
        ClassifierPanics,
        /// the sink panics
        SinkPanics,
        /// the strategy panics while it plans
        PlanPanics,
        /// the strategy panics while it learns
        RecordPanics,
        /// the strategy plans nonsense
        PlansNonsense,
    }
}

impl Fault {
    /// A bit for each kind that is a panic.
    pub(crate) const PANICS: u64 = 1 << Self::PanicsInPoll as u64
        | 1 << Self::PanicsInDrop as u64
        | 1 << Self::LaunchPanics as u64
        | 1 << Self::ClassifierPanics as u64
        | 1 << Self::SinkPanics as u64
        | 1 << Self::PlanPanics as u64
        | 1 << Self::RecordPanics as u64
        | 1 << Self::PanicsInStream as u64;
}

/// How often each kind happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Counts {
    /// It happened.
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often it happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// How often any did.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
