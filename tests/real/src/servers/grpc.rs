//! gRPC: a unary call to two servers of tonic. The layer is below the client, which does not know of it.

use core::task::{Context, Poll};
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_tokio::grpc::{GrpcBody, GrpcLayer, GrpcPolicy};
use hedge_tokio::tower::BoxError;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tower::util::BoxCloneService;
use tower::{Service, ServiceBuilder};

use super::Upstream;
use crate::load::{Pair, compare};
use crate::process::{connections, settled};
use crate::report::Report;
use crate::{Failure, Options};

use generated::lookup_client::LookupClient;
use generated::lookup_server::{Lookup, LookupServer};

#[derive(Clone, PartialEq, prost::Message)]
struct Key {
    #[prost(uint64, tag = "1")]
    key: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, tag = "1")]
    value: String,
}

mod generated {
    use super::{Key, Value};

    include!(concat!(env!("OUT_DIR"), "/hedge.real.Lookup.rs"));
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    report.say("grpc: starting two servers");
    let upstreams = [Arc::<Upstream>::default(), Arc::default()];
    let addresses = [serve(&upstreams[0])?, serve(&upstreams[1])?];
    let [first, second] =
        addresses.map(|address| Endpoint::from_shared(format!("http://{address}")));
    let channels = Channels([first?.connect().await?, second?.connect().await?]);

    let hedger = options.hedger()?;
    let plain = ServiceBuilder::new().service(channels.clone());
    // All of this service are reads.
    let policy = GrpcPolicy::new().unary("/hedge.real.Lookup/");
    let hedged = ServiceBuilder::new()
        .map_response(|response: Response<GrpcBody<Body>>| response.map(Body::new))
        .layer(GrpcLayer::new(hedger.clone(), policy, Body::new))
        .service(channels);
    let servers = Servers {
        plain: LookupClient::new(BoxCloneService::new(plain)),
        hedged: LookupClient::new(BoxCloneService::new(hedged)),
        first: upstreams[0].clone(),
    };
    let compared = compare(&servers, &hedger).await?;
    report.compared("grpc, tower layer", &compared);

    let count = async || -> Result<_, Failure> {
        let [first, second] = addresses.map(|address| connections(address.port()));
        Ok([first?, second?])
    };
    let same = settled([1, 1], count).await;
    report.settled(&same, "grpc: still one connection to each server");
    drop(servers);
    let none = settled([0, 0], count).await;
    report.settled(&none, "grpc: none when the client is gone");
    Ok(())
}

/// Answers at a free address as long as the program runs.
fn serve(upstream: &Arc<Upstream>) -> Result<SocketAddr, Failure> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    let service = LookupServer::new(Table(upstream.clone()));
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    Ok(address)
}

struct Table(Arc<Upstream>);

#[tonic::async_trait]
impl Lookup for Table {
    async fn get(&self, request: tonic::Request<Key>) -> Result<tonic::Response<Value>, Status> {
        let value = self.0.answer(request.get_ref().key).await;
        Ok(tonic::Response::new(Value { value }))
    }
}

type Client = LookupClient<BoxCloneService<Request<Body>, Response<Body>, BoxError>>;

struct Servers {
    plain: Client,
    hedged: Client,
    first: Arc<Upstream>,
}

async fn get(client: &Client, key: u64) -> Result<String, Failure> {
    let mut request = tonic::Request::new(Key { key });
    let home = if key.is_multiple_of(2) {
        "first"
    } else {
        "second"
    };
    request.metadata_mut().insert("x-home", home.parse()?);
    Ok(client.clone().get(request).await?.into_inner().value)
}

impl Pair for Servers {
    async fn plain(&self, key: u64) -> Result<String, Failure> {
        get(&self.plain, key).await
    }

    async fn hedged(&self, key: u64) -> Result<String, Failure> {
        get(&self.hedged, key).await
    }

    async fn stall(&self) -> Result<(), Failure> {
        self.first.set_slow(true);
        Ok(())
    }

    async fn resume(&self) -> Result<(), Failure> {
        self.first.set_slow(false);
        Ok(())
    }

    async fn at_work(&self) -> Result<Option<usize>, Failure> {
        Ok(Some(self.first.at_work()))
    }
}

/// A channel to each server. A request goes to the one that its header names, and a hedge to the other.
#[derive(Clone)]
struct Channels([Channel; 2]);

impl Service<Request<Body>> for Channels {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = tonic::codegen::BoxFuture<Response<Body>, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        for channel in &mut self.0 {
            if channel.poll_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let headers = request.headers();
        let home = usize::from(headers.get("x-home").is_some_and(|home| home == "second"));
        let hedge = usize::from(headers.contains_key("grpc-previous-rpc-attempts"));
        let response = self.0[(home + hedge) % 2].call(request);
        Box::pin(async move { Ok(response.await?) })
    }
}
