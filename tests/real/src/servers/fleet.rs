//! The example `fleet` with a Redis that has hostile entries, and that hangs and dies under load.

#[path = "../../../../hedge-tokio/examples/fleet/share.rs"]
mod share;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::io;

use futures_util::future::{join_all, try_join_all};
use hedge_tokio::{Budget, Hedger, Percentile};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client};
use tokio::time::{Instant, sleep, sleep_until};

use self::share::{Member, Sharing};
use super::redis::Node;
use crate::process::{Folder, settled};
use crate::report::{Report, ms};
use crate::{Failure, Options};

const SERVICE: &str = "hedge:search";
const INSTANCES: u32 = 3;
/// Requests of a new instance.
const FIRST: u32 = 1000;
/// Requests of an old one before it is compared with.
const LEARNED: u32 = 3000;
const EVERY: Duration = Duration::from_millis(5);

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("fleet: starting a Redis");
    let mut node = Node::start(folder, "fleet", None).await?;
    let mut connection = node.administer().await?;
    let sharing = Sharing {
        service: SERVICE.to_owned(),
        every: Duration::from_millis(100),
        patience: Duration::from_millis(300),
        expiry: Duration::from_secs(2),
        requests: u64::from(FIRST),
    };
    let fleet = Fleet {
        redis: node.client.clone(),
        sharing,
        unhedged: options.unhedged,
    };

    let old = fleet.instances("old").await?;
    old.load(LEARNED).await?;
    let published = async || Ok(connection.clone().scard::<_, u32>(SERVICE).await?);
    let all = settled(INSTANCES, published).await;
    report.settled(&all, format_args!("fleet: {INSTANCES} instances published"));
    let hostile = be_hostile(&mut connection).await?;
    // The old ones go on: their entries expire otherwise.
    let new = fleet.instances("new").await?;
    for member in &new.members {
        let [merged, refused] = [&member.counts.merged, &member.counts.refused].map(load_count);
        report.check(
            merged == u64::from(INSTANCES) && refused == hostile,
            format_args!("fleet: a new instance merged {merged} entries and refused {refused} of {hostile} hostile ones"),
        );
    }
    let cold = Instances::new(INSTANCES, options.unhedged)?;
    // At once: what the machine does besides slows them alike.
    let loads = tokio::join!(old.load(FIRST), new.load(FIRST), cold.load(FIRST));
    let (warm, new_load, cold) = (loads.0?, loads.1?, loads.2?);
    for (name, load) in [("warm", &warm), ("new", &new_load), ("cold", &cold)] {
        report.say(format_args!(
            "fleet, {name:<5} hedged {} % after {} ms  P99 {:.1} ms",
            text(&load.rates),
            text(&load.delays),
            ms(load.percentile(99.0))
        ));
    }
    report.check(
        new_load.rates.iter().all(|rate| (4.0..=6.0).contains(rate)),
        format_args!(
            "fleet: new instances hedged {} % of their first {FIRST} requests, 4 to 6",
            text(&new_load.rates)
        ),
    );
    let ratio = ms(new_load.percentile(99.0)) / ms(warm.percentile(99.0));
    report.check(
        ratio <= 1.1,
        format_args!("fleet: a new instance's P99 is {ratio:.3} of a warm one's, at most 1.1"),
    );

    // Hangs, so that rounds run into their limit; then dies, so that they fail.
    let count = |count: fn(&share::Counts) -> &AtomicU64| {
        let members = old.members.iter().chain(&new.members);
        members
            .map(|member| load_count(count(&member.counts)))
            .sum::<u64>()
    };
    let (away, start) = (count(|counts| &counts.away), Instant::now());
    let kill = async {
        sleep(Duration::from_millis(500)).await;
        node.server.signal("STOP")?;
        sleep(Duration::from_millis(1000)).await;
        node.server.stop()
    };
    let (during, killed) = tokio::join!(old.load(FIRST), kill);
    killed?;
    let (during, away) = (during?, count(|counts| &counts.away) - away);
    let ratio = ms(during.percentile(99.0)) / ms(warm.percentile(99.0));
    report.check(
        during.failed == 0 && ratio <= 1.2 && away > 0,
        format_args!(
            "fleet: Redis hung and was killed under load: {} of {} requests failed, P99 is {ratio:.3} of before, at most 1.2; \
             {away} rounds without Redis in {:.1} s",
            during.failed,
            during.latencies.len(),
            start.elapsed().as_secs_f64()
        ),
    );
    let start = Instant::now();
    let alone = fleet.instances("alone").await?;
    report.check(
        start.elapsed() < Duration::from_secs(1) && load_count(&alone.members[0].counts.away) > 0,
        "fleet: without Redis, new instances start cold within 1 s",
    );

    node.restart()?;
    node.ready().await?;
    let mut connection = node.administer().await?;
    let published = async || Ok(connection.clone().scard::<_, u32>(SERVICE).await?);
    let back = settled(2 * INSTANCES, published).await;
    report.settled(&back, "fleet: all published again when Redis was back");
    drop((old, new, alone));
    let left = async || {
        let keys: Vec<String> = connection.clone().keys(format!("{SERVICE}:*")).await?;
        Ok(keys.len())
    };
    let expired = settled(0, left).await;
    report.settled(
        &expired,
        "fleet: entries of instances that are gone expired",
    );
    let () = connection.sadd(SERVICE, "gone").await?;
    let late = fleet.instances("late").await?;
    let [merged, refused] = [
        &late.members[0].counts.merged,
        &late.members[0].counts.refused,
    ]
    .map(load_count);
    let ids: u32 = connection.scard(SERVICE).await?;
    report.check(
        merged == 0 && refused == 0 && ids == 0,
        format_args!(
            "fleet: after that, a new instance merged {merged}, refused {refused}, left {ids} names"
        ),
    );
    Ok(())
}

