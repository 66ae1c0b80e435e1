//! One of the replicas.

use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::Service;

use crate::Failure;
use crate::config::BackendConfig;

/// A request that can be sent twice.
pub(crate) type Sent = Request<Full<Bytes>>;

type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends requests to one backend, and counts what they cost.
#[derive(Clone)]
pub(crate) struct Backend {
    http: Http,
    authority: Authority,
    tier: String,
    cost: f64,
    requests: Arc<AtomicU64>,
}

impl Backend {
    pub(crate) fn new(config: &BackendConfig) -> Result<Self, Failure> {
        let invalid = |why| format!("backends: `url` is {:?}, but must be {why}", config.url);
        let url: Uri = config.url.parse().map_err(|_| invalid("a URL"))?;
        if url.scheme() != Some(&Scheme::HTTP) || url.path() != "/" {
            return Err(invalid("http://HOST:PORT").into());
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            authority: url
                .authority()
                .ok_or_else(|| invalid("http://HOST:PORT"))?
                .clone(),
            tier: config.tier.clone(),
            cost: config.cost,
            requests: Arc::default(),
        })
    }

    /// What has been spent here, as Prometheus reads it.
    pub(crate) fn cost(&self) -> String {
        let Self {
            authority,
            tier,
            cost,
            ..
        } = self;
        let spent = self.requests.load(Ordering::Relaxed) as f64 * cost;
        format!("gateway_cost{{backend=\"{authority}\",tier={tier:?}}} {spent}\n")
    }
}

impl Service<Sent> for Backend {
    type Response = <Http as Service<Sent>>::Response;
    type Error = <Http as Service<Sent>>::Error;
    type Future = <Http as Service<Sent>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Sent>::poll_ready(&mut self.http, cx)
    }

    fn call(&mut self, mut request: Sent) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        if let Ok(uri) = Uri::from_parts(uri) {
            *request.uri_mut() = uri;
        }
        // The client names the backend instead.
        request.headers_mut().remove(HOST);
        self.http.call(request)
    }
}

/// Removes the headers that concern one connection only: the usual ones, and those that `Connection` names (RFC 9110,
/// section 7.6.1).
pub(crate) fn without_hop_by_hop(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let connection = headers.get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = connection
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}
