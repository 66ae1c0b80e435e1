//! The client: where hedging goes into a program.

use hedge_tokio::Hedger;

use crate::Failure;
use crate::replica::Replica;

/// Calls the replicas, with or without hedging.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    replicas: Vec<String>,
    hedger: Option<Hedger>,
}

impl Client {
    /// A client that shares no connections with others.
    pub(crate) fn new(replicas: &[Replica], hedger: Option<Hedger>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            // Ignore proxies that the environment names: all servers are on loopback.
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            .build()?;
        let replicas = replicas
            .iter()
            .map(|r| format!("http://{}", r.address()))
            .collect();
        Ok(Self {
            http,
            replicas,
            hedger,
        })
    }

    /// Makes request `id`.
    pub(crate) async fn call(&self, id: u64) -> Result<(), Failure> {
        let answer = match &self.hedger {
            None => self.get(id, 0).await?,
            Some(hedger) => {
                hedger
                    .request(|attempt| self.get(id, attempt.index()))
                    .await?
                    .value
            }
        };
        if answer == id.to_string() {
            Ok(())
        } else {
            Err(format!("request {id} was given the answer to request {answer:?}").into())
        }
    }

    /// One attempt at request `id`. Primaries take turns over the replicas; a hedge goes to the next.
    async fn get(&self, id: u64, attempt: usize) -> reqwest::Result<String> {
        let replica = &self.replicas[(id as usize + attempt) % self.replicas.len()];
        self.http
            .get(format!("{replica}/{id}"))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    }
}
