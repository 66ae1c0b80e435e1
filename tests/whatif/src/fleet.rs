//! Whether a fleet of clients, each of which learns and spends alone, does what one client would.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use hedge_core::adapter::RequestEnd;
use hedge_core::strategy::{LearnedMerge, Off, Percentile};
use hedge_core::{AnyStrategy, Budget, Instant, StrategyKind, Verdict};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};

use crate::engine::{Ask, Lab, Running, ms};
use crate::incidents::verdict::{self, As, Figure, Row};
use crate::lab::{self, percentile};
use crate::options::Seeded;
use crate::parallel;
use crate::seeds::Seeds;

const SIZES: [usize; 4] = [1, 10, 100, 1000];
const SERVERS: usize = 100;
const WORKERS: usize = 4;
/// Servers of one zone.
const ZONE: usize = 25;
const LOAD: f64 = 0.5;
const PERCENT: f64 = 10.0;
/// Each client makes at least so many requests, and all of them at least so many.
const EACH: usize = 5000;
const LEAST: usize = 400_000;
/// How often each is played; what is shown is the median.
const SEEDS: u64 = 5;
const INCIDENT: Duration = Duration::from_secs(10);
/// What a slow zone adds to each answer.
const FAR: Duration = Duration::from_millis(400);
/// What service times are multiplied by in a brown-out.
const BROWNOUT: f64 = 1.8;

/// What happens at half-time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scenario {
    Brownout,
    /// Answers of one zone take longer.
    Zone,
    /// All clients restart, with nothing, or with what they had learned together.
    Deploy {
        warm: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    clients: usize,
    scenario: Scenario,
    hedged: bool,
    requests: usize,
    seed: u64,
    /// The burst of each client's budget, if it is not the default.
    burst: Option<u32>,
}

impl Setting {
    fn new(clients: usize, scenario: Scenario, seed: u64) -> Self {
        Self {
            clients,
            scenario,
            hedged: true,
            requests: (EACH * clients).max(LEAST),
            seed,
            burst: None,
        }
    }
}

/// Service takes LN(40 ms, 0.4), and three times in a hundred ten times that.
fn mean_service() -> f64 {
    40.0 * libm::exp(0.08) * (1.0 + 0.03 * 9.0)
}

/// Requests a millisecond.
fn rate() -> f64 {
    LOAD * (SERVERS * WORKERS) as f64 / mean_service()
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Served {
        request: Handle,
        attempt: u8,
        server: usize,
    },
    Answer {
        request: Handle,
        attempt: u8,
    },
    Due {
        request: Handle,
    },
    Arrival,
}

/// A place in a slab, and which of its requests.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Handle {
    place: usize,
    generation: u32,
}

struct Request<'h> {
    running: Running<'h, AnyStrategy, 2>,
    start: Instant,
}

struct Server {
    waiting: VecDeque<(Handle, u8)>,
    busy: usize,
}

/// What came of a run.
struct Ran {
    /// Requests by start: the second, and how long they took in milliseconds.
    latencies: Vec<(f64, f64)>,
    hedges: usize,
    half: f64,
}

impl Ran {
    /// The P99 of the requests that started from one second to another.
    fn p99(&self, from: f64, to: f64) -> f64 {
        let chosen = self
            .latencies
            .iter()
            .filter(|(start, _)| (from..to).contains(start));
        let mut chosen: Vec<f64> = chosen.map(|(_, latency)| *latency).collect();
        chosen.sort_by(f64::total_cmp);
        percentile(&chosen, 99.0)
    }

    /// Before the incident, when all have learned.
    fn calm(&self) -> f64 {
        self.p99(self.half / 2.0, self.half)
    }

    fn incident(&self) -> f64 {
        self.p99(self.half, self.half + INCIDENT.as_secs_f64())
    }

