//! Clients, replicas with queues and workers, and a network between them: a discrete-event simulation.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use hedge_core::adapter::RequestEnd;
use hedge_core::{Instant, Verdict};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};

use super::chooser::Rule;
use super::client::{Client, Running, TIMEOUT};
use super::figures::Log;
use super::scenario::{Millis, Scenario};
use crate::engine::Ended;

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
    /// Its place among the attempts of its request.
    index: usize,
    replica: usize,
    stage: Stage,
}

struct Request<'c> {
    client: &'c Client,
    start: Millis,
    /// `None` once it is over.
    running: Option<Running<'c>>,
    attempts: Vec<usize>,
}

struct Replica {
    waiting: VecDeque<usize>,
    busy: usize,
    workers: usize,
}

struct Simulation<'c> {
    setting: Setting,
    clients: &'c [Client],
    replicas: Vec<Replica>,
    requests: Vec<Request<'c>>,
    attempts: Vec<Attempt>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    arrivals: SmallRng,
    service: SmallRng,
    log: Log,
}

/// Runs one simulation.
pub(crate) fn run(setting: Setting) -> Result<Log, String> {
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
    let clients = (0..setting.clients).map(|client| {
        let seed = setting.seed.wrapping_mul(1000).wrapping_add(client as u64);
        Client::new(setting.rule, setting.replicas, seed)
    });
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let mut simulation = Simulation {
        setting,
        clients: &clients,
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
    Ok(simulation.log)
}

impl<'c> Simulation<'c> {
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
                Event::Due { request } => self.watch(request, now),
                Event::Timeout { attempt } => {
                    if self.waits_for(attempt) {
                        self.time_out(attempt, now);
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
        let client = &self.clients[client];
        client.chooser.tell(self.bad(now));
        let (running, primary) = Running::start_on(&client.hedger, &client.chooser, instant(now));
        let request = self.requests.len();
        self.requests.push(Request {
            client,
            start: now,
            running: Some(running),
            attempts: Vec::with_capacity(2),
        });
        // The set is never empty.
        if let Ok(primary) = primary {
            self.launch(request, &primary, now);
        }
        self.watch(request, now);
    }

    /// A mask of the replicas that are bad.
    fn bad(&self, now: Millis) -> u64 {
        let Setting {
            scenario, replicas, ..
        } = self.setting;
        (0..replicas)
            .filter(|replica| scenario.is_bad(*replica, replicas, now))
            .fold(0, |bad, replica| bad | 1 << replica)
    }

    /// Sends an attempt to its replica.
    fn launch(&mut self, request: usize, started: &hedge_core::Attempt, now: Millis) {
        let Setting {
            scenario, replicas, ..
        } = self.setting;
        let replica = started.replica().index();
        let attempt = self.attempts.len();
        self.attempts.push(Attempt {
            request,
            index: started.index(),
            replica,
            stage: Stage::Sent,
        });
        self.requests[request].attempts.push(attempt);
        self.log.sent(replica, started.is_hedge(), now);
        let half_way = scenario.round_trip(replica, replicas) / 2.0;
        self.schedule(now + half_way, Event::Arrival { attempt });
        let timeout = TIMEOUT.as_secs_f64() * 1e3;
        self.schedule(now + timeout, Event::Timeout { attempt });
    }

    /// Lets the request start what is due, and comes back when something will be.
    fn watch(&mut self, request: usize, now: Millis) {
        let client = self.requests[request].client;
        client.chooser.tell(self.bad(now));
        while let Some(running) = &mut self.requests[request].running {
            match running.due() {
                Some(due) if due <= instant(now) => {
                    if let Some(hedge) = running.admit(instant(now)) {
                        self.launch(request, &hedge, now);
                    }
                }
                Some(due) => {
                    let due = due.since_epoch().as_secs_f64() * 1e3;
                    // Not before it is due, however times are rounded.
                    return self.schedule(due + 1e-6, Event::Due { request });
                }
                None => {
                    if let Some(how) = running.exhausted() {
                        self.finish(request, how, now);
                    }
                    return;
                }
            }
        }
    }

    fn arrive(&mut self, attempt: usize, now: Millis) {
        if self.attempts[attempt].stage != Stage::Sent {
            return;
        }
        let scenario = self.setting.scenario;
        let replica = self.attempts[attempt].replica;
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
        let replica = self.attempts[attempt].replica;
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
        let half_way = scenario.round_trip(self.attempts[attempt].replica, replicas) / 2.0;
        self.schedule(now + half_way, Event::Answer { attempt, accepted });
    }

    fn waits_for(&self, attempt: usize) -> bool {
        let attempt = &self.attempts[attempt];
        attempt.stage != Stage::Over && self.requests[attempt.request].running.is_some()
    }

    /// The client closes the connection: the attempt leaves its replica.
    fn leave(&mut self, attempt: usize, now: Millis) {
        let replica = self.attempts[attempt].replica;
        let was_running = self.attempts[attempt].stage == Stage::Running;
        self.attempts[attempt].stage = Stage::Over;
        if was_running {
            self.replicas[replica].busy -= 1;
            self.work(replica, now);
        }
    }

    fn answer(&mut self, attempt: usize, accepted: bool, now: Millis) {
        let Attempt { request, index, .. } = self.attempts[attempt];
        self.attempts[attempt].stage = Stage::Over;
        let verdict = if accepted {
            Verdict::Accept
        } else {
            Verdict::Retry
        };
        let Some(running) = &mut self.requests[request].running else {
            return;
        };
        match running.finished(index, verdict, instant(now)) {
            Some(how) => self.finish(request, how, now),
            None => self.watch(request, now),
        }
    }

    fn time_out(&mut self, attempt: usize, now: Millis) {
        self.leave(attempt, now);
        let Attempt { request, index, .. } = self.attempts[attempt];
        if let Some(running) = &mut self.requests[request].running {
            running.expired(index, instant(now));
        }
        self.watch(request, now);
    }

    fn finish(&mut self, request: usize, how: RequestEnd, now: Millis) {
        let Some(running) = self.requests[request].running.take() else {
            return;
        };
        for attempt in core::mem::take(&mut self.requests[request].attempts) {
            if self.attempts[attempt].stage != Stage::Over {
                self.leave(attempt, now);
            }
        }
        let (ended, _) = running.settle(how, instant(now));
        let start = self.requests[request].start;
        self.log
            .finished(start, now - start, ended == Ended::Answered);
    }
}

fn instant(at: Millis) -> Instant {
    Instant::from_epoch(Duration::from_secs_f64(at.max(0.0) / 1e3))
}
