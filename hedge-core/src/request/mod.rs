//! One request: its options, the controller that decides for it, how it completes, and its events.

mod call;
mod controller;
mod future;
mod gate;
mod hedger;

pub use call::Call;
pub use controller::Pace;
pub(crate) use controller::Wishes;
pub use future::Request;
