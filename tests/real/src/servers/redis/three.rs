//! Three replicas of one primary. One that has lost its primary refuses to read at once.

use redis::aio::ConnectionManager;
use redis::{AsyncCommands, RedisError, RedisResult};

use super::Node;
use crate::incident::{self, Incident, SERVERS, Trio};
use crate::load::value_of;
use crate::process::{Folder, free_port, settled};
use crate::report::Report;
use crate::{Failure, Options};

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("redis: starting a primary and three replicas");
    let primary = Node::start(folder, "primary", None).await?;
    let nodes = [
        Node::start(folder, "first", Some(&primary)).await?,
        Node::start(folder, "second", Some(&primary)).await?,
        Node::start(folder, "third", Some(&primary)).await?,
    ];
    primary.fill(SERVERS).await?;
    let mut replicas = Replicas {
        readers: [
            nodes[0].reader().await?,
            nodes[1].reader().await?,
            nodes[2].reader().await?,
        ],
        nodes,
        primary: primary.port,
    };
    incident::run("redis", &mut replicas, options, report).await
}

struct Replicas {
    readers: [ConnectionManager; SERVERS],
    nodes: [Node; SERVERS],
    /// The primary's port.
    primary: u16,
}

impl Replicas {
    async fn follow(&self, port: u16) -> RedisResult<()> {
        let mut connection = self.nodes[0].administer().await?;
        redis::cmd("REPLICAOF")
            .arg("127.0.0.1")
            .arg(port)
            .query_async(&mut connection)
            .await
    }
}

impl Trio for Replicas {
    type Error = RedisError;

    async fn get(&self, server: usize, key: u64) -> Result<String, RedisError> {
        self.readers[server].clone().get(key).await
    }

    async fn served(&self) -> Result<[u64; SERVERS], Failure> {
        let [first, second, third] = &self.nodes;
        Ok([
            first.gets().await?,
            second.gets().await?,
            third.gets().await?,
        ])
    }

    async fn begin(&mut self, incident: Incident) -> Result<(), Failure> {
        match incident {
            Incident::Stall => self.nodes[0].server.signal("STOP"),
            Incident::Kill => self.nodes[0].server.stop(),
            // Nobody is there.
            Incident::Refuse => Ok(self.follow(free_port()?).await?),
        }
    }

    async fn end(&mut self, incident: Incident) -> Result<(), Failure> {
        match incident {
            Incident::Stall => return self.nodes[0].server.signal("CONT"),
            Incident::Kill => {
                self.nodes[0].restart()?;
                self.nodes[0].ready().await?;
            }
            Incident::Refuse => self.follow(self.primary).await?,
        }
        // It has the data again.
        let first = || self.nodes[0].administer();
        settled(value_of(0), async || Ok(first().await?.get(0).await?)).await
    }
}
