//! Servers with queues: where a hedge makes others wait.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use hedge_core::adapter::RequestEnd;
use hedge_core::strategy::Strategy;
use hedge_core::{Instant, Outcome, Verdict};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp};

use crate::engine::{Ask, Ended, Lab, Running, ms};
use crate::workload::Model;

const SERVERS: usize = 8;

/// How requests find a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Queues {
    /// All servers take from one queue: a hedge waits behind everybody else.
    One,
    /// Every server has its own, and every attempt draws one: a hedge may find a shorter queue.
    Each,
}

/// What requests are sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) queues: Queues,
    /// The work that arrives over the work that the servers can do, hedges apart.
    pub(crate) load: f64,
    /// What service times are multiplied by.
    pub(crate) scale: f64,
    pub(crate) brownout: Option<Brownout>,
}

impl Backend {
    pub(crate) fn new(queues: Queues, load: f64) -> Self {
        Self {
            queues,
            load,
            scale: 1.0,
            brownout: None,
        }
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        // The mean of the model, not of what was drawn: LN(m, σ) has the mean m exp(σ² / 2).
        let mean = 0.965 * 117.0 * (0.55_f64 * 0.55 / 2.0).exp()
            + 0.035 * 1000.0 * (0.3_f64 * 0.3 / 2.0).exp();
        1e3 * self.load * SERVERS as f64 / (mean * self.scale)
    }
}

/// A time in which whatever starts is slower by a factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brownout {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) factor: f64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) start: Instant,
    /// In milliseconds.
    pub(crate) latency: f64,
    /// Whether there was an answer before the time was up.
    pub(crate) answered: bool,
    pub(crate) outcome: Outcome,
}

/// A request under way.
struct Request<'h, S: Strategy, const MAX: usize> {
    running: Running<'h, S, MAX>,
    start: Instant,
    service: Duration,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    /// An attempt of a request leaves a server.
    Served {
        request: usize,
        attempt: u8,
        server: usize,
    },
    /// A hedge may be due.
    Due {
        request: usize,
    },
    Arrival {
        request: usize,
    },
    /// A request's time is up.
    Deadline {
        request: usize,
    },
}

/// Runs `requests` through 8 servers, in the order of their arrival. Attempts of a request take the same service
/// time; when it is answered or its time is up, those that still queue leave and those that run finish in vain.
pub(crate) fn run<S: Strategy, const MAX: usize>(
    hedger: &Lab<S, MAX>,
    backend: &Backend,
    requests: usize,
    seed: u64,
) -> Vec<Done> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let services: Vec<f64> = (0..requests)
        .map(|_| backend.scale * Model::Lognormal.draw(&mut rng)[0])
        .collect();
    let gaps = Exp::new(backend.rate() / 1e3).ok();
    let mut sim = Simulation::<S, MAX> {
        hedger,
        backend,
        rng: SmallRng::seed_from_u64(!seed),
        services,
        requests: (0..requests).map(|_| None).collect(),
        waiting: (0..SERVERS).map(|_| VecDeque::new()).collect(),
        busy: [false; SERVERS],
        events: BinaryHeap::new(),
        done: vec![None; requests],
    };
    let mut now = Instant::ZERO;
    for request in 0..requests {
        let gap = gaps.map_or(0.0, |gaps| gaps.sample(&mut rng));
        now = now + ms(gap);
        sim.events.push(Reverse((now, Event::Arrival { request })));
    }
    while let Some(Reverse((now, event))) = sim.events.pop() {
        sim.step(now, event);
    }
    sim.done.into_iter().flatten().collect()
}

struct Simulation<'h, S: Strategy, const MAX: usize> {
    hedger: &'h Lab<S, MAX>,
    backend: &'h Backend,
    rng: SmallRng,
    services: Vec<f64>,
    requests: Vec<Option<Request<'h, S, MAX>>>,
    waiting: Vec<VecDeque<(usize, u8)>>,
    busy: [bool; SERVERS],
    events: BinaryHeap<Reverse<(Instant, Event)>>,
    done: Vec<Option<Done>>,
}

impl<S: Strategy, const MAX: usize> Simulation<'_, S, MAX> {
    fn step(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrival { request } => {
                let running = Running::start(self.hedger, &Ask::PLAIN, now);
                let deadline = running.deadline();
                if deadline < Instant::MAX {
                    let event = Event::Deadline { request };
                    self.events.push(Reverse((deadline, event)));
                }
                let service = ms(self.services[request]);
                self.requests[request] = Some(Request {
                    running,
                    start: now,
                    service,
                });
                self.enqueue(request, 0, now);
                self.watch(request);
            }
            Event::Due { request } => {
                if let Some(under_way) = &mut self.requests[request] {
                    if let Some(attempt) = under_way.running.admit(now) {
                        self.enqueue(request, attempt.index() as u8, now);
                    }
                    self.watch(request);
                }
            }
            Event::Served {
                request,
                attempt,
                server,
            } => {
                self.busy[server] = false;
                if let Some(under_way) = &mut self.requests[request] {
                    let attempt = attempt.into();
                    let how = under_way.running.finished(attempt, Verdict::Accept, now);
                    if let Some(how) = how {
                        self.settle(request, how, now);
                    }
                }
                self.serve(server, now);
            }
            Event::Deadline { request } => self.settle(request, RequestEnd::TimedOut, now),
        }
    }

    fn settle(&mut self, request: usize, how: RequestEnd, now: Instant) {
        if let Some(under_way) = self.requests[request].take() {
            let (ended, outcome) = under_way.running.settle(how, now);
            self.done[request] = Some(Done {
                start: under_way.start,
                latency: now.since(under_way.start).as_secs_f64() * 1e3,
                answered: ended == Ended::Answered,
                outcome,
            });
        }
    }

    /// Asks when the request's next hedge is due.
    fn watch(&mut self, request: usize) {
        if let Some(under_way) = &mut self.requests[request]
            && let Some(due) = under_way.running.due()
        {
            self.events.push(Reverse((due, Event::Due { request })));
        }
    }

    fn enqueue(&mut self, request: usize, attempt: u8, now: Instant) {
        match self.backend.queues {
            Queues::One => {
                self.waiting[0].push_back((request, attempt));
                if let Some(server) = self.busy.iter().position(|busy| !busy) {
                    self.serve(server, now);
                }
            }
            Queues::Each => {
                let server = self.rng.random_range(0..SERVERS);
                self.waiting[server].push_back((request, attempt));
                if !self.busy[server] {
                    self.serve(server, now);
                }
            }
        }
    }

    /// The server takes the next attempt whose request has not been answered.
    fn serve(&mut self, server: usize, now: Instant) {
        let queue = if self.backend.queues == Queues::One {
            0
        } else {
            server
        };
        while let Some((request, attempt)) = self.waiting[queue].pop_front() {
            if let Some(under_way) = &self.requests[request] {
                self.busy[server] = true;
                let slower = match &self.backend.brownout {
                    Some(brownout) if (brownout.from..brownout.to).contains(&now) => {
                        brownout.factor
                    }
                    _ => 1.0,
                };
                let end = now + under_way.service.mul_f64(slower);
                self.events.push(Reverse((
                    end,
                    Event::Served {
                        request,
                        attempt,
                        server,
                    },
                )));
                return;
            }
        }
    }
}
