//! The policy for gRPC.

use core::time::Duration;
use std::sync::Arc;

use hedge_core::{Attempt, Outcome, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::code::Codes;
use super::reply::Reply;
use super::service_config::{self, Hedging};
use super::timeout::{set_timeout, timeout};
use super::{Code, ServiceConfigError};
use crate::tower::{Policy, RequestOptions};

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// A policy that hedges gRPC calls to the methods that it lists.
///
/// | a reply | verdict |
/// |---|---|
/// | `OK` | [`Accept`](Verdict::Accept) |
/// | a code that is not fatal: `UNAVAILABLE` and `RESOURCE_EXHAUSTED`, or what [`non_fatal`](Self::non_fatal) says | [`Retry`](Verdict::Retry), or what `grpc-retry-pushback-ms` says |
/// | an error of the call itself, such as `NOT_FOUND` | [`Accept`](Verdict::Accept) |
/// | any other code | [`Fatal`](Verdict::Fatal) |
/// | none, since the connection failed | as `UNAVAILABLE` |
///
/// `UNKNOWN`, `RESOURCE_EXHAUSTED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and a failed connection count
/// as failures of the [replica](crate::tower::HedgeReplicas) that they came from, whether they are fatal or not.
///
/// The `grpc-timeout` of a call is its time limit, and each attempt is sent with the time that remains. A hedge states
/// in `grpc-previous-rpc-attempts` how many attempts were sent before it.
///
/// Latencies are learned separately for each method: its path is the [key](RequestOptions::key), unless the request has
/// another one.
///
/// ```
/// use hedge_tokio::grpc::{Code, GrpcPolicy};
///
/// let policy = GrpcPolicy::new()
///     .unary("/catalog.Lookup/Get")
///     .streaming("/catalog.Lookup/Watch")
///     .unary("/catalog.Search/") // all methods of the service
///     .non_fatal([Code::Unavailable, Code::Aborted]);
/// ```
#[derive(Clone, Debug)]
pub struct GrpcPolicy {
    rules: Arc<Rules>,
    /// The index of this request's rule; `None` before there is a request, and for a request that must not be hedged.
    rule: Option<usize>,
}

#[derive(Clone, Debug)]
struct Rules {
    rules: Vec<Rule>,
    /// The paths that a service config lists without a `hedgingPolicy`.
    unhedged: Vec<String>,
    non_fatal: Codes,
}

/// The rule of some methods.
#[derive(Clone, Debug)]
struct Rule {
    paths: Vec<String>,
    is_unary: bool,
    /// The non-fatal codes; `None` for those of the policy.
    non_fatal: Option<Codes>,
    max_hedges: u8,
    timeout: Option<Duration>,
    /// The hedge delay; `None` if the hedger decides.
    hedging_delay: Option<Duration>,
}

impl Rule {
    fn from_config(paths: Vec<String>, hedging: Hedging) -> Self {
        Self {
            paths,
            is_unary: false,
            non_fatal: Some(hedging.non_fatal),
            max_hedges: hedging.max_attempts - 1,
            timeout: hedging.timeout,
            hedging_delay: Some(hedging.hedging_delay),
        }
    }
}

/// Marks a request that may be hedged with what its response waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    FirstMessage,
    Whole,
}

impl GrpcPolicy {
    /// Creates a policy that hedges no method.
    pub fn new() -> Self {
        let non_fatal = [Code::Unavailable, Code::ResourceExhausted];
        Self {
            rules: Arc::new(Rules {
                rules: Vec::new(),
                unhedged: Vec::new(),
                non_fatal: non_fatal.into_iter().collect(),
            }),
            rule: None,
        }
    }

    /// Creates a policy that hedges calls to the methods that have a `hedgingPolicy` in a service config in JSON:
    /// `maxAttempts`, `nonFatalStatusCodes` and the `timeout` of the method apply. The most specific name applies. If
    /// it has no `hedgingPolicy`, its methods are not hedged, even if a broader name has one.
    ///
    /// The `hedgingDelay` applies only if [`GrpcLayer::from_service_config`](super::GrpcLayer::from_service_config)
    /// creates the hedgers.
    ///
    /// ```
    /// use hedge_tokio::grpc::GrpcPolicy;
    ///
    /// let policy = GrpcPolicy::from_service_config(r#"{
    ///     "methodConfig": [{
    ///         "name": [{ "service": "catalog.Lookup", "method": "Get" }],
    ///         "hedgingPolicy": { "maxAttempts": 2, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["UNAVAILABLE"] }
    ///     }]
    /// }"#)?;
    /// # Ok::<(), hedge_tokio::grpc::ServiceConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the path of the first invalid value, and what is valid. Fields that do not concern hedging are ignored.
    /// `retryThrottling` is one of them, since the hedger's budget replaces it.
    pub fn from_service_config(json: &str) -> Result<Self, ServiceConfigError> {
        let methods = service_config::read(json)?;
        let mut policy = Self::new();
        let rules = Arc::make_mut(&mut policy.rules);
        for method in methods {
            match method.hedging {
                Some(hedging) => rules.rules.push(Rule::from_config(method.paths, hedging)),
                None => rules.unhedged.extend(method.paths),
            }
        }
        Ok(policy)
    }

    /// Hedges unary calls to `path`: a method, `/package.Service/Method`, or all of a service, `/package.Service/`. An
    /// attempt has answered when its whole response has come.
    ///
    /// The request of such a method is one message, and is sent once it has been read to its end. Under the name of a
    /// service, or that of a [streaming](Self::streaming) method, a request may be a stream: see
    /// [`GrpcLayer`](super::GrpcLayer).
    pub fn unary(self, path: &str) -> Self {
        self.with(path, true)
    }

