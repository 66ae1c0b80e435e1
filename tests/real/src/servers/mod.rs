//! The servers that are read from.

pub(crate) mod fleet;
pub(crate) mod grpc;
pub(crate) mod grpc_npm;
pub(crate) mod http2;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod s3;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::load::{STALL, value_of};

/// What answers behind nginx and gRPC: with the key's value, and late while it is told to.
#[derive(Debug, Default)]
struct Upstream {
    slow: AtomicBool,
    at_work: AtomicUsize,
}

impl Upstream {
    async fn answer(&self, key: u64) -> String {
        // Dropped, too, when the client has left.
        let _working = Working::new(&self.at_work);
        if self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(STALL).await;
        }
        value_of(key)
    }

    fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::SeqCst);
    }

    fn at_work(&self) -> usize {
        self.at_work.load(Ordering::SeqCst)
    }
}

struct Working<'u>(&'u AtomicUsize);

impl<'u> Working<'u> {
    fn new(count: &'u AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
