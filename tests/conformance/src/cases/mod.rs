//! Every sentence of the contract, a case each.
//!
//! | module | about |
//! |---|---|
//! | [`clock`] | what a [`Timer`] must do |
//! | [`winning`] | which result is the answer, and what becomes of the others |
//! | [`failing`] | failures: what they start, and what is returned |
//! | [`pushback`] | servers that ask for patience |
//! | [`cadence`] | when hedges start |
//! | [`timeout`] | requests whose time is up |
//! | [`dropping`] | requests that their callers drop |
//! | [`losers`] | losers that run on |
//! | [`attempt`] | what an attempt is told |
//! | [`outcome`] | what a caller is told |
//! | [`suppressed`] | why there was no hedge |
//! | [`budget`] | what hedges may cost |
//! | [`per_call`] | options of one request |
//! | [`replicas`] | requests on a set of replicas |
//! | [`streams`] | attempts that give streams |
//! | [`live`] | options of a working hedger |
//! | [`events`] | what a sink is told |
//! | [`shapes`] | unusual results, and the end of time |
//! | [`local`] | what only one thread can do |
//! | `keys` | statistics by key (with `std`) |
//! | `panics` | code of the caller's that panics (with `std`) |

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;

use hedge_core::metrics::Recorder;
use hedge_core::{Sink, Strategy, Timer};

use crate::Home;
use crate::backend::Backend;
use crate::world::Built;

pub mod attempt;
pub mod budget;
pub mod cadence;
pub mod clock;
pub mod dropping;
pub mod events;
pub mod failing;
#[cfg(feature = "std")]
pub mod keys;
pub mod live;
pub mod local;
pub mod losers;
pub mod outcome;
#[cfg(feature = "std")]
pub mod panics;
pub mod per_call;
pub mod pushback;
pub mod replicas;
pub mod shapes;
pub mod streams;
pub mod suppressed;
pub mod timeout;
pub mod winning;

/// Runs `request` until `there`. It must not have been answered by then.
async fn run_until<F: Future>(mut request: Pin<&mut F>, there: impl Fn() -> bool) {
    poll_fn(|cx| {
        assert!(request.as_mut().poll(cx).is_pending(), "answered too early");
        if there() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Makes a request, and drops it once so many attempts run.
async fn abandon<T: Timer + Clone, H: Home, S: Strategy, M: Recorder, K: Sink>(
    hedger: &Built<T, H, S, M, K>,
    backend: &Backend<'_, T, H>,
    attempts: usize,
) {
    let in_flight = hedger.in_flight();
    let request = pin!(hedger.request(|attempt| backend.call(attempt)));
    run_until(request, || backend.running() == attempts).await;
    assert_eq!(hedger.in_flight(), in_flight + attempts as u32 - 1);
}
