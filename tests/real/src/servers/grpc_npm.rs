//! A server of gRPC that others wrote, and the client of the same package: one service config, run by that client and by
//! hedge, makes the same number of attempts, as the server counts them.

use core::time::Duration;
use std::fs;

use hedge_tokio::grpc::{GrpcLayer, GrpcService};
use hedge_tokio::tower::ReplayBody;
use hedge_tokio::{Budget, SharedBudget};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Layer;

use crate::Failure;
use crate::process::{Folder, Server, eventually};
use crate::report::Report;

/// Both clients follow this. Delays are long beside what a busy machine adds.
const CONFIG: &str = r#"{
    "loadBalancingConfig": [],
    "methodConfig": [{
        "name": [{"service": "hedge.real.Scripted", "method": "Call"}],
        "hedgingPolicy": {
            "maxAttempts": 3,
            "hedgingDelay": "0.4s",
            "nonFatalStatusCodes": ["UNAVAILABLE"]
        }
    }]
}"#;

/// How the server answers the attempts of a call, the call's timeout in milliseconds, and what comes of it: the code and
/// the number of attempts.
const CASES: [(&str, &str, Option<u64>, i32, u32); 12] = [
    ("success", r#"[{"after": 0}]"#, None, 0, 1),
    ("slow", r#"[{"after": 9000}, {"after": 0}]"#, None, 0, 2),
    (
        "slow twice",
        r#"[{"after": 9000}, {"after": 9000}, {"after": 0}]"#,
        None,
        0,
        3,
    ),
    (
        "slow, and then fast",
        r#"[{"after": 600}, {"after": 9000}]"#,
        None,
        0,
        2,
    ),
    ("error", r#"[{"code": 14}, {"after": 0}]"#, None, 0, 2),
    (
        "errors",
        r#"[{"code": 14}, {"code": 14}, {"code": 14}]"#,
        None,
        14,
        3,
    ),
    ("fatal error", r#"[{"code": 13}]"#, None, 13, 1),
    (
        "fatal error of a hedge",
        r#"[{"after": 9000}, {"code": 13}]"#,
        None,
        13,
        2,
    ),
    (
        "pushback",
        r#"[{"code": 14, "pushback": "200"}, {"after": 0}]"#,
        None,
        0,
        2,
    ),
    (
        "pushback, never",
        r#"[{"code": 14, "pushback": "-1"}]"#,
        None,
        14,
        1,
    ),
    ("timeout", "[]", Some(1000), 4, 3),
    ("timeout before the last hedge", "[]", Some(600), 4, 2),
];

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

pub(crate) async fn run(folder: &Folder, report: &mut Report) -> Result<(), Failure> {
    let peer = std::env::var("HEDGE_REAL_PEER")?;
    report.say("grpc-npm: starting the server");
    let log = folder.path().join("peer.log");
    let server = Server::start(["node", &peer, "serve"], &log, "KILL")?;
    let port = async || -> Result<u16, Failure> { Ok(fs::read_to_string(&log)?.trim().parse()?) };
    let address = format!("127.0.0.1:{}", server.ready(port).await?);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let channel = eventually(async || endpoint.connect().await).await?;
    let budget = SharedBudget::new(Budget::unlimited());
    let layer = GrpcLayer::from_service_config(CONFIG, budget, Body::new as IntoBody)?;
    let hedged = layer.layer(channel.clone());

    let script_of = |id: &str, attempts| format!(r#"{{"id": "{id}", "attempts": {attempts}}}"#);
    for (name, attempts, timeout, code, expected) in CASES {
        let script = |client| {
            let id = format!("{name}, {client}");
            let text = script_of(&id, attempts);
            (id, text)
        };
        let (id, text) = script("npm");
        let npm = (
            call_npm(&peer, &address, &text, timeout).await?,
            count(&channel, id).await?,
        );
        let (id, text) = script("hedge");
        let hedge = (
            call(&hedged, text, timeout).await?,
            count(&channel, id).await?,
        );
        report.check(
            npm == (code, expected) && hedge == npm,
            format_args!(
                "grpc-npm: {name}: code and attempts {npm:?} from npm, {hedge:?} from hedge, {:?} expected",
                (code, expected)
            ),
        );
    }
    // By hedge alone: with the client of npm, such a call never ends.
    let text = script_of("unreadable", r#"[{"code": 14, "pushback": "soon"}]"#);
    let ended = call(&hedged, text, None).await?;
    let ended = (ended, count(&channel, "unreadable".into()).await?);
    report.check(
        ended == (14, 1),
        format_args!(
            "grpc-npm: pushback that cannot be read: code and attempts {ended:?} from hedge"
        ),
    );
    Ok(())
}

type IntoBody = fn(ReplayBody<Body>) -> Body;

/// Makes a call by hedge, and returns its code.
async fn call(
    service: &GrpcService<Channel, IntoBody>,
    text: String,
    timeout: Option<u64>,
) -> Result<i32, Failure> {
    let mut request = Request::new(Text { text });
    if let Some(millis) = timeout {
        request.set_timeout(Duration::from_millis(millis));
    }
    let mut client = Grpc::new(service.clone());
    client.ready().await?;
    let path = PathAndQuery::from_static("/hedge.real.Scripted/Call");
    let codec = ProstCodec::default();
    let result: Result<Response<Text>, Status> = client.unary(request, path, codec).await;
    Ok(result.err().map_or(0, |status| status.code() as i32))
}

/// Makes a call by the client of npm, and returns its code.
async fn call_npm(
    peer: &str,
    address: &str,
    script: &str,
    timeout: Option<u64>,
) -> Result<i32, Failure> {
    let mut command = tokio::process::Command::new("node");
    command.args([peer, "call", address, CONFIG, script]);
    command.args(timeout.map(|millis| millis.to_string()));
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await??;
    let said = String::from_utf8(output.stdout)?;
    let code = said.split_whitespace().next().map(str::parse);
    code.and_then(Result::ok).ok_or_else(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("the client of npm said {said:?}: {error}").into()
    })
}

/// Asks the server how many attempts it saw, once all have reached it.
async fn count(channel: &Channel, id: String) -> Result<u32, Failure> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let path = PathAndQuery::from_static("/hedge.real.Scripted/Count");
    let request = Request::new(Text { text: id });
    let counted: Response<Text> = client.unary(request, path, ProstCodec::default()).await?;
    Ok(counted.into_inner().text.parse()?)
}
