//! The gRPC service's client and server, without protoc.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let get = Method::builder()
        .name("get")
        .route_name("Get")
        .input_type("super::Key")
        .output_type("super::Value")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let lookup = Service::builder()
        .package("hedge.real")
        .name("Lookup")
        .method(get)
        .build();
    Builder::new().build_transport(false).compile(&[lookup]);
}
