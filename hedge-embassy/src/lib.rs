//! Cut tail latency on microcontrollers: when a request is slow, start another and use whichever
//! succeeds first. For embassy, in a `static`, without an allocator.
//!
//! ```
//! use hedge_embassy::{Budget, Hedger, Percentile, hedger};
//!
//! /// Hedges the slowest 5 % of the polls, and no more than 10 %, bursts aside.
//! static HEDGER: Hedger<Percentile<64>> =
//!     hedger(Percentile::with_window(95.0), Budget::percent(10.0));
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
//! Attempts run inside the caller's task, may borrow from it, and are dropped the moment another wins.
//! **Hedge only what is idempotent**: more than one attempt may reach the other end.
//!
//! | to | use |
//! |---|---|
//! | choose, size and test, page by page | [`_guide`] |
//! | decide when to hedge | [`strategy`]; [`Percentile`] unless there is a reason |
//! | bound what it costs | [`Budget`] |
//! | set other options, count, listen | [`hedger_with`] |
//! | choose between links, by what each has shown | [`Replicas`] |
//! | share one budget, or guard with another mutex | [`Shared`] |
//! | build at run time, errors checked | [`Hedger::builder`](hedge_core::Hedger::builder) of an [`EmbassyTimer`], `build_with(Shared::new, Shared::new)` |
//! | log what it does | `DefmtSink` and `Logged`, with the feature `defmt` |
//!
//! # In firmware
//!
//! ```toml
//! [dependencies]
//! hedge-embassy = "0.1"
//! ```
//!
//! This crate chooses no time driver, tick rate, executor or critical section: the HAL does (as
//! embassy-stm32 with `time-driver-any`), or the firmware (`cortex-m` with `critical-section-single-core`).
//! Latencies are told apart no better than ticks, so take a rate of 1 kHz or more. Without an embassy
//! executor embassy-time needs one of its `generic-queue-…` features. Cores without compare-and-swap, such
//! as Cortex-M0, will do.
//!
//! # What it takes
//!
//! On a Cortex-M, in bytes:
//!
//! | what | RAM |
//! |---|---|
//! | hedger with [`Percentile<N>`](Percentile) | 8 `N` + 376: 888 for 64 samples |
//! | hedger with [`Metrics`] | 4.5 KiB more |
//! | request | an attempt for each that it has room for, and 200 |
//!
//! 64 samples find P95 well enough to begin with, and 200 are steadier. A hedger in a `static` has its first
//! value in flash too, window included.
//!
//! Hedging takes about 15.7 KiB of flash (`opt-level = "z"`, `lto = "fat"`), 1.5 of them for `memmove`, which
//! other code may have brought already; `bash tests/firmware/run` measures it.
//!
//! A request holds the mutex, and so by default keeps interrupts off, a few times for some dozens of
//! instructions; and when it ends for as long as it takes to find a place among the `N` samples and move up to
//! 4 `N` bytes, and every `N`/64 requests to find their percentile. Where that is too long for an interrupt,
//! and all requests are made in one executor, use
//! [`NoopRawMutex`](embassy_sync::blocking_mutex::raw::NoopRawMutex) and no `static`.
//!
//! # What it cannot do
//!
//! - Help with one link: a second attempt over the link that is busy with the first is as slow, and slows
//!   down others. Hedge over another link, another hub, or where frames get lost.
//! - Take back what was sent. A dropped attempt is not polled any more; whether the other end hears of it
//!   is up to its future's `Drop`.
//! - Be shared between two cores by a critical section that stops only one of them.
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
    Adaptive, AnyStrategy, Attempt, Budget, ByResult, Call, Cause, Classify, ConfigError, Error,
    Event, ExponentialBackoff, Fixed, Hedged, Hints, Instant, Metrics, MetricsSnapshot, Name, Off,
    OnFailure, Optimal, Options, Outcome, Percentile, Record, Sink, Strategy, StrategyKind,
    Suppressed, Timer, Verdict, WorkloadAware, adapter, metrics, replicas, strategy, telemetry,
};
