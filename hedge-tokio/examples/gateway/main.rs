//! A reverse proxy to start from: it hedges requests on the first data of their responses, over replicas.
//!
//! Streams, such as those of OpenAI's chat completions, pass through unbuffered: the response whose first event comes first
//! is passed on as it comes, and the other's connection is closed. `/metrics` is what Prometheus reads. On ctrl-c the
//! gateway accepts no more requests, and ends with the streams that it has.
//!
//! ```text
//! cargo run --release -p hedge-tokio --all-features --example gateway -- --config gateway.toml
//! ```
//!
//! `gateway.toml` beside this file says what can be set.

#[macro_use]
#[path = "../common/print.rs"]
mod print;
mod backend;
mod config;

use core::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use hedge_tokio::telemetry::MetricsSink;
use hedge_tokio::tower::{
    FirstDataService, HedgeReplicas, HttpPolicy, Policy, RequestOptions, TimedOut, may_hedge,
    verdict,
};
use hedge_tokio::{Builder, Verdict};
use http::StatusCode;
use http_body_util::Full;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

use crate::backend::{Backend, Sent, without_hop_by_hop};
use crate::config::Config;

type Failure = Box<dyn Error + Send + Sync>;

/// The largest request that is accepted, since it is kept in memory to be sent twice.
const MAX_REQUEST: usize = 8 << 20;

/// Forwards requests to replicas, and hedges them on their first data.
#[derive(Debug, Parser)]
#[command(name = "gateway")]
struct Options {
    /// The file that says what to do.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.config)?;
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let hedger = Builder::from_config(&config.hedging)?;
    let hedger = hedger.sink(MetricsSink::new()).build()?;

    let first_event = HttpPolicy::first_data(has_begun as fn(&[u8]) -> bool);
    let backends = config.backends.iter().map(Backend::new);
    let backends = backends.collect::<Result<Vec<_>, _>>()?;
    let routes = Routes(config.routes.into());
    let gateway = Gateway {
        service: HedgeReplicas::new(
            backends
                .iter()
                .map(|backend| first_event.layer(backend.clone())),
            hedger,
            routes,
        )?,
        backends: backends.into(),
        prometheus,
    };
    let app = Router::new()
        .route("/metrics", get(metrics))
        .fallback(forward)
        .with_state(gateway);
    let listener = TcpListener::bind(config.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(told_to_stop())
        .await?;
    Ok(())
}

/// Waits for Ctrl-C, or for SIGTERM, which service managers send.
async fn told_to_stop() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => core::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = core::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}

#[derive(Clone)]
struct Gateway {
    service: HedgeReplicas<FirstDataService<Backend>, Routes>,
    backends: Arc<[Backend]>,
    prometheus: PrometheusHandle,
}

/// Whether a body has begun with more than comments: with an event, or with anything else that is no event stream.
fn has_begun(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.any(|line| line.first().is_some_and(|first| *first != b':'))
}

/// The paths that may be hedged whatever the method, each of which is learned by itself.
#[derive(Clone)]
struct Routes(Arc<[String]>);

impl<C, E> Policy<Sent, http::Response<C>, E> for Routes {
    fn copy(&self, request: &Sent) -> Option<Sent> {
        let is_route = self.0.iter().any(|route| route == request.uri().path());
        (is_route || may_hedge(request.method(), request.headers())).then(|| request.clone())
    }

    fn options<'r>(&self, request: &'r Sent) -> RequestOptions<'r> {
        let path = request.uri().path();
        let options = RequestOptions::new().keep_refused(false);
        if self.0.iter().any(|route| route == path) {
            options.key(path)
        } else {
            options
        }
    }

    fn classify(&self, result: &Result<http::Response<C>, E>) -> Verdict {
        match result {
            Ok(response) => verdict(response.status(), response.headers()),
            Err(_) => Verdict::Retry,
        }
    }
}

async fn forward(State(gateway): State<Gateway>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    without_hop_by_hop(&mut parts.headers);
    let request = Sent::from_parts(parts, Full::new(body));
    match gateway.service.oneshot(request).await {
        Ok(mut response) => {
            without_hop_by_hop(response.headers_mut());
            response.map(Body::new)
        }
        Err(error) => {
            let status = if error.is::<TimedOut>() {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::BAD_GATEWAY
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}

async fn metrics(State(gateway): State<Gateway>) -> String {
    gateway.prometheus.run_upkeep();
    let mut text = gateway.prometheus.render();
    text.push_str("# TYPE gateway_cost counter\n");
    for backend in &*gateway.backends {
        text.push_str(&backend.cost());
    }
    text
}
