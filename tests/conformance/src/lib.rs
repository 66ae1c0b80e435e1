//! What hedge promises, as one suite for every runtime.
//!
//! Every case in [`cases`] is an `async fn` over a [`World`]: a runtime's [`Timer`](hedge_core::Timer), and
//! a [`Home`] that says how the requests of a hedger share its state. It needs neither `std` nor an
//! allocator, so that the same suite runs on servers, in browsers and on microcontrollers.
//!
//! [`conformance!`] makes a test of each. Where that does not fit, [`for_each_case!`] hands the names
//! to a custom macro.
//!
//! On a real clock a case asserts order, counts and lower bounds, never that something was quick. On
//! a virtual one it asserts exact times.
#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod audit;
mod backend;
pub mod cases;
mod draws;
mod home;
mod spy;
mod streams;
mod suite;
mod world;

pub use audit::Books;
pub use draws::Draws;
#[cfg(feature = "std")]
pub use home::Threads;
pub use home::{Home, Local};
pub use world::World;

/// The README's programs are compiled and run here, where every runtime is at hand.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
