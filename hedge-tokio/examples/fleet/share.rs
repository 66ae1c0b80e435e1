//! Shares what hedgers have learned over Redis: `SERVICE:ID` is the entry of an instance, and `SERVICE` the set of ids.
//!
//! Requests never touch Redis: a background task does, and each of its rounds has a time limit.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::Arc;

use hedge_tokio::Hedger;
use hedge_tokio::strategy::{Learned, LearnedMerge};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client, RedisError, RedisResult};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// How many entries are merged, drawn at random if there are more, and the length of each in bytes. Both bound what
/// entries can make an instance read. The ids in the set are read whole: let nobody write to it who is not trusted.
const MOST_ENTRIES: usize = 64;
const MOST_BYTES: isize = 64 * 1024;

/// When to share.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    /// The prefix of all keys in Redis.
    pub(crate) service: String,
    pub(crate) every: Duration,
    /// The time limit of one round.
    pub(crate) patience: Duration,
    /// When the entry of an instance that is gone expires: several times `every`.
    pub(crate) expiry: Duration,
    /// How many requests an instance makes before it publishes: it would repeat the merge that it started with.
    pub(crate) requests: u64,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) merged: AtomicU64,
    /// Entries that were invalid.
    pub(crate) refused: AtomicU64,
    pub(crate) published: AtomicU64,
    /// Rounds that failed or took too long.
    pub(crate) away: AtomicU64,
}

/// A member of the fleet until dropped.
pub(crate) struct Member {
    pub(crate) counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Member {
    /// Gives `hedger` what the fleet has learned, if Redis answers within the time limit, and then publishes in the
    /// background. Call it before the first request.
    pub(crate) async fn join(hedger: &Hedger, redis: Client, id: String, sharing: Sharing) -> Self {
        let counts = Arc::<Counts>::default();
        let round = warm_up(hedger, &redis, &sharing, &counts);
        count(&counts, timeout(sharing.patience, round).await);
        let task = tokio::spawn(publish(hedger.clone(), redis, id, sharing, counts.clone()));
        Self { counts, task }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(hedger: Hedger, redis: Client, id: String, to: Sharing, counts: Arc<Counts>) {
    loop {
        let next = Instant::now() + to.every;
        if hedger.metrics().total_requests >= to.requests {
            let round = put(&hedger, &redis, &id, &to, &counts);
            count(&counts, timeout(to.patience, round).await);
        }
        sleep_until(next).await;
    }
}

fn count<E>(counts: &Counts, round: Result<RedisResult<()>, E>) {
    if !matches!(round, Ok(Ok(()))) {
        counts.away.fetch_add(1, Relaxed);
    }
}

async fn warm_up(hedger: &Hedger, redis: &Client, from: &Sharing, to: &Counts) -> RedisResult<()> {
    let mut connection = redis.get_multiplexed_async_connection().await?;
    let ids = redis::cmd("SRANDMEMBER")
        .arg(&from.service)
        .arg(MOST_ENTRIES)
        .query_async::<Vec<Vec<u8>>>(&mut connection)
        .await?;
    let mut merge = LearnedMerge::new(hedger.export().strategy());
    for id in ids {
        match fetch(&mut connection, &from.service, &id).await? {
            Entry::Expired => connection.srem(&from.service, id).await?,
            Entry::Learned(learned) if merge.add(&learned).is_ok() => {}
            _ => _ = to.refused.fetch_add(1, Relaxed),
        }
    }
    let merged = merge.entries();
    // The hedger checks the merge again, and changes nothing if it refuses it.
    if merge
        .finish()
        .is_some_and(|all| hedger.restore(&all).is_ok())
    {
        to.merged.fetch_add(merged.into(), Relaxed);
    }
    Ok(())
}

enum Entry {
    Expired,
    Invalid,
    Learned(Learned),
}

async fn fetch(from: &mut MultiplexedConnection, service: &str, id: &[u8]) -> RedisResult<Entry> {
    let key = [service.as_bytes(), b":", id].concat();
    let text: Vec<u8> = match from.getrange(key, 0, MOST_BYTES).await {
        Ok(text) => text,
        // Such as a list where text should be.
        Err(error) if is_reply(&error) => return Ok(Entry::Invalid),
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice(&text) {
        _ if text.is_empty() => Entry::Expired,
        _ if text.len() as isize > MOST_BYTES => Entry::Invalid,
        Ok(learned) => Entry::Learned(learned),
        Err(_) => Entry::Invalid,
    })
}

/// Whether Redis answered, with an error.
fn is_reply(error: &RedisError) -> bool {
    error.code().is_some() && !error.is_io_error()
}

async fn put(
    hedger: &Hedger,
    redis: &Client,
    id: &str,
    to: &Sharing,
    counts: &Counts,
) -> RedisResult<()> {
    let Ok(text) = serde_json::to_string(&hedger.export()) else {
        return Ok(());
    };
    let mut connection = redis.get_multiplexed_async_connection().await?;
    let (key, expiry) = (format!("{}:{id}", to.service), to.expiry.as_millis() as u64);
    let () = redis::pipe()
        .pset_ex(key, text, expiry)
        .sadd(&to.service, id)
        .pexpire(&to.service, expiry as i64)
        .query_async(&mut connection)
        .await?;
    counts.published.fetch_add(1, Relaxed);
    Ok(())
}
