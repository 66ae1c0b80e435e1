//! One request: its options, the controller that decides for it, how it completes, and its events.

mod call;
mod controller;
mod future;
mod hedger;
mod placement;
mod ready;

pub use call::Call;
pub(crate) use controller::CallOptions;
pub use controller::RequestController;
pub use future::Request;
pub use placement::{OnReplicas, Placement};
pub use ready::{AlwaysReady, Ready};
