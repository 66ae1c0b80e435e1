//! The client: where a cascade goes into a program.

use hedge_tokio::TokioTimer;
use hedge_tokio::cascade::{Cascade, CascadeOutcome};

use crate::Failure;
use crate::model::MODELS;
use crate::server::{Answer, Server};

/// Asks the first model, or all of them in a cascade.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    models: [String; 3],
    cascade: Option<Models>,
}

type Models = Cascade<TokioTimer, 3, fn(&Answer) -> f64>;

impl Client {
    /// A client of the first model alone.
    pub(crate) fn single(servers: &[Server; 3]) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            // A proxy named by the environment has no business on loopback.
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            http,
            models: servers
                .each_ref()
                .map(|server| format!("http://{}", server.address())),
            cascade: None,
        })
    }

    /// A client of the cascade, with delays scaled.
    pub(crate) fn cascade(servers: &[Server; 3], scale: f64) -> Result<Self, Failure> {
        let tiers = MODELS.map(|model| model.tier(scale));
        let quality: fn(&Answer) -> f64 = |answer| answer.confidence;
        let cascade = Cascade::new(TokioTimer::new(), tiers)?.quality(quality);
        Ok(Self {
            cascade: Some(cascade),
            ..Self::single(servers)?
        })
    }

    /// Makes a request, and says what the cascade did if there is one.
    pub(crate) async fn call(&self, request: u64) -> Result<Option<CascadeOutcome<3>>, Failure> {
        let (answer, outcome) = match &self.cascade {
            None => (self.ask(&self.models[0], request).await?, None),
            Some(cascade) => {
                let models = self.models.each_ref();
                let asks = models.map(|model| move || self.ask(model, request));
                let answer = cascade.request(asks).await?;
                (answer.value, Some(answer.outcome))
            }
        };
        if answer.request == request {
            Ok(outcome)
        } else {
            let other = answer.request;
            Err(format!("request {request} was given the answer to request {other}").into())
        }
    }

    async fn ask(&self, model: &str, request: u64) -> reqwest::Result<Answer> {
        self.http
            .get(format!("{model}/{request}"))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }
}
