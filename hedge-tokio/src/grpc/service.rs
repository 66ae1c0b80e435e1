//! The layer for clients of gRPC.

use core::cmp::Ordering;
use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::slice;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::sync::Arc;

use hedge_core::{BoxError, Fixed, Off};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use super::attempts::PREFIX;
use super::{Code, GrpcAttempts, GrpcBody, GrpcPolicy, LIMIT};
use crate::tower::{
    HedgeService, ReplayBody, ReplayFuture, ReplayLayer, RequestOptions, ResponseFuture, Stage,
    TimedOut,
};
use crate::{Hedger, SharedBudget};

/// A layer that hedges gRPC calls. It belongs between the generated client and the channel.
///
/// ```
/// use hedge_tokio::Hedger;
/// use hedge_tokio::grpc::{GrpcLayer, GrpcPolicy};
/// use tonic::{body::Body, client::Grpc, transport::Endpoint};
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let policy = GrpcPolicy::new().unary("/catalog.Lookup/Get");
/// let layer = GrpcLayer::new(Hedger::builder().build()?, policy, Body::new);
/// let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
/// let hedged = ServiceBuilder::new().layer(layer).service(channel);
/// let client = Grpc::new(hedged); // or the generated LookupClient::new(hedged)
/// # let mut client = client;
/// # client.ready().await?;
/// # Ok(())
/// # }
/// ```
///
/// It reads the bodies of requests that may be hedged into memory, sends the attempts, and waits for the status or the
/// first message of each: see [`GrpcPolicy`] and [`GrpcAttempts`]. A call that runs out of time ends in
/// `DEADLINE_EXCEEDED`; its time starts with the call, before its request is read. So does the timeout in its
/// [`RequestOptions`]. The [`Outcome`](crate::Outcome) is in the extensions of the response.
///
/// The request of a method that is not named as [unary](GrpcPolicy::unary) may be a stream. It is treated as one when its
/// second message starts, or when nothing comes for 10 ms at a point where a message could start. It is then forwarded
/// without buffering the rest, and not hedged.
#[derive(Clone, Debug)]
pub struct GrpcLayer<F> {
    hedgers: Hedgers,
    policy: GrpcPolicy,
    into_body: F,
    limit: usize,
}

impl<F> GrpcLayer<F> {
    /// Creates a layer that hedges with `hedger` the calls that `policy` allows.
    ///
    /// `into_body` makes the body that the channel takes: `tonic::body::Body::new`.
    pub fn new(hedger: Hedger, policy: GrpcPolicy, into_body: F) -> Self {
        Self {
            hedgers: Hedgers {
                other: hedger,
                by_rule: Arc::new([]),
            },
            policy,
            into_body,
            limit: LIMIT,
        }
    }

    /// Creates a layer that hedges according to a service config in JSON: each `hedgingPolicy` has a hedger with its
    /// `hedgingDelay`. All hedgers share `budget`.
    ///
    /// The server sees as many attempts as from other clients with the same service config, except that
    ///
    /// - a call has at most four attempts, not five;
    /// - later hedges are due at multiples of the `hedgingDelay` from the start of the call, even if a failure started
    ///   one early;
    /// - pushback delays every later attempt, also those that the `hedgingDelay` would start (unlike in the npm
    ///   client);
    /// - if all attempts fail, the call ends with the status of the first;
    /// - the budget takes the place of `retryThrottling`;
    /// - the headers of a response are not an answer: an attempt has answered with its status or its first message.
    ///
    /// ```
    /// use hedge_tokio::grpc::GrpcLayer;
    /// use hedge_tokio::{Budget, SharedBudget};
    /// use tonic::{body::Body, client::Grpc, transport::Endpoint};
    /// use tower::ServiceBuilder;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let config = r#"{
    ///     "methodConfig": [{
    ///         "name": [{ "service": "catalog.Lookup" }],
    ///         "hedgingPolicy": { "maxAttempts": 3, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["UNAVAILABLE"] }
    ///     }]
    /// }"#;
    /// let budget = SharedBudget::new(Budget::percent(10.0));
    /// let layer = GrpcLayer::from_service_config(config, budget, Body::new)?;
    /// let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
    /// let client = Grpc::new(ServiceBuilder::new().layer(layer).service(channel));
    /// # let mut client = client;
    /// # client.ready().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the first invalid value of the service config, or an option of the budget that allows more hedges than a
    /// call may have.
    pub fn from_service_config(
        json: &str,
        budget: SharedBudget,
        into_body: F,
    ) -> Result<Self, BoxError> {
        let policy = GrpcPolicy::from_service_config(json)?;
        let hedgers = policy.hedging().map(|(max_hedges, delay)| {
            Hedger::builder()
                .strategy(Fixed::new(delay))
                .max_hedges(max_hedges.clamp(1, MAX_HEDGES))
                .shared_budget(budget.clone())
                .build()
        });
        let by_rule = hedgers.collect::<Result<_, _>>()?;
        // This hedger counts the calls that may not be hedged.
        let other = Hedger::builder()
            .strategy(Off)
            .shared_budget(budget)
            .build()?;
        Ok(Self {
            hedgers: Hedgers { other, by_rule },
            policy,
            into_body,
            limit: LIMIT,
        })
    }