    /// Hedges calls to `path` whose response is a stream. An attempt has answered when its first message has come.
    pub fn streaming(self, path: &str) -> Self {
        self.with(path, false)
    }

    fn with(mut self, path: &str, is_unary: bool) -> Self {
        Arc::make_mut(&mut self.rules).rules.push(Rule {
            paths: vec![path.to_owned()],
            is_unary,
            non_fatal: None,
            max_hedges: u8::MAX,
            timeout: None,
            hedging_delay: None,
        });
        self
    }

    /// Sets the codes after which another attempt is sent, for all methods that are not from a service config.
    pub fn non_fatal(mut self, codes: impl IntoIterator<Item = Code>) -> Self {
        Arc::make_mut(&mut self.rules).non_fatal = codes.into_iter().collect();
        self
    }

    /// Returns the index of the rule for `path`: that of the method, else that of its service, else that for all. The
    /// first of these that is listed applies; `None` if the call must not be hedged.
    pub(super) fn rule_for(&self, path: &str) -> Option<usize> {
        let service = path.rfind('/').and_then(|end| path.get(..=end));
        let names = [Some(path), service, Some("/")];
        let Rules {
            rules, unhedged, ..
        } = &*self.rules;
        let mut named = names.into_iter().flatten().filter_map(|name| {
            let is_named = |paths: &[String]| paths.iter().any(|path| path == name);
            let rule = rules.iter().position(|rule| is_named(&rule.paths));
            (rule.is_some() || is_named(unhedged)).then_some(rule)
        });
        named.next().flatten()
    }

    /// Returns `maxAttempts` − 1 and the `hedgingDelay` of each rule that has them.
    pub(super) fn hedging(&self) -> impl Iterator<Item = (u8, Duration)> {
        let rules = self.rules.rules.iter();
        rules.filter_map(|rule| Some((rule.max_hedges, rule.hedging_delay?)))
    }

    fn rule(&self) -> Option<&Rule> {
        self.rules.rules.get(self.rule?)
    }

    /// Returns the time limit of a call with these headers; `None` if it has none.
    pub(super) fn timeout(&self, rule: usize, headers: &HeaderMap) -> Option<Duration> {
        let of_rule = self.rules.rules.get(rule).and_then(|rule| rule.timeout);
        [timeout(headers), of_rule].into_iter().flatten().min()
    }

    /// Returns whether the requests of a rule may be streams: it names no single method that is known to be unary.
    pub(super) fn may_stream(&self, rule: usize) -> bool {
        let is_method = |path: &String| !path.ends_with('/');
        let rule = self.rules.rules.get(rule);
        rule.is_none_or(|rule| !rule.is_unary || !rule.paths.iter().all(is_method))
    }

    fn reply_verdict(&self, reply: Reply) -> Verdict {
        let of_rule = self.rule().and_then(|rule| rule.non_fatal);
        reply.verdict(of_rule.unwrap_or(self.rules.non_fatal))
    }
}

impl Default for GrpcPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for GrpcPolicy {
    fn for_request(&self, request: &mut Request<B>) -> Self {
        let policy = Self {
            rules: self.rules.clone(),
            rule: self.rule_for(request.uri().path()),
        };
        // Responses to calls that are sent once are not held back: a stream may depend on them.
        let hold = policy
            .rule()
            .filter(|_| RequestOptions::of(request).may_hedge())
            .map(|rule| match rule.is_unary {
                true => Hold::Whole,
                false => Hold::FirstMessage,
            });
        match hold {
            Some(hold) => drop(request.extensions_mut().insert(hold)),
            None => drop(request.extensions_mut().remove::<Hold>()),
        }
        policy
    }

    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        self.rule.is_some().then(|| request.clone())
    }

    fn options<'r>(&self, request: &'r Request<B>) -> RequestOptions<'r> {
        let options = RequestOptions::of(request);
        let (Some(rule), Some(index)) = (self.rule(), self.rule) else {
            return options.unhedged();
        };
        let options = options
            .at_most_hedges(rule.max_hedges)
            .or_key(request.uri().path());
        match self.timeout(index, request.headers()) {
            Some(timeout) => options.within(timeout),
            None => options,
        }
    }

    fn prepare(&self, request: &mut Request<B>, attempt: Attempt) {
        let headers = request.headers_mut();
        // A call that is not hedged may have a shorter timeout than its options.
        if let Some(remaining) = attempt.remaining()
            && timeout(headers).is_none_or(|known| remaining <= known)
        {
            set_timeout(headers, remaining);
        }
        if attempt.is_hedge() {
            let previous = HeaderValue::from(attempt.index());
            let _ = headers.try_insert(PREVIOUS_ATTEMPTS, previous);
        }
    }

    fn classify(&self, result: &Result<Response<C>, E>) -> Verdict {
        self.reply_verdict(reply(result))
    }

    fn blames_replica(&self, _: &Attempt, result: &Result<Response<C>, E>, _: Verdict) -> bool {
        reply(result).blames_server()
    }

    fn answered(&self, response: &mut Response<C>, outcome: &Outcome) {
        response.extensions_mut().insert(*outcome);
    }
}

/// Returns what an attempt was answered with, as far as it is known.
fn reply<C, E>(result: &Result<Response<C>, E>) -> Reply {
    match result {
        Err(_) => Reply::missing(Code::Unavailable),
        Ok(response) => {
            let read = response.extensions().get::<Reply>().copied();
            read.or_else(|| Reply::from_headers(response.status(), response.headers()))
                .unwrap_or(Reply::MESSAGE)
        }
    }
}
