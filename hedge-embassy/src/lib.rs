//! Request hedging for microcontrollers: when a request is slow, start another one and use
//! whichever succeeds first.
//!
//! For embassy, in a `static`, without an allocator.
//!
//! ```
//! use hedge_embassy::{Budget, Hedger, WindowedPercentile, hedger};
//!
//! /// Hedges the slowest 5 % of the polls, and no more than 10 %, bursts aside.
//! static HEDGER: Hedger<WindowedPercentile<64>> =
//!     hedger(WindowedPercentile::with_window(95.0), Budget::percent(10.0));
//!
//! async fn poll(links: &[Link; 2]) -> Option<u16> {
//!     let hedged = HEDGER.request(|attempt| links[attempt.index()].poll()).await.ok()?;
//!     Some(hedged.value)
//! }
//! # use embassy_executor as _;
//! # struct Link;
//! # struct Damaged;
//! # impl Link { async fn poll(&self) -> Result<u16, Damaged> { Ok(21) } }
//! # futures_lite::future::block_on(async { assert_eq!(poll(&[Link, Link]).await, Some(21)) });
//! ```
//!
//! Attempts run inside the caller's task, may borrow from it, and are dropped as soon as another
//! one wins. **Only hedge idempotent requests**: more than one attempt may reach the other end.
//!
//! | to | use |
//! |---|---|
//! | choose a strategy, size a budget and test | [`_guide`] |
//! | decide when to hedge | [`strategy`]; [`Percentile`] unless there is a reason |
//! | limit the cost of hedges | [`Budget`] |
//! | set other options, metrics and a sink | [`hedger_with`] |
//! | choose between links, by what each has shown | [`Replicas`] |
//! | share a budget, or use another mutex | [`Shared`] |
//! | build at run time with validation | [`Hedger::builder`](hedge_core::Hedger::builder) of an [`EmbassyTimer`], `build_with(Shared::new, Shared::new)` |
//! | log events | `DefmtSink` and `Logged`, with the feature `defmt` |
//!
//! # In firmware
//!
//! ```toml
//! [dependencies]
//! hedge-embassy = "0.1"
//! ```
//!
//! This crate does not choose a time driver, tick rate, executor or critical section: the HAL does
//! (such as embassy-stm32 with `time-driver-any`), or the firmware (such as `cortex-m` with
//! `critical-section-single-core`). The resolution of latencies is one tick, so choose a rate of 1
//! kHz or more. Without an embassy executor, embassy-time needs one of its features
//! `generic-queue-…`. Cores without compare-and-swap, such as Cortex-M0, are supported.
//!
//! # Resources
//!
//! On a Cortex-M, in bytes:
//!
//! | what | RAM |
//! |---|---|
//! | hedger with [`WindowedPercentile<N>`](WindowedPercentile) | 8 `N` + 432: 944 for 64 samples |
//! | hedger with [`Metrics`] | 4.6 KiB more |
//! | request | one attempt for each that it has room for, and 200 |
//! | [`Replicas<N>`](Replicas) | 16 `N` + 40, and about 90 more for a request |
//!
//! 64 samples are enough for a first estimate of P95, and 200 give a steadier one. The initial
//! value of a hedger in a `static`, including its window, takes the same space in flash.
//!
//! Hedging takes about 16 KiB of flash (`opt-level = "z"`, `lto = "fat"`), and choosing between links about 5 KiB more.
//! `bash tests/firmware/run` measures this.
//!
//! A request locks the mutex a few times, for some dozens of instructions each; the default mutex disables interrupts
//! during that time. At its end, a request holds the lock while it inserts its sample, which moves up to 4 `N` bytes,
//! and after every `N`/64 requests while it computes the percentile. If that is too long for your interrupts, and all
//! requests are made in one executor, use [`NoopRawMutex`](embassy_sync::blocking_mutex::raw::NoopRawMutex) and no
//! `static`.
//!
//! # Limitations
//!
//! - Hedging does not help with a single busy link: a second attempt over the link that is busy with the first one is
//!   equally slow, and slows down other requests. Use it with a second link or hub, or on a link that loses frames.
//! - A request that was sent cannot be taken back. A dropped attempt is not polled any more;
//!   whether the other end is notified depends on the `Drop` implementation of its future.
//! - A hedger cannot be shared between two cores if its critical section stops only one of them.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "defmt")]
mod defmt;
mod hedger;
mod shared;
mod timer;

#[cfg(feature = "defmt")]
pub use defmt::{DefmtSink, Logged};
pub use hedger::{Hedger, hedger, hedger_with};
pub use shared::{Replicas, Shared};
pub use timer::EmbassyTimer;

#[doc(inline)]
pub use hedge_core::_guide;
#[doc(no_inline)]
pub use hedge_core::{
    Adaptive, AnyStrategy, Attempt, Budget, ByAttempt, ByResult, Call, Cause, Classify,
    ConfigError, Error, Event, ExponentialBackoff, Fixed, Hedged, Hints, Instant, Metrics,
    MetricsSnapshot, Name, Off, OnFailure, Optimal, Options, Outcome, Percentile, Record, Sink,
    Strategy, StrategyKind, Suppressed, Timer, Verdict, WindowedPercentile, WorkloadAware, adapter,
    metrics, replicas, strategy, stream, telemetry,
};