    /// Sets how many bytes of a request are read into memory, and of a response before the attempt has answered. Default:
    /// 64 KiB. A longer request is not hedged.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Returns the hedgers of the service config, one for each `hedgingPolicy` in order, or the one hedger with which
    /// the layer was created.
    pub fn hedgers(&self) -> &[Hedger] {
        match &*self.hedgers.by_rule {
            [] => slice::from_ref(&self.hedgers.other),
            hedgers => hedgers,
        }
    }
}

#[derive(Clone, Debug)]
struct Hedgers {
    /// The hedgers by the index of the policy's rule; empty if there is one for all.
    by_rule: Arc<[Hedger]>,
    other: Hedger,
}

impl Hedgers {
    fn of(&self, rule: Option<usize>) -> &Hedger {
        let hedger = rule.and_then(|rule| self.by_rule.get(rule));
        hedger.unwrap_or(&self.other)
    }
}

/// The number of hedges that a [`Hedger`] has room for.
const MAX_HEDGES: u8 = 3;

impl<S, F: Clone> Layer<S> for GrpcLayer<F> {
    type Service = GrpcService<S, F>;

    fn layer(&self, inner: S) -> GrpcService<S, F> {
        GrpcService {
            attempts: GrpcAttempts::new(inner, self.into_body.clone()).limit(self.limit),
            hedgers: self.hedgers.clone(),
            policy: self.policy.clone(),
            limit: self.limit,
        }
    }
}

/// The service of a [`GrpcLayer`].
#[derive(Clone, Debug)]
pub struct GrpcService<S, F> {
    attempts: GrpcAttempts<S, F>,
    hedgers: Hedgers,
    policy: GrpcPolicy,
    limit: usize,
}

type Hedged<S, F> = HedgeService<GrpcAttempts<S, F>, GrpcPolicy>;

impl<S, F, B, C, D> Service<Request<B>> for GrpcService<S, F>
where
    S: Service<Request<D>, Response = Response<C>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    F: Fn(ReplayBody<B>) -> D + Clone + Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    C: Body + Unpin + Send + 'static,
    C::Data: Send,
    C::Error: Into<BoxError>,
    D: 'static,
{
    type Response = Response<GrpcBody<C>>;
    type Error = BoxError;
    type Future = GrpcFuture<Hedged<S, F>, ResponseFuture<Response<GrpcBody<C>>>, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.attempts.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let spare = self.attempts.clone();
        let ready = mem::replace(&mut self.attempts, spare);
        let rule = self.policy.rule_for(request.uri().path());
        let hedger = self.hedgers.of(rule).clone();
        let hedged = HedgeService::new(ready, hedger, self.policy.clone());
        GrpcFuture::new(hedged, &self.policy, self.limit, request)
    }
}

/// A service for gRPC calls that belongs above a service that hedges them with a [`GrpcPolicy`], such as one over
/// replicas.
///
/// It reads the bodies of requests that may be hedged into memory, passes on all others as streams, and ends a call
/// that runs out of time in `DEADLINE_EXCEEDED`. [`GrpcLayer`] includes it.
///
/// ```
/// use hedge_tokio::grpc::{GrpcAttempts, GrpcCalls, GrpcPolicy};
/// use hedge_tokio::standard;
/// use tonic::{body::Body, client::Grpc, transport::Endpoint};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let replicas = ["http://10.0.0.1:50051", "http://10.0.0.2:50051"]
///     .map(|address| GrpcAttempts::new(Endpoint::from_static(address).connect_lazy(), Body::new));
/// let policy = GrpcPolicy::new().unary("/catalog.Lookup/Get");
/// let hedged = standard(replicas).policy(policy.clone()).build()?;
/// let client = Grpc::new(GrpcCalls::new(hedged, policy));
/// # let mut client = client;
/// # client.ready().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrpcCalls<H> {
    inner: H,
    policy: GrpcPolicy,
    limit: usize,
}

impl<H> GrpcCalls<H> {
    /// Creates a service that passes calls on to `inner`, which hedges them with `policy`.
    pub const fn new(inner: H, policy: GrpcPolicy) -> Self {
        Self {
            inner,
            policy,
            limit: LIMIT,
        }
    }

    /// Sets how many bytes of a request are read into memory. Default: 64 KiB. A longer request is not hedged.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl<H, B, C> Service<Request<B>> for GrpcCalls<H>
where
    H: Service<Request<ReplayBody<B>>, Response = Response<GrpcBody<C>>, Error = BoxError> + Clone,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
    C: Body,
{
    type Response = Response<GrpcBody<C>>;
    type Error = BoxError;
    type Future = GrpcFuture<H, H::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare);
        GrpcFuture::new(ready, &self.policy, self.limit, request)
    }
}

pin_project! {
    /// The response future of a [`GrpcService`] and of [`GrpcCalls`].
    pub struct GrpcFuture<H, F, B> {
        #[pin]
        response: ReplayFuture<H, F, B>,
        deadline: Option<Instant>,
        // Whether the request may be a stream.
        may_stream: bool,
        // How much of the request there was when that last changed, and until when more has to come.
        read: usize,
        silent_until: Option<Instant>,
        // Set for the deadline, or for the end of a silence.
        #[pin]
        alarm: Option<Sleep>,
    }
}

