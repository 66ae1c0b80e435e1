//! nginx in front of two HTTP upstreams: even keys are at home at the first, odd ones at the second, and a
//! request with the header `x-hedge` goes to the other. Through reqwest, and through the tower layer.

pub(crate) mod three;

use core::convert::Infallible;
use core::future::Future;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_tokio::tower::{HedgeService, Policy, may_hedge, verdict};
use hedge_tokio::{Hedger, Verdict};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::Upstream;
use crate::load::{Pair, compare};
use crate::process::{Folder, Server, connections, free_port, settled};
use crate::report::Report;
use crate::{Failure, Options};

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("nginx: starting it and two upstreams");
    let upstreams = [Arc::<Upstream>::default(), Arc::default()];
    let addresses = [serve(&upstreams[0]).await?, serve(&upstreams[1]).await?];
    let (nginx, port) = start(folder, addresses)?;
    let address = format!("http://127.0.0.1:{port}");
    let before = nginx.ready(async || status(&address).await).await?;

    let hedger = options.hedger()?;
    let closure = Closure(
        Http {
            address: address.clone(),
            client: client()?,
            first: upstreams[0].clone(),
        },
        hedger.clone(),
    );
    let compared = compare(&closure, &hedger).await?;
    report.compared("nginx, reqwest", &compared);
    drop(closure);

    let http = Http {
        address: address.clone(),
        client: client()?,
        first: upstreams[0].clone(),
    };
    let service = HedgeService::new(http.client.clone(), hedger.clone(), Reads);
    let layer = Layered(http, service);
    let compared = compare(&layer, &hedger).await?;
    report.compared("nginx, tower layer", &compared);
    drop(layer);

    let count = async || -> Result<_, Failure> {
        let upstream = connections(addresses[0].port())? + connections(addresses[1].port())?;
        Ok((status(&address).await?, upstream))
    };
    let closed = settled((before, 0), count).await;
    let what = format_args!("nginx: {before} connection as before, and none to the upstreams");
    report.settled(&closed, what);
    Ok(())
}

/// Starts nginx in front of two upstreams, and gives its port.
fn start(folder: &Folder, upstreams: [SocketAddr; 2]) -> Result<(Server, u16), Failure> {
    let port = free_port()?;
    let [first, second] = upstreams;
    let server = launch(
        folder,
        &format!(
            r#"
    upstream first {{ server {first}; }}
    upstream second {{ server {second}; }}
    map "$arg_key/$http_x_hedge" $upstream {{
        "~[02468]/$" first;
        "~[13579]/$" second;
        "~[02468]/1$" second;
        "~[13579]/1$" first;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://$upstream; }}
        location = /status {{ stub_status; }}
    }}
"#
        ),
    )?;
    Ok((server, port))
}

/// Starts nginx, in one process, with this in its block for HTTP.
pub(super) fn launch(folder: &Folder, http: &str) -> Result<Server, Failure> {
    let home = folder.path().display().to_string();
    let config = format!(
        r#"
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {http}
}}
"#
    );
    let file = format!("{home}/nginx.conf");
    fs::write(&file, config)?;
    let log = format!("{home}/error.log");
    let command = ["nginx", "-e", &log, "-c", &file, "-p", &home];
    Ok(Server::start(
        command,
        &folder.path().join("nginx.log"),
        "KILL",
    )?)
}

/// How many connections nginx has from clients, this question's among them.
async fn status(address: &str) -> Result<usize, Failure> {
    let status = client()?
        .get(format!("{address}/status"))
        .send()
        .await?
        .text()
        .await?;
    let active = status
        .lines()
        .next()
        .and_then(|line| line.rsplit(": ").next());
    Ok(active.ok_or("no status")?.trim().parse()?)
}

fn client() -> reqwest::Result<reqwest::Client> {
    // A proxy named by the environment has no business on loopback.
    reqwest::Client::builder().no_proxy().build()
}

/// Answers at a free address as long as the program runs.
async fn serve(upstream: &Arc<Upstream>) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let upstream = upstream.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = upstream.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let upstream = upstream.clone();
                async move { Ok::<_, Infallible>(answer(&upstream, &request).await) }
            });
            // A client that leaves is an error here.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn answer(upstream: &Upstream, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("key="));
    let Some(key) = key.and_then(|key| key.parse().ok()) else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    Response::new(upstream.answer(key).await.into())
}

/// What both ways of hedging have in common.
struct Http {
    address: String,
    client: reqwest::Client,
    first: Arc<Upstream>,
}

impl Http {
    fn request(&self, key: u64) -> reqwest::RequestBuilder {
        self.client.get(format!("{}/?key={key}", self.address))
    }

    async fn plain(&self, key: u64) -> Result<String, Failure> {
        Ok(text(self.request(key).send()).await?)
    }
}

async fn text(
    response: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> reqwest::Result<String> {
    response.await?.error_for_status()?.text().await
}

/// Hedged by a closure.
struct Closure(Http, Hedger);

impl Pair for Closure {
    async fn plain(&self, key: u64) -> Result<String, Failure> {
        self.0.plain(key).await
    }

    async fn hedged(&self, key: u64) -> Result<String, Failure> {
        let hedged = self.1.request(|attempt| {
            let request = self.0.request(key);
            text(
                if attempt.index() == 0 {
                    request
                } else {
                    request.header("x-hedge", "1")
                }
                .send(),
            )
        });
        Ok(hedged.await?.value)
    }

    async fn stall(&self) -> Result<(), Failure> {
        self.0.first.set_slow(true);
        Ok(())
    }

    async fn resume(&self) -> Result<(), Failure> {
        self.0.first.set_slow(false);
        Ok(())
    }

    async fn at_work(&self) -> Result<Option<usize>, Failure> {
        Ok(Some(self.0.first.at_work()))
    }
}

/// Hedged by the tower layer: the client is a service.
struct Layered(Http, HedgeService<reqwest::Client, Reads>);

impl Pair for Layered {
    async fn plain(&self, key: u64) -> Result<String, Failure> {
        self.0.plain(key).await
    }

    async fn hedged(&self, key: u64) -> Result<String, Failure> {
        let response = self.1.clone().oneshot(self.0.request(key).build()?).await?;
        Ok(response.error_for_status()?.text().await?)
    }

    async fn stall(&self) -> Result<(), Failure> {
        self.0.first.set_slow(true);
        Ok(())
    }

    async fn resume(&self) -> Result<(), Failure> {
        self.0.first.set_slow(false);
        Ok(())
    }

    async fn at_work(&self) -> Result<Option<usize>, Failure> {
        Ok(Some(self.0.first.at_work()))
    }
}

/// Hedges what is idempotent, elsewhere.
#[derive(Clone)]
struct Reads;

impl Policy<reqwest::Request, reqwest::Response, reqwest::Error> for Reads {
    fn copy(&self, request: &reqwest::Request) -> Option<reqwest::Request> {
        let mut copy = request
            .try_clone()
            .filter(|copy| may_hedge(copy.method(), copy.headers()))?;
        copy.headers_mut()
            .insert("x-hedge", HeaderValue::from_static("1"));
        Some(copy)
    }

    fn classify(&self, result: &reqwest::Result<reqwest::Response>) -> Verdict {
        match result {
            Ok(response) => verdict(response.status(), response.headers()),
            Err(_) => Verdict::Retry,
        }
    }
}
