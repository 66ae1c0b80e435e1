//! The hedger for programs with threads and an allocator, generic over the runtime.
//!
//! `hedge-tokio` and `hedge-async-std` define aliases of these types for their runtimes. A crate
//! for another runtime implements [`Runtime`] for its [`Timer`], and [`Spawn`] if attempts can be
//! tasks.
//!
//! ```
//! use std::sync::OnceLock;
//! use std::time;
//! # use core::pin::Pin;
//! # use core::task::{Context, Poll};
//! use hedge_core::runtime::{self, Runtime};
//! use hedge_core::{Instant, Timer};
//!
//! #[derive(Clone, Copy, Debug)]
//! pub struct MyTimer { epoch: time::Instant }
//!
//! impl Default for MyTimer {
//!     fn default() -> Self {
//!         // One for all, so that hedgers can share a set of replicas.
//!         static EPOCH: OnceLock<time::Instant> = OnceLock::new();
//!         Self { epoch: *EPOCH.get_or_init(time::Instant::now) }
//!     }
//! }
//!
//! impl Timer for MyTimer {
//!     type Sleep = MySleep;
//!     fn now(&self) -> Instant { self.instant(time::Instant::now()) }
//!     fn sleep_until(&self, deadline: Instant) -> MySleep { MySleep(*self, deadline) }
//! }
//!
//! impl Runtime for MyTimer {
//!     type Instant = time::Instant;
//!     fn instant(&self, instant: time::Instant) -> Instant {
//!         Instant::from_epoch(instant.saturating_duration_since(self.epoch))
//!     }
//! }
//!
//! pub type Hedger<const MAX: usize = 4> = runtime::Hedger<MyTimer, MAX>;
//!
//! # pub struct MySleep(MyTimer, Instant);
//! # impl Future for MySleep {
//! #     type Output = ();
//! #     fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
//! #         cx.waker().wake_by_ref();
//! #         if self.0.now() < self.1 { Poll::Pending } else { Poll::Ready(()) }
//! #     }
//! # }
//! let hedger = Hedger::builder().max_hedges(2).build()?;
//! assert_eq!(hedger.metrics().total_requests, 0);
//! # Ok::<(), hedge_core::ConfigError>(())
//! ```

mod budget;
mod erased;
mod hedger;
mod once;
mod registry;
pub(crate) mod sharded;
mod spawn;
#[cfg(test)]
mod still;

pub use budget::SharedBudget;
pub use erased::{BoxedSink, BoxedStrategy};
pub use hedger::{Builder, Call, Hedger, Keyed, ServerState};
pub use once::{RequestError, request};
pub use registry::{Registry, RegistryError};
pub use sharded::Key;
pub use spawn::{Spawn, Spawned};

use crate::time::{Instant, Timer};

/// A runtime, represented by its timer. Each hedger creates its timer with [`Default`].
///
/// All timers that `default` returns must have the same epoch, at least all that hedgers with a common
/// [set of replicas](crate::replicas) have: the set compares their instants.
pub trait Runtime: Timer + Clone + Default {
    /// The runtime's type for a point in time.
    type Instant;

    /// Converts the runtime's `instant` to this timer's clock. Returns the epoch if `instant` was
    /// before it.
    fn instant(&self, instant: Self::Instant) -> Instant;
}