    /// How many seconds after the incident the P99 of two seconds is within 1.25 × this calm one; infinite if it never is.
    fn recovery(&self, calm: f64) -> f64 {
        let end = self.half + INCIDENT.as_secs_f64();
        let steps = ((2.0 * self.half - end) / 2.0) as u32;
        let is_back = |step: &u32| {
            let from = end + 2.0 * f64::from(*step);
            self.p99(from, from + 2.0) <= 1.25 * calm
        };
        (0..steps)
            .find(is_back)
            .map_or(f64::INFINITY, |step| 2.0 * f64::from(step))
    }
}

struct Simulation<'h> {
    setting: Setting,
    half: Instant,
    /// Before and after a deploy.
    clients: &'h [[Lab<AnyStrategy, 2>; 2]],
    rng: SmallRng,
    slab: Vec<(u32, Option<Request<'h>>)>,
    free: Vec<usize>,
    servers: Vec<Server>,
    events: BinaryHeap<Reverse<(Instant, Event)>>,
    ran: Ran,
}

fn run(setting: Setting) -> Result<Ran, String> {
    let client = |seed: usize| {
        let strategy: AnyStrategy = if setting.hedged {
            Percentile::new(95.0).into()
        } else {
            Off.into()
        };
        let seed = seed as u64 + (setting.seed << 32);
        let mut budget = Budget::percent(PERCENT);
        if let Some(burst) = setting.burst {
            budget = budget.burst(burst);
        }
        lab::hedger(strategy, budget, None, None, seed)
    };
    let clients = (0..setting.clients)
        .map(|seed| Ok([client(2 * seed)?, client(2 * seed + 1)?]))
        .collect::<Result<Vec<_>, String>>()?;
    let half = setting.requests as f64 / rate() / 2e3;
    let mut simulation = Simulation {
        setting,
        half: Instant::from_epoch(Duration::from_secs_f64(half)),
        clients: &clients,
        rng: SmallRng::seed_from_u64(setting.clients as u64 + (setting.seed << 32)),
        slab: Vec::new(),
        free: Vec::new(),
        servers: (0..SERVERS)
            .map(|_| Server {
                waiting: VecDeque::new(),
                busy: 0,
            })
            .collect(),
        events: BinaryHeap::new(),
        ran: Ran {
            latencies: Vec::with_capacity(setting.requests),
            hedges: 0,
            half,
        },
    };
    simulation.play()?;
    Ok(simulation.ran)
}

impl<'h> Simulation<'h> {
    fn play(&mut self) -> Result<(), String> {
        let gaps = Exp::new(rate()).map_err(|error| error.to_string())?;
        let (mut made, mut is_deployed) = (0, false);
        self.events.push(Reverse((Instant::ZERO, Event::Arrival)));
        while let Some(Reverse((now, event))) = self.events.pop() {
            if !is_deployed && now >= self.half {
                is_deployed = true;
                if self.setting.hedged && self.setting.scenario == (Scenario::Deploy { warm: true })
                {
                    self.warm_up()?;
                }
            }
            match event {
                Event::Arrival => {
                    self.arrive(now);
                    made += 1;
                    if made < self.setting.requests {
                        let gap = ms(gaps.sample(&mut self.rng));
                        self.events.push(Reverse((now + gap, Event::Arrival)));
                    }
                }
                Event::Due { request } => self.due(request, now),
                Event::Served {
                    request,
                    attempt,
                    server,
                } => {
                    self.servers[server].busy -= 1;
                    let is_far = self.setting.scenario == Scenario::Zone
                        && server < ZONE
                        && self.is_incident(now);
                    let answer = Event::Answer { request, attempt };
                    let at = if is_far { now + FAR } else { now };
                    self.events.push(Reverse((at, answer)));
                    self.serve(server, now);
                }
                Event::Answer { request, attempt } => self.answer(request, attempt, now),
            }
        }
        Ok(())
    }

    fn is_incident(&self, now: Instant) -> bool {
        (self.half..self.half + INCIDENT).contains(&now)
    }

