//! Clients, replicas with queues and workers, and a network between them: a discrete-event simulation.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use hedge_core::Instant;
use hedge_core::replicas::AttemptEnd;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};

use super::chooser::{Options, Pick, Rule};
use super::client::Client;
use super::figures::Log;
use super::scenario::{Millis, Scenario};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) scenario: Scenario,
    pub(crate) rule: Rule,
    pub(crate) clients: usize,
    pub(crate) replicas: usize,
    /// The work that arrives over the work that all replicas can do.
    pub(crate) load: f64,
    pub(crate) seed: u64,
}

/// A client gives an attempt up after so long.
const TIMEOUT: Millis = 2000.0;
/// A refusal takes a replica so long.
const REFUSAL: Millis = 0.5;

/// Work takes LN(10 ms, 0.5), and one piece in a hundred eight times that.
const WORK: Millis = 10.0;
const SIGMA: f64 = 0.5;
const LONG_SHARE: f64 = 0.01;
const LONG_FACTOR: f64 = 8.0;

fn mean_work() -> Millis {
    WORK * libm::exp(SIGMA * SIGMA / 2.0) * (1.0 + LONG_SHARE * (LONG_FACTOR - 1.0))
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    /// A client makes a request.
    Request { client: usize },
    /// An attempt reaches its replica.
    Arrival { attempt: usize },
    /// A worker is done with an attempt.
    Done { attempt: usize },
    /// The answer reaches the client.
    Answer { attempt: usize, accepted: bool },
    /// A hedge is due.
    Due { request: usize },
    /// The client gives up.
    Timeout { attempt: usize },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// On its way to the replica.
    Sent,
    Queued,
    Running,
    /// On its way back, or lost.
    Served,
    Over,
}

struct Attempt {
    request: usize,
    pick: Pick,
    start: Millis,
    stage: Stage,
}

struct Request {
    client: usize,
    start: Millis,
    done: bool,
    attempts: Vec<usize>,
    live: usize,
}

struct Replica {
    waiting: VecDeque<usize>,
    busy: usize,
    workers: usize,
}

struct Simulation {
    setting: Setting,
    clients: Vec<Client>,
    replicas: Vec<Replica>,
    requests: Vec<Request>,
    attempts: Vec<Attempt>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    arrivals: SmallRng,
    service: SmallRng,
    log: Log,
}

/// Runs one simulation.
pub(crate) fn run(setting: Setting) -> Log {
    let scenario = setting.scenario;
    let replicas: Vec<Replica> = (0..setting.replicas)
        .map(|replica| Replica {
            waiting: VecDeque::new(),
            busy: 0,
            workers: scenario.workers(replica),
        })
        .collect();
    let workers: usize = replicas.iter().map(|replica| replica.workers).sum();
    let rate = if scenario.is_rare() {
        0.001
    } else {
        setting.load * scenario.load_factor() * workers as f64 / mean_work()
    };
    let mut simulation = Simulation {
        setting,
        clients: (0..setting.clients)
            .map(|client| {
                let seed = setting.seed.wrapping_mul(1000).wrapping_add(client as u64);
                Client::new(setting.rule, setting.replicas, seed)
            })
            .collect(),
        replicas,
        requests: Vec::new(),
        attempts: Vec::new(),
        events: BinaryHeap::new(),
        sequence: 0,
        arrivals: SmallRng::seed_from_u64(setting.seed.wrapping_mul(104_729)),
        service: SmallRng::seed_from_u64(setting.seed.wrapping_mul(7919)),
        log: Log::new(scenario.phases(), setting.replicas),
    };
    simulation.run(rate / setting.clients as f64);
    simulation.log
}

