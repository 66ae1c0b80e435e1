//! The middleware of reqwest, with servers on loopback.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::any;
use hedge_tokio::reqwest::HedgeMiddleware;
use hedge_tokio::telemetry::EventKind;
use hedge_tokio::tower::{HttpPolicy, RequestOptions};
use hedge_tokio::{Budget, Event, Fixed, Hedger, Off, Outcome};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tokio::sync::Notify;

/// Hangs the first request, and answers the others with the key that they have.
#[derive(Default)]
struct Server {
    requests: AtomicUsize,
    /// Answers the first request with this status instead.
    refuses: Option<StatusCode>,
}

async fn answer(State(server): State<Arc<Server>>, headers: HeaderMap) -> impl IntoResponse {
    let first = server.requests.fetch_add(1, Ordering::SeqCst) == 0;
    if first {
        match server.refuses {
            Some(status) => return (status, String::from("refused")),
            None => core::future::pending().await,
        }
    }
    let key = headers.get("idempotency-key").map(|key| format!("{key:?}"));
    (StatusCode::OK, key.unwrap_or_else(|| "answer".into()))
}

async fn serve(server: Server) -> (Arc<Server>, String) {
    let server = Arc::new(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .fallback(any(answer))
        .with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (server, address)
}

/// Starts a server that refuses the first request.
async fn refusing() -> (Arc<Server>, String) {
    serve(Server {
        refuses: Some(StatusCode::BAD_GATEWAY),
        ..Server::default()
    })
    .await
}

fn hedger() -> Hedger {
    Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .budget(Budget::percent(100.0))
        .build()
        .unwrap()
}

fn client(middleware: HedgeMiddleware) -> ClientWithMiddleware {
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    ClientBuilder::new(plain).with(middleware).build()
}

#[tokio::test]
async fn a_hedge_wins_over_a_request_that_hangs() {
    let (server, address) = serve(Server::default()).await;
    let sibling = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = client(HedgeMiddleware::new(hedger()).hedges_through(sibling));
    let response = client.get(address).send().await.unwrap();
    assert!(response.extensions().get::<Outcome>().unwrap().hedge_won);
    assert_eq!(response.text().await.unwrap(), "answer");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refusal_starts_the_next_attempt() {
    let (server, address) = refusing().await;
    let response = client(HedgeMiddleware::new(hedger()))
        .get(address)
        .send()
        .await
        .unwrap();
    assert_eq!(response.text().await.unwrap(), "answer");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_post_is_sent_once_unless_it_has_a_key() {
    let (server, address) = refusing().await;
    let response = client(HedgeMiddleware::new(hedger()))
        .post(address)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);

    let (server, address) = refusing().await;
    let policy = HttpPolicy::new().idempotency_keys(true);
    let client = client(HedgeMiddleware::new(hedger()).policy(policy));
    let response = client.post(address).send().await.unwrap();
    assert_ne!(response.text().await.unwrap(), "answer");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn options_of_one_request_are_in_its_extensions() {
    let (server, address) = refusing().await;
    let request = client(HedgeMiddleware::new(hedger())).get(address);
    let response = request
        .with_extension(RequestOptions::new().unhedged())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_an_error_of_reqwest() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(HedgeMiddleware::new(hedger()))
        .get(address)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, reqwest_middleware::Error::Reqwest(error) if error.is_connect()));
}

#[tokio::test]
async fn a_timeout_of_the_hedger_is_an_error_of_the_middleware() {
    let (_server, address) = serve(Server::default()).await;
    let request = client(HedgeMiddleware::new(hedger())).get(address);
    let options = RequestOptions::new()
        .max_hedges(0)
        .timeout(Duration::from_millis(30));
    let error = request.with_extension(options).send().await.unwrap_err();
    assert!(
        matches!(error, reqwest_middleware::Error::Middleware(_)),
        "{error:?}"
    );
}

/// Processes one request at a time: hedges conflict with the first one, which is answered after that.
async fn process(State(busy): State<Arc<(AtomicUsize, Notify)>>) -> StatusCode {
    let (requests, conflict) = &*busy;
    if requests.fetch_add(1, Ordering::SeqCst) == 0 {
        conflict.notified().await;
        // The conflict is reported first.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        return StatusCode::CREATED;
    }
    conflict.notify_one();
    StatusCode::CONFLICT
}

#[tokio::test]
async fn a_conflict_with_the_first_attempt_is_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .fallback(any(process))
        .with_state(Arc::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let policy = HttpPolicy::new().idempotency_keys(true);
    let client = client(HedgeMiddleware::new(hedger()).policy(policy));
    let response = client.post(address).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_response_is_the_fault_of_its_server_as_with_the_layer() {
    for (status, is_failure) in [(404, false), (408, true), (501, true), (503, true)] {
        let (_server, address) = serve(Server {
            refuses: Some(StatusCode::from_u16(status).unwrap()),
            ..Server::default()
        })
        .await;
        let failures = Arc::new(AtomicUsize::new(0));
        let seen = failures.clone();
        let builder = Hedger::builder().strategy(Off).sink(move |event: &Event| {
            if let EventKind::AttemptFailed { .. } = event.kind {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let client = client(HedgeMiddleware::new(builder.build().unwrap()));
        let response = client.get(address).send().await.unwrap();
        assert_eq!(response.status(), status);
        let failures = failures.load(Ordering::SeqCst);
        assert_eq!(failures, usize::from(is_failure), "{status}");
    }
}