    /// New clients start with what the old ones have learned together.
    fn warm_up(&mut self) -> Result<(), String> {
        let mut merge = LearnedMerge::new(StrategyKind::Percentile);
        for [old, _] in self.clients {
            merge
                .add(&old.export())
                .map_err(|error| error.to_string())?;
        }
        let Some(learned) = merge.finish() else {
            return Ok(());
        };
        for [_, new] in self.clients {
            new.restore(&learned).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn arrive(&mut self, now: Instant) {
        let client = self.rng.random_range(0..self.clients.len());
        let is_new = matches!(self.setting.scenario, Scenario::Deploy { .. }) && now >= self.half;
        let running = Running::start(&self.clients[client][usize::from(is_new)], &Ask::PLAIN, now);
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push((0, None));
            self.slab.len() - 1
        });
        self.slab[place].1 = Some(Request {
            running,
            start: now,
        });
        let generation = self.slab[place].0;
        let request = Handle { place, generation };
        self.send(request, 0, now);
        self.watch(request);
    }

    fn request(&mut self, handle: Handle) -> Option<&mut Request<'h>> {
        let (generation, request) = &mut self.slab[handle.place];
        request
            .as_mut()
            .filter(|_| *generation == handle.generation)
    }

    fn watch(&mut self, handle: Handle) {
        let due = self
            .request(handle)
            .and_then(|request| request.running.due());
        if let Some(due) = due {
            self.events
                .push(Reverse((due, Event::Due { request: handle })));
        }
    }

    fn due(&mut self, handle: Handle, now: Instant) {
        let Some(request) = self.request(handle) else {
            return;
        };
        if let Some(attempt) = request.running.admit(now) {
            self.ran.hedges += 1;
            self.send(handle, attempt.index() as u8, now);
        }
        self.watch(handle);
    }

    fn send(&mut self, request: Handle, attempt: u8, now: Instant) {
        let server = self.rng.random_range(0..SERVERS);
        self.servers[server].waiting.push_back((request, attempt));
        self.serve(server, now);
    }

    /// Free workers take the attempts whose requests have not been answered.
    fn serve(&mut self, server: usize, now: Instant) {
        while self.servers[server].busy < WORKERS {
            let Some((request, attempt)) = self.servers[server].waiting.pop_front() else {
                return;
            };
            if self.request(request).is_none() {
                continue;
            }
            self.servers[server].busy += 1;
            let usual = LogNormal::new(40.0_f64.ln(), 0.4)
                .map_or(40.0, |usual| usual.sample(&mut self.rng));
            let slow = if self.rng.random_bool(0.03) {
                10.0
            } else {
                1.0
            };
            let is_brownout = self.setting.scenario == Scenario::Brownout && self.is_incident(now);
            let factor = if is_brownout { BROWNOUT } else { 1.0 };
            let end = now + ms(usual * slow * factor);
            self.events.push(Reverse((
                end,
                Event::Served {
                    request,
                    attempt,
                    server,
                },
            )));
        }
    }

    fn answer(&mut self, handle: Handle, attempt: u8, now: Instant) {
        let Some(request) = self.request(handle) else {
            return;
        };
        let start = request.start;
        let how = request
            .running
            .finished(attempt.into(), Verdict::Accept, now);
        let (generation, request) = &mut self.slab[handle.place];
        if let (Some(how @ RequestEnd::Won(_)), Some(request)) = (how, request.take()) {
            *generation += 1;
            self.free.push(handle.place);
            let _ = request.running.settle(how, now);
            let latency = now.since(start).as_secs_f64() * 1e3;
            self.ran
                .latencies
                .push((start.since_epoch().as_secs_f64(), latency));
        }
    }
}

const SCENARIOS: [(&str, Scenario); 3] = [
    ("brownout", Scenario::Brownout),
    ("zone", Scenario::Zone),
    ("deploy", Scenario::Deploy { warm: true }),
];
/// A burst for clients that make few requests each: bursts add up.
const SMALL_BURST: u32 = 5;
const COLD: Scenario = Scenario::Deploy { warm: false };

/// All runs of a setting, one for each seed.
struct Runs<'r> {
    requests: usize,
    all: Vec<&'r Ran>,
}

