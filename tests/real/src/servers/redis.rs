//! Redis: reads from two replicas of one primary, over one multiplexed connection to each.
//!
//! A read that was dropped leaves its command in the pipeline: Redis runs it, and its reply arrives
//! when another read awaits one. Nothing can be cancelled, so nothing shows what became of losers; what has to
//! be shown is that their replies go nowhere.

pub(crate) mod three;

use core::time::Duration;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hedge_tokio::Hedger;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use tokio::time::sleep;

use crate::load::{EVERY, KEYS, Pair, READS, Reads, STALL, compare, read, value_of};
use crate::process::{Folder, Server, free_port, settled};
use crate::report::Report;
use crate::{Failure, Options};

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("redis: starting a primary and two replicas");
    let primary = Node::start(folder, "primary", None).await?;
    let mut replicas = [
        Node::start(folder, "first", Some(&primary)).await?,
        Node::start(folder, "second", Some(&primary)).await?,
    ];
    primary.fill(2).await?;

    let readers = [replicas[0].reader().await?, replicas[1].reader().await?];

    let hedger = options.hedger()?;
    let pair = Replicas {
        readers: &readers,
        replicas: &replicas,
        hedger: &hedger,
        stop: false,
    };
    let compared = compare(&pair, &hedger).await?;
    report.compared("redis, replica paused", &compared);
    let pair = Replicas { stop: true, ..pair };
    let compared = compare(&pair, &hedger).await?;
    report.compared("redis, replica stopped", &compared);

    let plain = killed(&mut replicas, &readers, None).await?;
    let hedged = killed(&mut replicas, &readers, Some(&hedger)).await?;
    report.faster("redis, replica killed", &plain, &hedged);
    report.own_replies("redis, replica killed", &[&hedged]);

    let count = async || -> Result<_, Failure> {
        Ok([
            replicas[0].connections().await?,
            replicas[1].connections().await?,
        ])
    };
    let same = settled([1, 1], count).await;
    report.settled(&same, "redis: still one connection to each replica");
    drop(readers);
    let none = settled([0, 0], count).await;
    report.settled(&none, "redis: none when the client is gone");
    Ok(())
}

/// For how long a reply is awaited: plain reads shall wait through a stall, which the client would not.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis server.
pub(super) struct Node {
    pub(super) server: Server,
    config: PathBuf,
    pub(super) client: Client,
    port: u16,
}

impl Node {
    pub(super) async fn start(
        folder: &Folder,
        name: &str,
        primary: Option<&Self>,
    ) -> Result<Self, Failure> {
        let port = free_port()?;
        let home = folder.within(name)?;
        let mut text = format!(
            "bind 127.0.0.1\nport {port}\ndir {home:?}\nsave \"\"\nrepl-diskless-sync-delay 0\n"
        );
        if let Some(primary) = primary {
            // A replica that was restarted has nothing yet: that is an error, not a key without a value.
            text += "replica-serve-stale-data no\n";
            text += &format!("replicaof 127.0.0.1 {}\n", primary.port);
        }
        let config = home.join("redis.conf");
        fs::write(&config, text)?;
        let node = Self {
            server: Self::launch(&config)?,
            config,
            client: Client::open(("127.0.0.1", port))?,
            port,
        };
        node.ready().await?;
        Ok(node)
    }

    fn launch(config: &Path) -> io::Result<Server> {
        let command = [OsStr::new("redis-server"), config.as_os_str()];
        Server::start(command, &config.with_extension("log"), "KILL")
    }

