//! What happens to the replicas of a service.

use core::fmt;

/// Milliseconds since a simulation began.
pub(crate) type Millis = f64;

/// An incident, and the service that it happens to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing happens.
    Healthy,
    /// One replica works ten times slower for 20 s.
    Slow,
    /// One replica answers nothing for 20 s.
    Hang,
    /// One replica refuses every request at once for 20 s.
    FailFast,
    /// One replica fails half of its requests for 20 s.
    HalfFail,
    /// Each replica pauses for 300 ms every 10 s, one after the other.
    Pauses,
    /// Half of the replicas are 2 ms away, the others 30 ms.
    Zones,
    /// The replicas have 2, 4 and 8 workers.
    Capacity,
    /// One replica refuses for 1 s and then works five times slower for 5 s.
    Restart,
    /// All replicas work ten times slower for 20 s.
    AllSlow,
    /// All replicas fail 5 % of their requests for 20 s.
    AllFail,
    /// One request a second, and one replica works ten times slower for 1000 s.
    RareSlow,
    /// One request a second, and one replica answers nothing for 1000 s.
    RareHang,
    /// Another replica works ten times slower every 2 s.
    Wander,
}

/// When things happen. Nothing is looked at before `warm`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub(crate) warm: Millis,
    pub(crate) begin: Millis,
    pub(crate) end: Millis,
    pub(crate) over: Millis,
    /// How finely traffic is counted.
    pub(crate) bin: Millis,
}

impl Phases {
    /// Whether an incident is under way.
    pub(crate) fn incident(&self, at: Millis) -> bool {
        (self.begin..self.end).contains(&at)
    }
}

/// The replica that an incident happens to.
pub(crate) const BAD: usize = 0;

const PAUSE: Millis = 300.0;
const PAUSE_EVERY: Millis = 10_000.0;

impl Scenario {
    pub(crate) fn phases(self) -> Phases {
        let [warm, begin, end, over, bin] = if self.is_rare() {
            [200e3, 1200e3, 2200e3, 3200e3, 30e3]
        } else {
            [8e3, 24e3, 44e3, 64e3, 500.0]
        };
        Phases {
            warm,
            begin,
            end,
            over,
            bin,
        }
    }

    pub(crate) fn is_rare(self) -> bool {
        matches!(self, Self::RareSlow | Self::RareHang)
    }

    /// How many replicas there are at this load. One of three that is lost leaves too little for a load of 0.8.
    pub(crate) fn replicas(self, load: f64) -> usize {
        match self {
            _ if load > 0.7 => 8,
            Self::Zones => 4,
            _ => 3,
        }
    }

    /// What the load is multiplied by, so that the service can bear the incident.
    pub(crate) fn load_factor(self) -> f64 {
        if self == Self::AllSlow { 0.13 } else { 1.0 }
    }

    pub(crate) fn workers(self, replica: usize) -> usize {
        if self == Self::Capacity {
            2 << (replica % 3)
        } else {
            4
        }
    }

    /// The time on the network, there and back.
    pub(crate) fn round_trip(self, replica: usize, replicas: usize) -> Millis {
        match self {
            Self::Zones if replica < replicas / 2 => 2.0,
            Self::Zones => 30.0,
            _ => 1.0,
        }
    }

    /// How much slower a replica works.
    pub(crate) fn slowness(self, replica: usize, replicas: usize, at: Millis) -> f64 {
        let phases = self.phases();
        let since = at - phases.begin;
        match self {
            Self::Slow | Self::RareSlow if replica == BAD && phases.incident(at) => 10.0,
            Self::AllSlow if phases.incident(at) => 10.0,
            Self::Wander if phases.incident(at) && (since / 2e3) as usize % replicas == replica => {
                10.0
            }
            Self::Restart if replica == BAD && (1e3..6e3).contains(&since) => 5.0,
            _ => 1.0,
        }
    }

    /// Whether a replica answers nothing.
    pub(crate) fn hangs(self, replica: usize, at: Millis) -> bool {
        matches!(self, Self::Hang | Self::RareHang) && replica == BAD && self.phases().incident(at)
    }

    /// The share of the requests that a replica refuses.
    pub(crate) fn failing(self, replica: usize, at: Millis) -> f64 {
        let phases = self.phases();
        let (bad, incident) = (replica == BAD, phases.incident(at));
        match self {
            Self::FailFast if bad && incident => 1.0,
            Self::HalfFail if bad && incident => 0.5,
            Self::AllFail if incident => 0.05,
            Self::Restart if bad && (0.0..1e3).contains(&(at - phases.begin)) => 1.0,
            _ => 0.0,
        }
    }

    /// Whether somebody who knew would avoid a replica.
    pub(crate) fn is_bad(self, replica: usize, replicas: usize, at: Millis) -> bool {
        if matches!(self, Self::AllSlow | Self::AllFail) {
            return false;
        }
        self.hangs(replica, at)
            || self.failing(replica, at) > 0.0
            || self.slowness(replica, replicas, at) > 1.0
            || self.pause(replica, replicas, at).is_some()
    }

    /// When the pause ends that a replica makes at this time.
    fn pause(self, replica: usize, replicas: usize, at: Millis) -> Option<Millis> {
        if self != Self::Pauses {
            return None;
        }
        let into = into_period(replica, replicas, at);
        (into < PAUSE).then_some(at - into + PAUSE)
    }

    /// When `work` is done that a replica begins at `start`, pauses included.
    pub(crate) fn finish(
        self,
        replica: usize,
        replicas: usize,
        start: Millis,
        work: Millis,
    ) -> Millis {
        if self != Self::Pauses {
            return start + work;
        }
        let (mut at, mut left) = (start, work);
        loop {
            at = self.pause(replica, replicas, at).unwrap_or(at);
            let until_next = PAUSE_EVERY - into_period(replica, replicas, at);
            if left <= until_next {
                return at + left;
            }
            left -= until_next;
            // A little later, so that rounding does not leave it before the pause.
            at += until_next + 1e-6;
        }
    }
}

/// How far a replica is into its period of pauses.
fn into_period(replica: usize, replicas: usize, at: Millis) -> Millis {
    let first = replica as f64 * PAUSE_EVERY / replicas as f64;
    (at - first).rem_euclid(PAUSE_EVERY)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Slow => "one slow",
            Self::Hang => "one hangs",
            Self::FailFast => "one fails fast",
            Self::HalfFail => "one fails half",
            Self::Pauses => "pauses",
            Self::Zones => "zones",
            Self::Capacity => "capacity 1:2:4",
            Self::Restart => "restart",
            Self::AllSlow => "all slow",
            Self::AllFail => "all fail 5 %",
            Self::RareSlow => "1/s, one slow",
            Self::RareHang => "1/s, one hangs",
            Self::Wander => "slowness wanders",
        })
    }
}
