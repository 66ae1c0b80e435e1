//! Hedged reads from object stores such as S3, for the crate `object_store` 0.14 (feature `object_store`).
//!
//! [`HedgedStore`] wraps an [`ObjectStore`] and is one. With S3 (feature `aws` of `object_store`):
#![doc = "```ignore"]
#![doc = include_str!("s3.rs")]
#![doc = "```"]
//!
//! # What is hedged
//!
//! | operation | hedged |
//! |---|---|
//! | `get_opts`, and so `get`, `get_range` and `head` | yes |
//! | `get_ranges` | yes: nearby ranges are joined, and each read is hedged |
//! | `put`, multipart uploads, `copy`, `rename`, `delete`, `list` | never; they are forwarded to the first store |
//!
//! * An attempt has answered when the first bytes of the body have come. For a `head`, and for an object without bytes,
//!   the head of the response is the answer. Files, such as those of `LocalFileSystem`, are passed through.
//! * Reads are hedged by size. Each [`SizeClass`] has a separate delay, and all share one budget.
//! * `NotFound`, a failed precondition and a refused permission end the request. `Generic` errors start another
//!   attempt, unless an invalid range or a status 4xx other than 408 and 429 caused them.
//! * Hedges go through the stores of [`hedges_through`](HedgedStoreBuilder::hedges_through), so that they share no
//!   connection with the primary. Without such a store, they go through the same client.
//!
//! # A body that stalls
//!
//! If no bytes come for [`stall`](HedgedStoreBuilder::stall), or if the connection fails, another attempt requests the
//! rest of the body from the offset that was reached, for a token of the budget. It is sent with `if_match` and the
//! ETag of the first answer, so bytes of two objects are never mixed: if the object was replaced, the body ends with
//! [`Error::Precondition`]. Without a strong ETag, a body that stalls ends with an error. If the budget has no token, a
//! body that has only stalled ends with an error once no bytes have come for three times the limit, and one whose
//! connection failed ends at once. The rest of a body is requested at most three times.
//!
//! # The client's own retries
//!
//! The clients of `object_store` retry by themselves, by default ten times within three minutes, without a budget. Turn
//! this off with `RetryConfig { max_retries: 0, .. }`, so that errors start the next attempt of the hedger instead.
//!
//! [`ObjectStore`]: ::object_store::ObjectStore
//! [`Error::Precondition`]: ::object_store::Error::Precondition

pub use class::SizeClass;
pub use stats::HedgedStoreStats;
pub use store::{HedgedStore, HedgedStoreBuilder};

mod body;
mod class;
mod stats;
mod store;