impl Simulation {
    fn run(&mut self, rate_per_client: f64) {
        let Ok(gaps) = Exp::new(rate_per_client) else {
            return;
        };
        for client in 0..self.clients.len() {
            let first = gaps.sample(&mut self.arrivals);
            self.schedule(first, Event::Request { client });
        }
        let over = self.setting.scenario.phases().over;
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            let now = now.since_epoch().as_secs_f64() * 1e3;
            match event {
                Event::Request { client } if now < over => {
                    let gap = gaps.sample(&mut self.arrivals);
                    self.schedule(now + gap, Event::Request { client });
                    self.request(client, now);
                }
                Event::Request { .. } => {}
                Event::Arrival { attempt } => self.arrive(attempt, now),
                Event::Done { attempt } => self.work_done(attempt, now),
                Event::Answer { attempt, accepted } => {
                    if self.waits_for(attempt) {
                        self.answer(attempt, accepted, now);
                    }
                }
                Event::Due { request } => self.due(request, now),
                Event::Timeout { attempt } => {
                    if self.waits_for(attempt) {
                        self.leave(attempt, now);
                        self.answer(attempt, false, now);
                    }
                }
            }
        }
    }

    fn schedule(&mut self, at: Millis, event: Event) {
        self.sequence += 1;
        self.events
            .push(Reverse((instant(at), self.sequence, event)));
    }

    fn request(&mut self, client: usize, now: Millis) {
        let request = self.requests.len();
        self.requests.push(Request {
            client,
            start: now,
            done: false,
            attempts: Vec::with_capacity(2),
            live: 0,
        });
        let patience = self.launch(request, now).patience;
        let patience = patience.map(|patience| patience.as_secs_f64() * 1e3);
        if let Some(delay) = self.clients[client].request(patience) {
            self.schedule(now + delay, Event::Due { request });
        }
    }

    /// Sends an attempt to the replica that the client chooses.
    fn launch(&mut self, request: usize, now: Millis) -> Pick {
        let Setting {
            scenario, replicas, ..
        } = self.setting;
        let used = self.requests[request].attempts.iter();
        let used = used.fold(0, |used, attempt| {
            used | 1 << self.attempts[*attempt].pick.replica
        });
        let bad = (0..replicas)
            .filter(|replica| scenario.is_bad(*replica, replicas, now))
            .fold(0, |bad, replica| bad | 1 << replica);
        let hedge = !self.requests[request].attempts.is_empty();
        let client = &mut self.clients[self.requests[request].client];
        let options = Options { used, hedge, bad };
        let pick = client.chooser.choose(options, instant(now));
        let attempt = self.attempts.len();
        self.attempts.push(Attempt {
            request,
            pick,
            start: now,
            stage: Stage::Sent,
        });
        self.requests[request].attempts.push(attempt);
        self.requests[request].live += 1;
        self.log.sent(pick.replica, hedge, now);
        let half_way = scenario.round_trip(pick.replica, replicas) / 2.0;
        self.schedule(now + half_way, Event::Arrival { attempt });
        self.schedule(now + TIMEOUT, Event::Timeout { attempt });
        pick
    }

    fn due(&mut self, request: usize, now: Millis) {
        let Request {
            done,
            ref attempts,
            live,
            client,
            ..
        } = self.requests[request];
        if !done && attempts.len() == 1 && live > 0 && self.clients[client].withdraw() {
            self.launch(request, now);
        }
    }

    fn arrive(&mut self, attempt: usize, now: Millis) {
        if self.attempts[attempt].stage != Stage::Sent {
            return;
        }
        let scenario = self.setting.scenario;
        let replica = self.attempts[attempt].pick.replica;
        let failing = scenario.failing(replica, now);
        if scenario.hangs(replica, now) {
            self.attempts[attempt].stage = Stage::Served;
        } else if failing > 0.0 && self.service.random::<f64>() < failing {
            self.attempts[attempt].stage = Stage::Served;
            self.send_back(attempt, false, now + REFUSAL);
        } else {
            self.attempts[attempt].stage = Stage::Queued;
            self.replicas[replica].waiting.push_back(attempt);
            self.work(replica, now);
        }
    }

    /// Workers that are free take what waits.
    fn work(&mut self, replica: usize, now: Millis) {
        let Setting {
            scenario, replicas, ..
        } = self.setting;
        while self.replicas[replica].busy < self.replicas[replica].workers
            && let Some(attempt) = self.replicas[replica].waiting.pop_front()
        {
            if self.attempts[attempt].stage != Stage::Queued {
                continue;
            }
            self.attempts[attempt].stage = Stage::Running;
            self.replicas[replica].busy += 1;
            let work = self.draw_work() * scenario.slowness(replica, replicas, now);
            let done = scenario.finish(replica, replicas, now, work);
            self.schedule(done, Event::Done { attempt });
        }
    }

    fn draw_work(&mut self) -> Millis {
        let work = LogNormal::new(0.0, SIGMA).map_or(1.0, |work| work.sample(&mut self.service));
        let long = self.service.random::<f64>() < LONG_SHARE;
        WORK * work * if long { LONG_FACTOR } else { 1.0 }
    }

    fn work_done(&mut self, attempt: usize, now: Millis) {
        if self.attempts[attempt].stage != Stage::Running {
            return;
        }
        let replica = self.attempts[attempt].pick.replica;
        self.attempts[attempt].stage = Stage::Served;
        self.replicas[replica].busy -= 1;
        self.work(replica, now);
        if !self.setting.scenario.hangs(replica, now) {
            self.send_back(attempt, true, now);
        }
    }

    fn send_back(&mut self, attempt: usize, accepted: bool, now: Millis) {
        let Setting {
            scenario, replicas, ..
        } = self.setting;
        let half_way = scenario.round_trip(self.attempts[attempt].pick.replica, replicas) / 2.0;
        self.schedule(now + half_way, Event::Answer { attempt, accepted });
    }

    fn waits_for(&self, attempt: usize) -> bool {
        let attempt = &self.attempts[attempt];
        attempt.stage != Stage::Over && !self.requests[attempt.request].done
    }

    /// The client closes the connection: the attempt leaves its replica.
    fn leave(&mut self, attempt: usize, now: Millis) {
        let replica = self.attempts[attempt].pick.replica;
        let was_running = self.attempts[attempt].stage == Stage::Running;
        self.attempts[attempt].stage = Stage::Over;
        if was_running {
            self.replicas[replica].busy -= 1;
            self.work(replica, now);
        }
    }

    fn answer(&mut self, attempt: usize, accepted: bool, now: Millis) {
        let request = self.attempts[attempt].request;
        self.attempts[attempt].stage = Stage::Over;
        self.requests[request].live -= 1;
        let end = if accepted {
            AttemptEnd::Answered
        } else {
            AttemptEnd::Failed
        };
        self.report(attempt, end, now);
        if accepted {
            for other in self.requests[request].attempts.clone() {
                if self.attempts[other].stage != Stage::Over {
                    self.report(other, AttemptEnd::Cancelled, now);
                    self.leave(other, now);
                }
            }
            self.finish(request, true, now);
        } else if self.requests[request].live == 0 {
            let client = self.requests[request].client;
            if self.requests[request].attempts.len() < 2 && self.clients[client].withdraw() {
                self.launch(request, now);
            } else {
                self.finish(request, false, now);
            }
        }
    }

    /// Tells the client how an attempt ended.
    fn report(&mut self, attempt: usize, end: AttemptEnd, now: Millis) {
        let Attempt {
            request,
            pick,
            start,
            ..
        } = self.attempts[attempt];
        let is_primary = self.requests[request].attempts[0] == attempt;
        let client = &mut self.clients[self.requests[request].client];
        let elapsed = now - start;
        let duration = instant(elapsed).since_epoch();
        client.chooser.ended(&pick, duration, end, instant(now));
        if is_primary && !pick.is_probe && end != AttemptEnd::Failed {
            client.learn(elapsed, end == AttemptEnd::Answered);
        }
    }

    fn finish(&mut self, request: usize, accepted: bool, now: Millis) {
        self.requests[request].done = true;
        let start = self.requests[request].start;
        self.log.finished(start, now - start, accepted);
    }
}

fn instant(at: Millis) -> Instant {
    Instant::from_epoch(Duration::from_secs_f64(at.max(0.0) / 1e3))
}