fn text(figures: &[f64]) -> String {
    let figures = figures.iter().map(|figure| format!("{figure:.1}"));
    figures.collect::<Vec<_>>().join(", ")
}

fn load_count(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

/// Writes entries that must be refused. Returns how many.
async fn be_hostile(connection: &mut MultiplexedConnection) -> Result<u64, Failure> {
    let good: String = {
        let ids: Vec<String> = connection.smembers(SERVICE).await?;
        connection.get(format!("{SERVICE}:{}", ids[0])).await?
    };
    let long = " ".repeat(70_000) + &good;
    let texts = [
        "no JSON",
        "{\"strategy\":\"percentile\",\"columns\":{}}",
        &good.replace("percentile", "optimal"),
        &good.replacen(":[", ":[-1.0,", 1),
        &good.replace("\"samples\":[", "\"samples\":[1e300,"),
        &long,
        "\u{0}\u{1}",
    ];
    for (id, text) in texts.iter().enumerate() {
        let () = connection.set(format!("{SERVICE}:bad {id}"), *text).await?;
        let () = connection.sadd(SERVICE, format!("bad {id}")).await?;
    }
    let () = connection.lpush(format!("{SERVICE}:list"), "x").await?;
    let () = connection.sadd(SERVICE, "list").await?;
    let not_text: &[u8] = &[0xff];
    let () = connection.sadd(SERVICE, not_text).await?;
    let () = connection
        .set([SERVICE.as_bytes(), b":", not_text].concat(), "x")
        .await?;
    Ok(texts.len() as u64 + 2)
}

struct Fleet {
    redis: Client,
    sharing: Sharing,
    unhedged: bool,
}

impl Fleet {
    async fn instances(&self, name: &str) -> Result<Instances, Failure> {
        let mut instances = Instances::new(INSTANCES, self.unhedged)?;
        for (id, hedger) in instances.hedgers.iter().enumerate() {
            let (redis, sharing) = (self.redis.clone(), self.sharing.clone());
            let member = Member::join(hedger, redis, format!("{name} {id}"), sharing).await;
            instances.members.push(member);
        }
        Ok(instances)
    }
}

struct Instances {
    hedgers: Vec<Hedger>,
    members: Vec<Member>,
}

impl Instances {
    fn new(instances: u32, unhedged: bool) -> Result<Self, Failure> {
        let hedger = |_| {
            let builder = Hedger::builder().strategy(Percentile::new(95.0));
            let percent = if unhedged { 0.0 } else { 10.0 };
            builder.budget(Budget::percent(percent)).build()
        };
        Ok(Self {
            hedgers: (0..instances).map(hedger).collect::<Result<_, _>>()?,
            members: Vec::new(),
        })
    }

    /// Makes so many requests by each instance.
    async fn load(&self, requests: u32) -> Result<Load, Failure> {
        let start = Instant::now();
        let each = self.hedgers.iter().map(|hedger| async move {
            let (before, draws) = (hedger.metrics().hedges, [const { AtomicU64::new(0) }; 2]);
            let one = |request: u32| {
                let draws = &draws;
                async move {
                    let due = start + request * EVERY;
                    sleep_until(due).await;
                    let answer = hedger
                        .request(|attempt| search(draws, attempt.index()))
                        .await;
                    (due.elapsed(), answer.is_err())
                }
            };
            let ended = join_all((0..requests).map(one)).await;
            let hedges = hedger.metrics().hedges - before;
            Ok::<_, Failure>((ended, 100.0 * hedges as f64 / f64::from(requests)))
        });
        let delay = |hedger: &Hedger| {
            let delay = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().delay);
            ms(delay.flatten().unwrap_or_default())
        };
        let mut load = Load {
            delays: self.hedgers.iter().map(delay).collect(),
            ..Load::default()
        };
        for (ended, rate) in try_join_all(each).await? {
            load.rates.push(rate);
            for (latency, failed) in ended {
                load.latencies.push(latency);
                load.failed += usize::from(failed);
            }
        }
        load.latencies.sort_unstable();
        Ok(load)
    }
}

#[derive(Default)]
struct Load {
    /// Sorted.
    latencies: Vec<Duration>,
    failed: usize,
    /// Hedges in percent of the requests, by instance.
    rates: Vec<f64>,
    /// When the load began, in milliseconds, by instance; 0 if there was none yet.
    delays: Vec<f64>,
}

impl Load {
    fn percentile(&self, percent: f64) -> Duration {
        let rank = percent / 100.0 * self.latencies.len() as f64;
        self.latencies[rank as usize]
    }
}

/// The backend: 40 ms and an exponential tail with a mean of 60 ms. The draws are spread evenly, so that any 1000
/// requests are a fair sample; those of hedges apart, so that they take none of these.
async fn search(draws: &[AtomicU64; 2], attempt: usize) -> io::Result<()> {
    let draw = draws[attempt.min(1)].fetch_add(1, Relaxed) as f64 * 0.618_033_988_749_895 % 1.0;
    sleep(Duration::from_secs_f64(0.040 - 0.060 * (1.0 - draw).ln())).await;
    Ok(())
}
