//! The client: where hedging goes into a program that reads streams.

use core::pin::Pin;
use std::io;

use futures_lite::{Stream, StreamExt};
use hedge_tokio::stream::NonEmpty;
use hedge_tokio::{Error, Hedger};
use sse_stream::{Sse, SseByteStream};

use crate::completion::{Chunk, CompletionRequest, DONE, Message};
use crate::provider::Provider;

/// What an attempt has answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnsweredBy {
    /// The head of its response.
    Head,
    /// The first token.
    FirstToken,
}

/// Asks the providers.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoints: Vec<String>,
    hedger: Hedger,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The id of the stream it came in.
    pub(crate) stream: String,
    pub(crate) text: String,
}

/// The tokens of one stream. The connection is closed if this is dropped before the end.
pub(crate) type Tokens = Pin<Box<dyn Stream<Item = io::Result<Token>> + Send>>;

impl Client {
    /// Asks for a completion, and returns its tokens.
    ///
    /// For `FirstToken` this is all that a program needs: the stream whose first token comes first is returned, with
    /// that token in front, and the other's connection is closed.
    pub(crate) async fn complete(
        &self,
        request: u64,
        max_tokens: u32,
        answered_by: AnsweredBy,
    ) -> Result<Tokens, Error<io::Error>> {
        let open = |attempt: hedge_tokio::Attempt| self.open(request, max_tokens, attempt.index());
        Ok(match answered_by {
            // An answer without a token is none.
            AnsweredBy::FirstToken => {
                let call = self.hedger.call().classify(NonEmpty);
                Box::pin(call.stream(open).await?.value)
            }
            AnsweredBy::Head => self.hedger.request(open).await?.value,
        })
    }

    /// One attempt: opens a stream of tokens.
    async fn open(&self, request: u64, max_tokens: u32, attempt: usize) -> io::Result<Tokens> {
        let url = &self.endpoints[self.provider(request, attempt)];
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
        let response = self.http.post(url).json(&body).send().await;
        let response = response.and_then(|response| response.error_for_status());
        let bytes = response.map_err(io::Error::other)?.bytes_stream();
        Ok(Box::pin(SseByteStream::new(bytes).filter_map(token)))
    }

    /// A client that shares no connections with others.
    pub(crate) fn new(providers: &[Provider], hedger: Hedger) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            // A proxy named by the environment has no business on loopback.
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

    /// The provider that an attempt asks. Requests take turns over them; a hedge asks the next.
    pub(crate) fn provider(&self, request: u64, attempt: usize) -> usize {
        (request as usize + attempt) % self.endpoints.len()
    }

    pub(crate) const fn hedger(&self) -> &Hedger {
        &self.hedger
    }
}

/// The token of an event; `None` if it has none.
fn token(event: Result<Sse, sse_stream::Error>) -> Option<io::Result<Token>> {
    let data = match event {
        Ok(event) => event.data.filter(|data| data != DONE)?,
        Err(error) => return Some(Err(io::Error::other(error))),
    };
    match serde_json::from_str(&data) {
        Ok(Chunk { id, choices, .. }) => {
            let [choice] = choices;
            let text = choice.delta.content;
            (!text.is_empty()).then_some(Ok(Token { stream: id, text }))
        }
        Err(error) => Some(Err(error.into())),
    }
}
