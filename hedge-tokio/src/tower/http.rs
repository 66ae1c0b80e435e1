//! The policy for HTTP.

use hedge_core::{Attempt, Outcome, Verdict};
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::first_data::head_latency;
use super::retry_after::retry_after;
use super::{Policy, RequestOptions, idempotency};

/// Hedges HTTP requests that [`may_hedge`] allows and whose body can be cloned.
///
/// Responses are classified by [`verdict`]. The response that is returned has the [`Outcome`] in its extensions.
///
/// Errors and the statuses 408, 429 and 5xx count as failures of the [replica](super::HedgeReplicas) that they came from,
/// whatever the verdict: a replica that answers 501 at once is not a fast one.
///
/// A request can carry its options: a [`RequestOptions`] in its extensions.
///
/// A response that was refused is dropped before the next attempt is sent, which releases its connection. If all
/// responses are refused, the last one is returned.
///
/// ```
/// use hedge_tokio::tower::HttpPolicy;
///
/// // The server treats a `DELETE` of what is gone as a success, and knows idempotency keys.
/// let policy = HttpPolicy::new().deletes(true).idempotency_keys(true);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpPolicy {
    deletes: bool,
    idempotency_keys: bool,
    /// Whether an idempotency key makes the request idempotent.
    has_key: bool,
}

impl HttpPolicy {
    /// Creates the policy with its default options.
    pub const fn new() -> Self {
        Self {
            deletes: false,
            idempotency_keys: false,
            has_key: false,
        }
    }

    /// Sets whether `DELETE` is hedged. Default: false. If an attempt took effect and its response is late, the response
    /// to another one may be 404.
    pub const fn deletes(mut self, deletes: bool) -> Self {
        self.deletes = deletes;
        self
    }

    /// Sets whether `POST` and `PATCH` are hedged, with the same `Idempotency-Key` in all attempts of a request. Default:
    /// false.
    ///
    /// The server must support such keys, and answer each request with the result of the first one that had the same
    /// key. A request without the header gets a random UUID in quotes. If a hedge is answered with 409, the server
    /// still processes an earlier attempt, so the request waits for that.
    pub const fn idempotency_keys(mut self, keys: bool) -> Self {
        self.idempotency_keys = keys;
        self
    }

    /// Adds the headers that all attempts of a request share. Returns the policy for that request.
    pub(crate) fn prepared(mut self, method: &Method, headers: &mut HeaderMap) -> Self {
        self.has_key = self.idempotency_keys && idempotency::takes_key(method);
        if self.has_key {
            idempotency::add_key(headers);
        }
        self
    }

    /// Returns whether `status` means that the server still processes an earlier attempt with the same key.
    pub(crate) fn is_processed(&self, attempt: &Attempt, status: StatusCode) -> bool {
        self.has_key && attempt.is_hedge() && status == StatusCode::CONFLICT
    }

    /// Returns whether a request may be sent more than once.
    pub(crate) fn allows(&self, method: &Method, headers: &HeaderMap) -> bool {
        may_hedge(method, headers)
            || !is_upgrade(headers)
                && ((self.deletes && method == Method::DELETE && !is_conditional(headers))
                    || (self.idempotency_keys && idempotency::takes_key(method)))
    }
}

impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for HttpPolicy {
    fn for_request(&self, request: &mut Request<B>) -> Self {
        let method = request.method().clone();
        self.prepared(&method, request.headers_mut())
    }

    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        self.allows(request.method(), request.headers())
            .then(|| request.clone())
    }

    fn options<'r>(&self, request: &'r Request<B>) -> RequestOptions<'r> {
        RequestOptions::of(request).or_keep_refused(false)
    }

    fn classify(&self, result: &Result<Response<C>, E>) -> Verdict {
        match result {
            Ok(response) => verdict(response.status(), response.headers()),
            Err(_) => Verdict::Retry,
        }
    }

    fn classify_attempt(&self, attempt: &Attempt, result: &Result<Response<C>, E>) -> Verdict {
        match result {
            Ok(response) if self.is_processed(attempt, response.status()) => Verdict::Wait,
            _ => Policy::<Request<B>, _, _>::classify(self, result),
        }
    }

    fn blames_replica(&self, _: &Attempt, result: &Result<Response<C>, E>, _: Verdict) -> bool {
        let response = result.as_ref();
        response.map_or(true, |response| blames_server(response.status()))
    }

    fn answered(&self, response: &mut Response<C>, outcome: &Outcome) {
        let mut outcome = *outcome;
        outcome.head_latency = head_latency(response.extensions(), &outcome);
        response.extensions_mut().insert(outcome);
    }
}

/// Returns whether a response with this status is the fault of the server that sent it, and no word about the request:
/// 408, 429 or 5xx.
pub(crate) const fn blames_server(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500..=599)
}

/// Returns whether a request may be sent more than once: its method is idempotent, other than `DELETE`, and it asks
/// for no upgrade, such as to a WebSocket.
///
/// A `PUT` with `If-Match`, `If-None-Match` or `If-Unmodified-Since` is sent once: when it has taken effect, its
/// condition is no longer true, so that a second attempt would be answered with 412.
///
/// Servers may violate the semantics of a method. A hedge of a `PUT` may also arrive after a later `PUT`.
///
/// ```
/// use hedge_tokio::tower::may_hedge;
/// use http::{HeaderMap, Method};
///
/// assert!(may_hedge(&Method::GET, &HeaderMap::new()));
/// assert!(!may_hedge(&Method::POST, &HeaderMap::new()));
/// ```
pub fn may_hedge(method: &Method, headers: &HeaderMap) -> bool {
    is_idempotent(method)
        && *method != Method::DELETE
        && !is_upgrade(headers)
        && (method.is_safe() || !is_conditional(headers))
}

/// Returns whether requests with this method are idempotent (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Returns whether the request has a precondition on the resource that it modifies.
fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Classifies a response by its status and headers.
///
/// | status | verdict |
/// |---|---|
/// | 425, 429, 5xx | [`Retry`](Verdict::Retry), or what `Retry-After` says |
/// | 501, 505, 511 | [`Fatal`](Verdict::Fatal): another attempt would have the same answer |
/// | any other | [`Accept`](Verdict::Accept) |
///
/// `Retry-After` is a number of seconds or a date (RFC 9110). A date is compared with the `Date` of the response, or
/// with the system time if it has none. If the header cannot be read, no further attempt is started
/// ([`Wait`](Verdict::Wait)).
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
/// headers.insert("retry-after", "soon".parse()?);
/// assert_eq!(verdict(StatusCode::TOO_MANY_REQUESTS, &headers), Verdict::Wait);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status {
        StatusCode::NOT_IMPLEMENTED
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED
        | StatusCode::NETWORK_AUTHENTICATION_REQUIRED => Verdict::Fatal,
        StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => retry_after(headers),
        _ if status.is_server_error() => retry_after(headers),
        _ => Verdict::Accept,
    }
}