impl Runs<'_> {
    fn median(&self, of: impl Fn(&Ran) -> f64) -> f64 {
        let mut values: Vec<f64> = self.all.iter().map(|ran| of(ran)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn calm(&self) -> f64 {
        self.median(Ran::calm)
    }

    fn incident(&self) -> f64 {
        self.median(Ran::incident)
    }

    fn recovery(&self, calm: f64) -> f64 {
        self.median(|ran| ran.recovery(calm))
    }

    /// In the run that had the most.
    fn hedges(&self) -> usize {
        self.all.iter().map(|ran| ran.hedges).max().unwrap_or(0)
    }
}

fn rows(seeds: Seeds) -> Result<Vec<Row>, String> {
    let mut settings = Vec::new();
    for seed in seeds.iter() {
        for clients in SIZES {
            for (_, scenario) in SCENARIOS {
                settings.push(Setting::new(clients, scenario, seed));
            }
            settings.push(Setting::new(clients, COLD, seed));
            settings.push(Setting {
                burst: Some(SMALL_BURST),
                ..Setting::new(clients, Scenario::Brownout, seed)
            });
        }
        for (_, scenario) in SCENARIOS {
            let hedged = false;
            settings.push(Setting {
                hedged,
                ..Setting::new(1, scenario, seed)
            });
        }
    }
    // The longest first.
    settings.sort_by_key(|setting| Reverse(setting.requests));
    let bar = hedge_terminal::progress(settings.len() as u64);
    let ran = parallel::map(settings.len(), |at| {
        let ran = run(settings[at]);
        bar.inc(1);
        ran
    });
    bar.finish_and_clear();
    let ran = ran.into_iter().collect::<Result<Vec<_>, _>>()?;
    let find_with = |clients: usize, scenario: Scenario, hedged: bool, burst: Option<u32>| {
        let of = |setting: &Setting| {
            let Setting {
                clients, scenario, ..
            } = *setting;
            (clients, scenario, setting.hedged, setting.burst)
        };
        let runs = settings
            .iter()
            .zip(&ran)
            .filter(|(setting, _)| of(setting) == (clients, scenario, hedged, burst));
        let all: Vec<_> = runs.map(|(_, ran)| ran).collect();
        let requests = Setting::new(clients, scenario, seeds.first()).requests;
        Runs { requests, all }
    };
    let find = |clients, scenario, hedged| find_with(clients, scenario, hedged, None);
    let mut rows = Vec::new();
    for clients in SIZES {
        for (name, scenario) in SCENARIOS {
            let (hedged, off) = (find(clients, scenario, true), find(1, scenario, false));
            let bursts = clients as f64 * f64::from(Budget::BURST);
            let bound = PERCENT / 100.0 * hedged.requests as f64 + bursts;
            let hedges = hedged.hedges() as f64;
            let extra = 100.0 * hedges / hedged.requests as f64;
            let spent = Figure::at_most("hedges", As::Number(0), hedges, bound)
                .beside(&format!("{extra:.1} % more requests"));
            let during = if let Scenario::Deploy { .. } = scenario {
                let beside = format!("cold: {:.0}", find(clients, COLD, true).incident());
                let most = 1.1 * hedged.calm();
                Figure::at_most(
                    "P99 of the first 10 s, ms",
                    As::Number(0),
                    hedged.incident(),
                    most,
                )
                .beside(&beside)
            } else {
                let beside = format!("unhedged: {:.0}", off.incident());
                Figure::at_most(
                    "P99 during, ms",
                    As::Number(0),
                    hedged.incident(),
                    1.02 * off.incident(),
                )
                .beside(&beside)
            };
            let calmly = off.calm();
            let own = hedged.median(|ran| ran.recovery(ran.calm()));
            let beside = format!(
                "unhedged: {:.0}; to its own calm P99: {own:.0}",
                off.recovery(calmly)
            );
            let most = off.recovery(calmly);
            let recovered = Figure::at_most(
                "back at the unhedged calm P99 after, s",
                As::Number(0),
                hedged.recovery(calmly),
                most,
            )
            .beside(&beside);
            rows.push(Row::new(
                format!("{clients}_{name}"),
                vec![spent, during, recovered],
            ));
        }
    }
    for clients in SIZES {
        let small = find_with(clients, Scenario::Brownout, true, Some(SMALL_BURST));
        let off = find(1, Scenario::Brownout, false);
        let bound =
            PERCENT / 100.0 * small.requests as f64 + clients as f64 * f64::from(SMALL_BURST);
        let spent = Figure::at_most("hedges", As::Number(0), small.hedges() as f64, bound);
        let during = Figure::at_most(
            "P99 during, ms",
            As::Number(0),
            small.incident(),
            1.02 * off.incident(),
        );
        let beside = format!("unhedged: {:.0}", off.incident());
        rows.push(Row::new(
            format!("{clients}_brownout_burst_{SMALL_BURST}"),
            vec![spent, during.beside(&beside)],
        ));
    }
    let spread = |what: &str, of: &dyn Fn(usize) -> f64| {
        let all = SIZES.map(of);
        let (least, most) = all
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(least, most), p99| {
                (least.min(*p99), most.max(*p99))
            });
        let what = format!("largest ÷ smallest P99, {what}");
        let sizes = all.map(|p99| format!("{p99:.0}")).join(", ");
        let row = Figure::at_most(&what, As::Number(2), most / least, 1.1);
        row.beside(&format!("{sizes} ms"))
    };
    let calm = |clients| find(clients, SCENARIOS[0].1, true).calm();
    rows.push(Row::new("every_size", vec![spread("calm", &calm)]));
    for (name, scenario) in SCENARIOS {
        let incident = |clients| find(clients, scenario, true).incident();
        rows.push(Row::new(
            format!("every_size_{name}"),
            vec![spread("during", &incident)],
        ));
    }
    let small =
        |clients| find_with(clients, Scenario::Brownout, true, Some(SMALL_BURST)).incident();
    rows.push(Row::new(
        format!("every_size_brownout_burst_{SMALL_BURST}"),
        vec![spread("during", &small)],
    ));
    Ok(rows)
}