/// For how long a request may be silent between two messages before it is taken for a stream.
const SILENCE: Duration = Duration::from_millis(10);

impl<H, F, B: Body + Unpin> GrpcFuture<H, F, B> {
    /// Sends `request` through `hedged`, which is ready.
    fn new(hedged: H, policy: &GrpcPolicy, limit: usize, mut request: Request<B>) -> Self {
        let mut options = request.extensions_mut().remove::<RequestOptions<'static>>();
        let rule = policy.rule_for(request.uri().path());
        if rule.is_none() {
            // Send the body without buffering it: it may be a stream that depends on the responses.
            options = Some(options.unwrap_or_default().unhedged());
        }
        // All limits are counted from now, also while the request is read.
        let now = Instant::now();
        let timeout = rule.and_then(|rule| policy.timeout(rule, request.headers()));
        let by_rule = timeout.and_then(|timeout| now.checked_add(timeout));
        let by_options = options.as_ref().and_then(|options| options.end(now));
        let deadline = by_rule.into_iter().chain(by_options).min();
        if let Some(deadline) = deadline {
            options = Some(options.unwrap_or_default().deadline(deadline));
        }
        options.map(|options| request.extensions_mut().insert(options));
        Self {
            response: ReplayFuture::new(&ReplayLayer::new(limit), hedged, request),
            deadline,
            may_stream: rule.is_some_and(|rule| policy.may_stream(rule)),
            read: 0,
            silent_until: None,
            alarm: None,
        }
    }
}

impl<H, B, C> Future for GrpcFuture<H, H::Future, B>
where
    H: Service<Request<ReplayBody<B>>, Response = Response<GrpcBody<C>>, Error = BoxError> + Clone,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
    C: Body,
{
    type Output = Result<Response<GrpcBody<C>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Poll::Ready(result) = this.response.as_mut().poll(cx) {
                // An attempt may notice the deadline first, in its own way.
                let is_late = |error: &BoxError| {
                    let now = Instant::now();
                    error.is::<TimedOut>() || this.deadline.is_some_and(|deadline| deadline <= now)
                };
                return Poll::Ready(match result {
                    Err(error) if is_late(&error) => Ok(deadline_exceeded()),
                    result => result,
                });
            }
            let silence = match this.response.stage() {
                // A hedger below ends the call at its deadline, and was polled before the alarm is. A queue above the
                // hedger does not know the deadline.
                Stage::Sent | Stage::Waiting => Wait::More,
                Stage::Reading(_) if !*this.may_stream => Wait::More,
                Stage::Reading(data) => {
                    if this.silent_until.is_none() || *this.read != data.len() {
                        *this.read = data.len();
                        *this.silent_until = Instant::now().checked_add(SILENCE);
                    }
                    Wait::after(data)
                }
            };
            let silent_until = match silence {
                Wait::More => None,
                Wait::End => *this.silent_until,
                Wait::Nothing => {
                    this.response.as_mut().stop_reading();
                    continue;
                }
            };
            let Some(at) = silent_until.into_iter().chain(*this.deadline).min() else {
                return Poll::Pending;
            };
            if this.alarm.as_ref().get_ref().as_ref().map(Sleep::deadline) != Some(at) {
                this.alarm.set(Some(sleep_until(at)));
            }
            if let Some(alarm) = this.alarm.as_mut().as_pin_mut() {
                ready!(alarm.poll(cx));
            }
            if *this.deadline == Some(at) {
                return Poll::Ready(Ok(deadline_exceeded()));
            }
            this.response.as_mut().stop_reading();
        }
    }
}

/// What to wait for before a request is sent that may be a stream.
enum Wait {
    /// The rest of its message.
    More,
    /// Its end, or another message.
    End,
    /// It is a stream.
    Nothing,
}

impl Wait {
    /// Decides by what was read of the request.
    fn after(data: &[u8]) -> Self {
        if data.is_empty() {
            return Self::End;
        }
        let Some((&[_, ref length @ ..], message)) = data.split_first_chunk::<PREFIX>() else {
            return Self::More;
        };
        let length = u32::from_be_bytes(*length) as usize;
        match message.len().cmp(&length) {
            Ordering::Less => Self::More,
            Ordering::Equal => Self::End,
            Ordering::Greater => Self::Nothing,
        }
    }
}

impl<H, F, B> fmt::Debug for GrpcFuture<H, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture").finish_non_exhaustive()
    }
}

/// Returns the response to a call that ran out of time.
fn deadline_exceeded<C: Body>() -> Response<GrpcBody<C>> {
    let mut response = Response::new(GrpcBody::empty());
    let headers = [
        ("content-type", HeaderValue::from_static("application/grpc")),
        (
            "grpc-status",
            HeaderValue::from(Code::DeadlineExceeded as u16),
        ),
        (
            "grpc-message",
            HeaderValue::from_static("the call ran out of time"),
        ),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    response
}
