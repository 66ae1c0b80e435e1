//! The client: where hedging goes into a program.

use hedge_tokio::replicas::SharedReplicas;
use hedge_tokio::{Attempt, Hedger};

use crate::Failure;
use crate::replica::Replica;

/// At most so many replicas.
const REPLICAS: usize = 8;

/// How the replicas are called.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Each request once; the replicas take turns.
    Plain,
    /// Primaries take turns over the replicas; a hedge goes to the next.
    Hedged(Hedger),
    /// Primaries and hedges go to the replica that is likely to answer first.
    OverReplicas(Hedger),
}

/// Calls the replicas, in one way.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    replicas: Vec<String>,
    set: SharedReplicas<REPLICAS>,
    way: Way,
}

impl Client {
    /// A client that shares no connections with others.
    pub(crate) fn new(replicas: &[Replica], way: Way) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            // Ignore proxies that the environment names: all servers are on loopback.
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            .build()?;
        let replicas: Vec<String> = replicas
            .iter()
            .map(|r| format!("http://{}", r.address()))
            .collect();
        Ok(Self {
            http,
            set: SharedReplicas::of(replicas.len()),
            replicas,
            way,
        })
    }

    /// Makes request `id`.
    pub(crate) async fn call(&self, id: u64) -> Result<(), Failure> {
        let turn = |attempt: usize| (id as usize + attempt) % self.replicas.len();
        let answer = match &self.way {
            Way::Plain => self.get(id, turn(0)).await?,
            Way::Hedged(hedger) => {
                let hedged = hedger.request(|attempt| self.get(id, turn(attempt.index())));
                hedged.await?.value
            }
            Way::OverReplicas(hedger) => {
                let get = |attempt: Attempt| self.get(id, attempt.replica().index());
                hedger.request_on(&self.set, get).await?.value
            }
        };
        if answer == id.to_string() {
            Ok(())
        } else {
            Err(format!("request {id} was given the answer to request {answer:?}").into())
        }
    }

    /// One attempt at request `id`.
    async fn get(&self, id: u64, replica: usize) -> reqwest::Result<String> {
        let replica = &self.replicas[replica];
        self.http
            .get(format!("{replica}/{id}"))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    }
}
