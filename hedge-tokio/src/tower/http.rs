//! The policy for HTTP.

use core::time::Duration;

use hedge_core::{Outcome, Verdict};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::{Policy, RequestOptions};

/// Hedges HTTP requests with an idempotent method and a body that can be cloned.
///
/// Responses with 5xx and 429 are failures, and their `Retry-After` is used as pushback. The
/// response that is returned has the [`Outcome`] in its extensions.
///
/// A request can have options of its own: [`RequestOptions`] in its extensions.
///
/// If every attempt has such a response, the earliest one is returned, which is what the caller
/// would have received without hedging.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpPolicy;

impl HttpPolicy {
    /// Creates the policy.
    pub const fn new() -> Self {
        Self
    }
}

impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for HttpPolicy {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        is_idempotent(request.method()).then(|| request.clone())
    }

    fn options<'r>(&self, request: &'r Request<B>) -> RequestOptions<'r> {
        let options = request.extensions().get::<RequestOptions<'static>>();
        options.map_or_else(RequestOptions::new, RequestOptions::borrowed)
    }

    fn classify(&self, result: &Result<Response<C>, E>) -> Verdict {
        match result {
            Ok(response) => verdict(response.status(), response.headers()),
            Err(_) => Verdict::Retry,
        }
    }

    fn answered(&self, response: &mut Response<C>, outcome: &Outcome) {
        response.extensions_mut().insert(*outcome);
    }
}

/// Returns whether requests with this method are idempotent (RFC 9110, section 9.2.2).
///
/// Servers may not comply with that. A `PUT` that is hedged may also arrive after a later one.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Classifies a response by its status and headers.
///
/// 5xx and 429 are failures, with pushback if there is a `Retry-After` in seconds. A `Retry-After`
/// with a date is ignored, since it would require the time of day.
///
/// ```
/// use core::time::Duration;
/// use hedge_tokio::Verdict;
/// use hedge_tokio::tower::verdict;
/// use http::{HeaderMap, StatusCode};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(verdict(StatusCode::NOT_FOUND, &headers), Verdict::Accept);
/// assert_eq!(verdict(StatusCode::BAD_GATEWAY, &headers), Verdict::Retry);
///
/// headers.insert("retry-after", "2".parse()?);
/// let patience = Verdict::RetryAfter(Duration::from_secs(2));
/// assert_eq!(verdict(StatusCode::TOO_MANY_REQUESTS, &headers), patience);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Verdict::Accept;
    }
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    match seconds.and_then(|seconds| seconds.trim().parse().ok()) {
        Some(seconds) => Verdict::RetryAfter(Duration::from_secs(seconds)),
        None => Verdict::Retry,
    }
}
