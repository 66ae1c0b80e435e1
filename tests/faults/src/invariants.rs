//! What holds, whatever happens. This is the one place where it is written down.
//!
//! Each invariant has a name, by which a mutant in `mutants.toml` says what it breaks, and a sentence. The
//! rest of the package only finds out what happened and asks.

use std::fmt;

macro_rules! invariants {
    ($($(#[doc = $says:literal])+ $variant:ident = $name:literal,)*) => {
        /// What must not be broken.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Invariant {
            $($(#[doc = $says])+ $variant,)*
        }

        impl Invariant {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The one with this name.
            pub fn named(name: &str) -> Option<Self> {
                let mut all = Self::ALL.iter();
                all.find(|invariant| invariant.name() == name).copied()
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it says.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($says),+),)*
                }
            }
        }
    };
}

invariants! {
    /// Every attempt that was started is dropped exactly once: before its request gives its result, but for losers
    /// that are to be kept, or with its request.
    AttemptsAreDropped = "attempts-are-dropped",
    /// An attempt is not polled after it was ready, and a sleep is not polled after it ended.
    NothingIsPolledAfterItsEnd = "nothing-is-polled-after-its-end",
    /// Every result of an attempt is given to the caller or dropped, exactly once.
    ResultsAreDroppedOnce = "results-are-dropped-once",
    /// The poll in which a result is accepted gives that result; no other wins after it.
    NoAcceptedResultIsLost = "no-accepted-result-is-lost",
    /// A result that is refused ends a request only when no attempt is left, or if it is fatal.
    NoFailureBeatsAnAttempt = "no-failure-beats-an-attempt",
    /// The result of a request that failed is the earliest attempt's, or the fatal one; a timeout tells the
    /// earliest attempt's error.
    TheEarliestFailureIsTold = "the-earliest-failure-is-told",
    /// A request times out only if its time is limited, and not while a result waits that will do.
    OnlyLimitedRequestsTimeOut = "only-limited-requests-time-out",
    /// A request is pending only while an attempt runs or its alarm is set, for the waker that it was last
    /// polled with.
    NoWaitForNothing = "no-wait-for-nothing",
    /// A request that waits only for a hedge which its server put off has paid for that: no wait ends in a refusal that
    /// could have been known, or lasts longer than the request or than the options allow.
    NoWaitInVain = "no-wait-in-vain",
    /// As long as a request with a time limit is pending, its alarm is set, no later than the limit, or than that of its
    /// oldest attempt.
    TheTimeLimitIsWatched = "the-time-limit-is-watched",
    /// When clocks and timers are honest again and only those are polled that were woken, every request ends,
    /// but for those without a time limit whose attempts hang.
    RequestsEnd = "requests-end",
    /// A request has no more hedges than its options, its call and its type allow.
    NoMoreHedgesThanAllowed = "no-more-hedges-than-allowed",
    /// No attempt is started once a result has left the request to those that run, or has asked for more patience than the
    /// options allow.
    NothingStartsAfterAWait = "nothing-starts-after-a-wait",
    /// A primary is not launched once its request's deadline has passed.
    NothingIsSentTooLate = "nothing-is-sent-too-late",
    /// Values that were refused are dropped before the next attempt is launched, if the call wants that.
    RefusedValuesAreLetGo = "refused-values-are-let-go",
    /// Attempts are told their number in the order in which they start, and the primary is number 0.
    AttemptsAreNumbered = "attempts-are-numbered",
    /// No hedge is started that the budget's share and reserve do not pay for.
    TheBudgetIsKept = "the-budget-is-kept",
    /// Once a delay hedge was refused, half of what is deposited is kept from retries, until as much is deposited as the
    /// bucket holds: no delay hedge is refused for what they took.
    DelayHedgesKeepTheirHalf = "delay-hedges-keep-their-half",
    /// No more hedges run than `max_in_flight`, at the time one is started.
    NoMoreInFlightThanAllowed = "no-more-in-flight-than-allowed",
    /// The budget refuses only what it cannot pay for.
    NothingIsRefusedInVain = "nothing-is-refused-in-vain",
    /// Tokens are those at the start and of every request that deposits, less those of every hedge started and of those
    /// that wait to be, as far as the bucket holds them.
    TokensAddUp = "tokens-add-up",
    /// Hedges in flight are those that run or have paid for a wait, and none when all is over.
    InFlightIsWhatRuns = "in-flight-is-what-runs",
    /// Every request that was polled is counted once, as what it became: won, failed, timed out or dropped.
    RequestsAddUp = "requests-add-up",
    /// Hedges counted are hedges started, and so are hedged requests, hedges that won, and the cost.
    HedgesAddUp = "hedges-add-up",
    /// Every request is hedged or has one reason why not.
    ReasonsAddUp = "reasons-add-up",
    /// As many latencies are sampled as requests were won.
    LatenciesAddUp = "latencies-add-up",
    /// The events of a request come in their order: a start, each hedge, one end.
    EventsComeInOrder = "events-come-in-order",
    /// Events report as many hedges as were started, and as many ends as requests ended.
    EventsAddUp = "events-add-up",
    /// The outcome and the error say how many attempts were made, who won and what it cost.
    TheOutcomeIsTrue = "the-outcome-is-true",
    /// The strategy hears of every request that ended and teaches it something, once.
    TheStrategyHearsOfAll = "the-strategy-hears-of-all",
    /// No hedge of a request in the control group starts for slowness, and that one is withheld is reported once for each
    /// attempt that is started; no request is in that group that has such a hedge, or that probes a replica.
    TheControlGroupIsNotHedged = "the-control-group-is-not-hedged",
    /// A request is in one of the two groups if its first hedge for slowness could start while there was a control group, and
    /// else in none.
    GroupsAddUp = "groups-add-up",
    /// In flight at a replica are the attempts that were sent there and have not ended, and none when all is over; each
    /// end is reported once.
    ReplicasAreReleased = "replicas-are-released",
    /// No attempt goes to a replica that its request has used while there is another that is allowed, open, and not
    /// four times as slow.
    HedgesGoElsewhere = "hedges-go-elsewhere",
    /// When a request gives a stream, no other stream of it is open, but for losers that are to be kept.
    OtherStreamsAreDropped = "other-streams-are-dropped",
    /// The reader of a stream gets each item of the attempt that won, in order, the first included.
    ItemsComeInOrder = "items-come-in-order",
    /// A stream reports how it ended, once, and is closed then.
    StreamsReportTheirEnd = "streams-report-their-end",
    /// Nothing panics but the caller's code.
    NoPanicOfItsOwn = "no-panic-of-its-own",
    /// Whatever happened, the next request is answered.
    TheHedgerIsUsable = "the-hedger-is-usable",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, says) = (self.invariant.name(), self.invariant.says().trim());
        write!(f, "{name}: {says}\n    seen: {}", self.seen)
    }
}
