//! The hedge layer over real clients, against a server on loopback: the clients of hyper and of reqwest are services
//! of tower.

use core::future::pending;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use hedge_tokio::tower::{BoxError, HedgeLayer, HttpPolicy, Policy, is_idempotent, verdict};
use hedge_tokio::{Attempt, Fixed, Hedger, Outcome, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

/// Says which attempt a request is.
const ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");

fn mark(headers: &mut HeaderMap, attempt: Attempt) {
    headers.insert(ATTEMPT, HeaderValue::from(attempt.index()));
}

/// A server that answers no primary. The semaphore gets a permit for each that it gave up, because the client was
/// gone.
async fn serve() -> (SocketAddr, Arc<Semaphore>) {
    struct Gone(Arc<Semaphore>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }

    let gone = Arc::new(Semaphore::new(0));
    let handler = {
        let gone = gone.clone();
        move |headers: HeaderMap| async move {
            if headers.get(ATTEMPT).is_some_and(|attempt| attempt == "0") {
                let _gone = Gone(gone);
                pending::<()>().await;
            }
            "hedge"
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(handler));
    tokio::spawn(async { axum::serve(listener, app).await });
    (address, gone)
}

fn hedger() -> Hedger {
    let strategy = Fixed::new(Duration::from_millis(20));
    Hedger::builder().strategy(strategy).build().unwrap()
}

/// The server sees that the loser is gone.
async fn is_dropped(gone: &Semaphore) {
    let dropped = tokio::time::timeout(Duration::from_secs(60), gone.acquire());
    dropped.await.expect("the loser stayed").unwrap().forget();
}

/// [`HttpPolicy`], which marks attempts.
#[derive(Clone)]
struct Marked(HttpPolicy);

impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for Marked {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Policy::<_, Response<C>, E>::copy(&self.0, request)
    }

    fn prepare(&self, request: &mut Request<B>, attempt: Attempt) {
        mark(request.headers_mut(), attempt);
    }

    fn classify(&self, result: &Result<Response<C>, E>) -> Verdict {
        Policy::<Request<B>, _, E>::classify(&self.0, result)
    }

    fn answered(&self, response: &mut Response<C>, outcome: &Outcome) {
        Policy::<Request<B>, _, E>::answered(&self.0, response, outcome);
    }
}

#[tokio::test]
async fn hyper() -> Result<(), BoxError> {
    let (address, gone) = serve().await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let layer = HedgeLayer::new(hedger(), Marked(HttpPolicy::new()));
    let mut service = layer.layer(client);

    let request = Request::get(format!("http://{address}/")).body(Empty::<&'static [u8]>::new())?;
    let response = service.ready().await?.call(request).await?;
    assert!(response.extensions().get::<Outcome>().unwrap().hedge_won);
    assert_eq!(response.into_body().collect().await?.to_bytes(), "hedge");
    is_dropped(&gone).await;
    Ok(())
}

/// For requests of reqwest.
#[derive(Clone)]
struct Reqwest;

impl Policy<reqwest::Request, reqwest::Response, reqwest::Error> for Reqwest {
    fn copy(&self, request: &reqwest::Request) -> Option<reqwest::Request> {
        is_idempotent(request.method()).then(|| request.try_clone())?
    }

    fn prepare(&self, request: &mut reqwest::Request, attempt: Attempt) {
        mark(request.headers_mut(), attempt);
    }

    fn classify(&self, result: &Result<reqwest::Response, reqwest::Error>) -> Verdict {
        result.as_ref().map_or(Verdict::Retry, |response| {
            verdict(response.status(), response.headers())
        })
    }
}

#[tokio::test]
async fn reqwest() -> Result<(), BoxError> {
    let (address, gone) = serve().await;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut service = HedgeLayer::new(hedger(), Reqwest).layer(client.clone());

    let request = client.get(format!("http://{address}/")).build()?;
    let response = service.ready().await?.call(request).await?;
    assert_eq!(response.text().await?, "hedge");
    assert_eq!(service.hedger().metrics().hedge_wins, 1);
    is_dropped(&gone).await;
    Ok(())
}
