//! Statistics by key.

use super::{Call, Hedger, ServerState};
use crate::attempt::ByResult;
use crate::hedger::{Policy, SharedState};
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::runtime::sharded::{Key, Sharded};
use crate::runtime::{BoxedStrategy, Runtime};
use crate::strategy::{Learned, RestoreError, Strategy};
use crate::time::Instant;

impl<R: Runtime, const MAX: usize> Hedger<R, MAX> {
    /// Returns the key of this name, for [`Call::key`](Call::key). A key stands for a kind of requests, such as a
    /// route, whose latencies are learned separately. All keys share the hedger's budget.
    ///
    /// The first 64 names, or [`max_keys`](super::Builder::max_keys), each have a key for as long as the hedger
    /// exists. All further names share [`Key::OTHER`]. A key takes about 50 kB on two processors and 180 kB on eight or
    /// more, once it is used. Finding the key of a name takes no lock.
    ///
    /// A key starts without samples, and with the options of the hedger, which apply to all keys. If the strategy is a
    /// custom one that cannot be [created afresh](Strategy::fresh), all requests share it, and this is [`Key::NONE`].
    ///
    /// ```
    /// # use core::future::{Pending, pending};
    /// # use hedge_core::{Instant, Timer};
    /// # #[derive(Clone, Default)]
    /// # struct MyTimer;
    /// # impl Timer for MyTimer {
    /// #     type Sleep = Pending<()>;
    /// #     fn now(&self) -> Instant { Instant::ZERO }
    /// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
    /// # }
    /// # impl hedge_core::runtime::Runtime for MyTimer {
    /// #     type Instant = Instant;
    /// #     fn instant(&self, instant: Instant) -> Instant { instant }
    /// # }
    /// # futures_lite::future::block_on(async {
    /// use hedge_core::runtime::Hedger;
    ///
    /// let hedger = Hedger::<MyTimer>::builder().build()?;
    /// let users = hedger.key("GET /users");
    /// let call = hedger.call().key(users);
    /// call.request(|_| async { Ok::<_, ()>("users") }).await.unwrap();
    ///
    /// let metrics = hedger.of(users).metrics();
    /// assert_eq!((metrics.total_requests, hedger.metrics().total_requests), (1, 1));
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn key(&self, name: &str) -> Key {
        self.state().key(name)
    }

    /// Returns the state of the requests with this key. For [`Key::NONE`], that is the state of the requests without a
    /// key, with the metrics of all requests.
    pub fn of(&self, key: Key) -> Keyed<'_, R, MAX> {
        Keyed {
            hedger: self,
            state: self.state().keyed(key),
        }
    }

    /// Returns every key that was used, with its name; [`Key::OTHER`] last.
    pub fn keys(&self) -> impl Iterator<Item = (Key, &str)> {
        self.state().keys().map(|(key, name, _)| (key, name))
    }
}

impl<T, S, M, B, K, const MAX: usize> crate::hedger::Hedger<T, Sharded<S, M>, B, K, MAX>
where
    S: Strategy,
    M: Recorder,
{
    /// Returns the key of this name, if the state has [room for keys](Sharded::with_keys).
    pub fn key(&self, name: &str) -> Key {
        self.parts().state.key(name)
    }
}

/// Requests with a key.
impl<'h, T, S, M, B, K, C, const MAX: usize, G>
    crate::request::Call<'h, T, Sharded<S, M>, B, K, C, MAX, G>
where
    S: Strategy,
    M: Recorder,
{
    /// Sets the key of the request, whose strategy plans it and learns from it: see [`Hedger::key`].
    pub fn key(mut self, key: Key) -> Self {
        self.state = Some(self.hedger().parts().state.keyed(key));
        self
    }
}

/// The state of the requests with one key. See [`Hedger::of`].
#[derive(Clone, Copy, Debug)]
pub struct Keyed<'h, R, const MAX: usize = 4> {
    hedger: &'h Hedger<R, MAX>,
    state: &'h ServerState,
}

impl<'h, R: Runtime, const MAX: usize> Keyed<'h, R, MAX> {
    /// Returns a builder for a request with this key.
    pub fn call(&self) -> Call<'h, R, ByResult, MAX> {
        let mut call = self.hedger.call();
        call.state = Some(self.state);
        call
    }

    /// Returns the metrics of the requests with this key that have ended.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.state.metrics(self.now())
    }

    /// Calls `f` with the strategy of this key, if it is an `S`. `f` must be short, and must not use the hedger.
    pub fn with_strategy<S: Strategy + 'static, V>(
        &self,
        f: impl FnOnce(&mut S) -> V,
    ) -> Option<V> {
        let edit = |policy: &mut Policy<BoxedStrategy>| policy.strategy.downcast().map(f);
        self.state.edit(self.now(), edit)
    }

    /// Returns what was learned from the requests with this key.
    pub fn export(&self) -> Learned {
        let now = self.now();
        self.state
            .edit(now, |policy| Learned::of(&policy.strategy, now))
    }

    /// Restores what was learned before from the requests with this key, and replaces what has been learned since.
    ///
    /// # Errors
    ///
    /// Returns an error if `learned` is of another kind of strategy or contains an invalid value.
    /// Nothing is changed in this case.
    pub fn restore(&self, learned: &Learned) -> Result<(), RestoreError> {
        let now = self.now();
        self.state
            .edit(now, |policy| learned.restore(&mut policy.strategy, now))
    }

    fn now(&self) -> Instant {
        self.hedger.core.timer().now()
    }
}
