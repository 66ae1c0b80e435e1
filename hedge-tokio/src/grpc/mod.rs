//! Hedging of gRPC calls, over the types of the crate `http`: for tonic, and for every other client that is a service of
//! tower.
//!
//! [`GrpcLayer`] is all that a client of one channel needs. For other stacks, such as one over replicas, use its parts:
//! [`GrpcCalls`] above the service that hedges, a [`GrpcPolicy`] that decides which calls may be hedged and what a
//! status means, and [`GrpcAttempts`] below, which waits for the statuses.

mod attempts;
mod code;
mod policy;
mod reply;
mod service;
mod service_config;
mod timeout;

pub use attempts::{GrpcAttempt, GrpcAttempts, GrpcBody};
pub use code::{Code, UnknownCode};
pub use policy::GrpcPolicy;
pub use service::{GrpcCalls, GrpcFuture, GrpcLayer, GrpcService};
pub use service_config::ServiceConfigError;

/// The default limit of bytes of a request or a response that are read into memory.
const LIMIT: usize = 64 * 1024;
