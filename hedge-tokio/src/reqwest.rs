//! Hedging as a middleware of reqwest 0.13, for the crate `reqwest-middleware` 0.5 (feature `reqwest-middleware`).
//!
//! ```
//! use hedge_tokio::reqwest::HedgeMiddleware;
//! use hedge_tokio::{Budget, Hedger, Percentile};
//! use reqwest_middleware::ClientBuilder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hedger = Hedger::builder().strategy(Percentile::new(95.0)).budget(Budget::percent(10.0)).build()?;
//! let client = ClientBuilder::new(reqwest::Client::new())
//!     .with(HedgeMiddleware::new(hedger).hedges_through(reqwest::Client::new()))
//!     .build();
//! let response = client.get("http://localhost/users");
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! * [`HttpPolicy`] decides what is hedged and what a response means.
//! * Options of one request are a [`RequestOptions`] in its extensions: `RequestBuilder::with_extension`.
//! * The [`Outcome`] is in the extensions of the response.
//! * A request whose body is a stream cannot be sent twice, and is not hedged.
//! * Put the middleware first. Middlewares that come after it see each attempt; those before it see the request once.
//!   Do not use a middleware that retries: an error starts the next attempt within the budget.
//! * The timeout of a request in reqwest applies to each attempt.

use core::pin::pin;
use core::task::{Context, Poll};

use ::reqwest::{Request, Response};
use ::reqwest_middleware::{ClientWithMiddleware, Error, Middleware, Next, Result};
use async_trait::async_trait;
use futures_core::future::BoxFuture;
use hedge_core::{Attempt, Verdict};
use http::Extensions;
use tower_service::Service;

use crate::tower::request::{self, Shared};
use crate::tower::{HttpPolicy, Policy, RequestOptions, blames_server, verdict};
use crate::{Hedger, Outcome};

/// A middleware that hedges the requests of a client.
///
/// See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct HedgeMiddleware {
    hedger: Hedger,
    policy: HttpPolicy,
    sibling: Option<ClientWithMiddleware>,
}

impl HedgeMiddleware {
    /// Creates a middleware that hedges with `hedger` the requests that [`HttpPolicy::new`] allows.
    pub const fn new(hedger: Hedger) -> Self {
        Self {
            hedger,
            policy: HttpPolicy::new(),
            sibling: None,
        }
    }

    /// Sets the policy, which decides which requests are hedged.
    pub const fn policy(mut self, policy: HttpPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sends hedges through `sibling`, a client with separate connections, so that a hedge does not wait for the
    /// connection on which its primary is stuck. Hedges pass only the middlewares of the sibling.
    pub fn hedges_through(mut self, sibling: impl Into<ClientWithMiddleware>) -> Self {
        self.sibling = Some(sibling.into());
        self
    }

    /// Returns the hedger.
    pub const fn hedger(&self) -> &Hedger {
        &self.hedger
    }
}

#[async_trait]
impl Middleware for HedgeMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let mut sent = Sent {
            request,
            extensions: extensions.clone(),
        };
        let shared = Shared::new(&self.hedger, &ByHttp(self.policy), &mut sent);
        let mut spare = shared.if_hedged(|| match &self.sibling {
            Some(sibling) => Through::Sibling(sibling.clone()),
            None => Through::Rest(next.clone()),
        });
        let mut primary = Some(request::Next::primary(sent, Through::Rest(next), true));
        let (attempts, spare, primary) = (&shared, &mut spare, &mut primary);
        let call = pin!(attempts.call().request_if(
            move |_| attempts.is_ready(|| spare.clone()),
            |attempt| attempts.launch(attempt, primary.take()),
        ));
        match attempts.answer(call).await {
            Ok(answer) => {
                *extensions = answer.extensions;
                Ok(answer.response)
            }
            Err(error) => Err(match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::middleware(Wrapped(error)),
            }),
        }
    }
}

/// A request with the extensions that middlewares see.
struct Sent {
    request: Request,
    extensions: Extensions,
}

/// A response with the extensions that middlewares have set.
struct Answer {
    response: Response,
    extensions: Extensions,
}

/// Where an attempt is sent.
#[derive(Clone)]
enum Through<'a> {
    /// The middlewares that come next, and the client.
    Rest(Next<'a>),
    Sibling(ClientWithMiddleware),
}

impl<'a> Service<Sent> for Through<'a> {
    type Response = Answer;
    type Error = Error;
    type Future = BoxFuture<'a, Result<Answer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, sent: Sent) -> Self::Future {
        let through = self.clone();
        Box::pin(async move {
            let Sent {
                request,
                mut extensions,
            } = sent;
            let response = match through {
                Self::Rest(next) => next.run(request, &mut extensions).await?,
                Self::Sibling(client) => {
                    client
                        .execute_with_extensions(request, &mut extensions)
                        .await?
                }
            };
            Ok(Answer {
                response,
                extensions,
            })
        })
    }
}

/// [`HttpPolicy`] for the types of reqwest.
#[derive(Clone)]
struct ByHttp(HttpPolicy);

impl Policy<Sent, Answer, Error> for ByHttp {
    fn for_request(&self, sent: &mut Sent) -> Self {
        let method = sent.request.method().clone();
        Self(self.0.prepared(&method, sent.request.headers_mut()))
    }

    fn copy(&self, sent: &Sent) -> Option<Sent> {
        let Sent {
            request,
            extensions,
        } = sent;
        if !self.0.allows(request.method(), request.headers()) {
            return None;
        }
        Some(Sent {
            request: request.try_clone()?,
            extensions: extensions.clone(),
        })
    }

    fn options<'r>(&self, sent: &'r Sent) -> RequestOptions<'r> {
        let options = sent.extensions.get::<RequestOptions<'static>>();
        let options = options.map_or_else(RequestOptions::new, RequestOptions::borrowed);
        options.or_keep_refused(false)
    }

    fn classify(&self, result: &Result<Answer>) -> Verdict {
        match result {
            Ok(Answer { response, .. }) => verdict(response.status(), response.headers()),
            Err(_) => Verdict::Retry,
        }
    }

    fn classify_attempt(&self, attempt: &Attempt, result: &Result<Answer>) -> Verdict {
        match result {
            Ok(Answer { response, .. }) if self.0.is_processed(attempt, response.status()) => {
                Verdict::Wait
            }
            _ => self.classify(result),
        }
    }

    fn blames_replica(&self, _: &Attempt, result: &Result<Answer>, _: Verdict) -> bool {
        let answer = result.as_ref();
        answer.map_or(true, |answer| blames_server(answer.response.status()))
    }

    fn answered(&self, answer: &mut Answer, outcome: &Outcome) {
        answer.response.extensions_mut().insert(*outcome);
    }
}

/// An error of the hedger, such as a timeout.
#[derive(Debug)]
struct Wrapped(hedge_core::BoxError);

impl core::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source()
    }
}