    /// Starts again, with no data, what was stopped.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.server = Self::launch(&self.config)?;
        Ok(())
    }

    /// Waits until it answers.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let ask = async || self.administer().await?.exists("no such key").await;
        self.server.ready(ask).await.map(|_: bool| ())
    }

    /// Writes every key, and waits for so many replicas.
    async fn fill(&self, replicas: usize) -> Result<(), Failure> {
        let mut connection = self.administer().await?;
        let pairs: Vec<(u64, String)> = (0..KEYS).map(|key| (key, value_of(key))).collect();
        let () = connection.mset(&pairs).await?;
        let have: usize = redis::cmd("WAIT")
            .arg(replicas)
            .arg(10_000)
            .query_async(&mut connection)
            .await?;
        if have == replicas {
            Ok(())
        } else {
            Err(format!("{have} of {replicas} replicas have the data").into())
        }
    }

    /// A connection of reads, that is made anew when it is lost.
    async fn reader(&self) -> RedisResult<ConnectionManager> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_max_delay(Duration::from_millis(200));
        ConnectionManager::new_with_config(self.client.clone(), config).await
    }

    pub(super) async fn administer(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// How many keys it was asked for since it was started.
    async fn gets(&self) -> Result<u64, Failure> {
        let mut connection = self.administer().await?;
        let stats: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut connection)
            .await?;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_get:calls="))
            .and_then(|line| line.split(',').next());
        Ok(calls.unwrap_or("0").parse()?)
    }

    /// How many clients it has beside the one that asks.
    async fn connections(&self) -> RedisResult<usize> {
        let mut connection = self.administer().await?;
        let list: String = redis::cmd("CLIENT")
            .arg(&["LIST", "TYPE", "NORMAL"])
            .query_async(&mut connection)
            .await?;
        Ok(list.lines().count() - 1)
    }
}

/// Two replicas, the first of which is paused or stopped for a while.
struct Replicas<'r> {
    readers: &'r [ConnectionManager; 2],
    replicas: &'r [Node; 2],
    hedger: &'r Hedger,
    /// Stops the process by a signal. Else the server itself lets its clients wait.
    stop: bool,
}

impl Pair for Replicas<'_> {
    async fn plain(&self, key: u64) -> Result<String, Failure> {
        Ok(get(self.readers, key, 0).await?)
    }

    async fn hedged(&self, key: u64) -> Result<String, Failure> {
        let hedged = self
            .hedger
            .request(|attempt| get(self.readers, key, attempt.index()))
            .await?;
        Ok(hedged.value)
    }

    async fn stall(&self) -> Result<(), Failure> {
        let first = &self.replicas[0];
        if self.stop {
            return first.server.signal("STOP");
        }
        let mut connection = first.administer().await?;
        let millis = STALL.as_millis() as u64;
        Ok(redis::cmd("CLIENT")
            .arg("PAUSE")
            .arg(millis)
            .arg("ALL")
            .query_async(&mut connection)
            .await?)
    }

    async fn resume(&self) -> Result<(), Failure> {
        // A pause ends by itself.
        if self.stop {
            self.replicas[0].server.signal("CONT")
        } else {
            Ok(())
        }
    }

    async fn at_work(&self) -> Result<Option<usize>, Failure> {
        Ok(None)
    }
}

/// One attempt at reading `key`.
async fn get(readers: &[ConnectionManager; 2], key: u64, attempt: usize) -> RedisResult<String> {
    readers[(key as usize + attempt) % 2].clone().get(key).await
}

/// Reads while the first replica is killed and started again, and until it answers reads as before.
async fn killed(
    replicas: &mut [Node; 2],
    readers: &[ConnectionManager; 2],
    hedger: Option<&Hedger>,
) -> Result<Reads, Failure> {
    let reads = read(READS * 8, EVERY, |key| async move {
        Ok(match hedger {
            None => get(readers, key, 0).await?,
            Some(hedger) => {
                hedger
                    .request(|attempt| get(readers, key, attempt.index()))
                    .await?
                    .value
            }
        })
    });
    let kill = async {
        sleep(Duration::from_millis(100)).await;
        replicas[0].server.stop()?;
        sleep(STALL).await;
        replicas[0].restart()?;
        replicas[0].ready().await
    };
    let (reads, killed) = tokio::join!(reads, kill);
    killed?;
    settled(value_of(0), async || Ok(get(readers, 0, 0).await?)).await?;
    Ok(reads)
}
