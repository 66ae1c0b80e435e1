//! The client: where hedging goes into a program that reads streams.

use std::io;

use hedge_tokio::{Hedger, Outcome};

use crate::Failure;
use crate::completion::{Chunk, CompletionRequest, DONE, Message};
use crate::events::Events;
use crate::provider::Provider;

/// Asks the providers, with or without hedging.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoints: Vec<String>,
    hedger: Option<Hedger>,
}

/// An answer that has begun.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) tokens: Tokens,
    /// What hedging did, if there was any.
    pub(crate) outcome: Option<Outcome>,
}

impl Client {
    /// A client that shares no connections with others.
    pub(crate) fn new(providers: &[Provider], hedger: Option<Hedger>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            // Ignore proxies that the environment names: all servers are on loopback.
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        let endpoint =
            |provider: &Provider| format!("http://{}/v1/chat/completions", provider.address());
        Ok(Self {
            http,
            endpoints: providers.iter().map(endpoint).collect(),
            hedger,
        })
    }

    /// Waits for the first token of the answer to a request.
    pub(crate) async fn complete(&self, request: u64, max_tokens: u32) -> Result<Answer, Failure> {
        let Some(hedger) = &self.hedger else {
            let tokens = self.begin(request, max_tokens, 0).await?;
            return Ok(Answer {
                tokens,
                outcome: None,
            });
        };
        let hedged = hedger
            .request(|attempt| self.begin(request, max_tokens, attempt.index()))
            .await?;
        Ok(Answer {
            tokens: hedged.value,
            outcome: Some(hedged.outcome),
        })
    }

    /// The provider that an attempt asks. Requests take turns over them; a hedge asks the next.
    pub(crate) fn provider(&self, request: u64, attempt: usize) -> usize {
        (request as usize + attempt) % self.endpoints.len()
    }

    /// One attempt, which is over when the first token is there. The response's head says nothing: a
    /// provider sends it before it has an answer.
    async fn begin(&self, request: u64, max_tokens: u32, attempt: usize) -> io::Result<Tokens> {
        let body = CompletionRequest {
            model: "gpt-4".to_owned(),
            messages: vec![Message {
                role: "user".to_owned(),
                content: "What does hedging do?".to_owned(),
            }],
            stream: true,
            max_tokens,
            seed: request,
        };
        let response = self
            .http
            .post(&self.endpoints[self.provider(request, attempt)])
            .json(&body)
            .send()
            .await
            .and_then(|response| response.error_for_status())
            .map_err(io::Error::other)?;
        let mut tokens = Tokens {
            first: None,
            events: Events::new(response),
        };
        let Some(first) = tokens.next().await? else {
            // An answer of nothing is none: it must not win.
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        tokens.first = Some(first);
        Ok(tokens)
    }
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The id of the stream it came in.
    pub(crate) stream: String,
    pub(crate) text: String,
}

/// The tokens of one stream. The connection is closed if this is dropped before the end.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The first one, until it is taken again.
    first: Option<Token>,
    events: Events,
}

impl Tokens {
    /// The next token, or nothing at the end of the answer.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Token>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(data) = self.events.next().await? {
            if data == DONE {
                // Read to its end, so that its connection can be used again.
                while self.events.next().await?.is_some() {}
                return Ok(None);
            }
            let chunk: Chunk = serde_json::from_str(&data)?;
            let [choice] = chunk.choices;
            if !choice.delta.content.is_empty() {
                return Ok(Some(Token {
                    stream: chunk.id,
                    text: choice.delta.content,
                }));
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