const HEAD: &str = "\
So many clients, each with a hedger and a budget of 10 %, and 100 servers with 4 workers each at a load of 0.5, in
virtual time; at least 5000 requests a client and 400 000 in all. At half-time, for 10 s: a brown-out (service × 1.8), one of
four zones slow (answers 400 ms later), or a deploy (all clients restart, with what they had learned together). The bound of
hedges is the budget's: 10 % of the requests and a burst for each client. Figures are medians over the seeds, 5 unless told
otherwise; hedges are those of the run that had the most. `burst_5` is a brown-out with so small a burst for each client.
";

pub(crate) fn print(options: &Seeded) -> Result<(), String> {
    let rows = rows(options.seeds.or(SEEDS))?;
    if options.json {
        return hedge_terminal::print(&verdict::json(&rows)?);
    }
    hedge_terminal::print(&format!("{HEAD}\n{}", verdict::table(&rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_start_hedges_at_once_and_a_cold_one_does_not() {
        let run = |warm| {
            let setting = Setting::new(20, Scenario::Deploy { warm }, 0);
            run(Setting {
                requests: 60_000,
                ..setting
            })
            .unwrap()
        };
        let first_second = |ran: &Ran| ran.p99(ran.half, ran.half + 0.5);
        let (warm, cold) = (run(true), run(false));
        assert!(
            first_second(&warm) < 1.3 * warm.calm(),
            "{} {}",
            first_second(&warm),
            warm.calm()
        );
        assert!(
            first_second(&cold) > 1.5 * cold.calm(),
            "{} {}",
            first_second(&cold),
            cold.calm()
        );
        let bound = 0.1 * 60_000.0 + 2.0 * 20.0 * 80.0;
        assert!(
            (warm.hedges as f64) < bound && warm.hedges > 1000,
            "{}",
            warm.hedges
        );
    }
}
