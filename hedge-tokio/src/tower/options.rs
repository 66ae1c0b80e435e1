//! The options of one request through a hedge layer.

use core::time::Duration;
use std::borrow::Cow;

use hedge_core::Hints;
use tokio::time::Instant;

use crate::{Call, Hedger};

/// The options of one request: its time limits, hints, key and replicas, and whether it may be hedged.
///
/// A [`Policy`](super::Policy) returns them for each request. The hedger's options apply for everything that is not
/// set.
///
/// ```
/// use core::time::Duration;
/// use hedge_tokio::tower::{Policy, RequestOptions};
///
/// /// Reports are slow and have a time limit. Writes are not hedged.
/// #[derive(Clone)]
/// struct Queries;
///
/// impl<Res, E> Policy<String, Res, E> for Queries {
///     fn copy(&self, request: &String) -> Option<String> {
///         Some(request.clone())
///     }
///
///     fn options<'r>(&self, request: &'r String) -> RequestOptions<'r> {
///         match request.split_whitespace().next() {
///             Some("REPORT") => RequestOptions::new().key("report").timeout(Duration::from_secs(60)),
///             Some("SELECT") => RequestOptions::new().key("select"),
///             _ => RequestOptions::new().unhedged(),
///         }
///     }
/// }
/// ```
///
/// [`HttpPolicy`](super::HttpPolicy) takes them from the extensions of the request:
///
/// ```
/// use core::time::Duration;
/// use hedge_tokio::tower::RequestOptions;
/// use http::Request;
///
/// let options = RequestOptions::new().timeout(Duration::from_millis(500));
/// let request = Request::get("/users").extension(options).body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a policy returns them"]
pub struct RequestOptions<'r> {
    pub(super) limits: Limits,
    pub(super) key: Option<Cow<'r, str>>,
}

/// The options that do not borrow from the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    hints: Hints,
    max_hedges: Option<u8>,
    pub(super) hedge: bool,
    teaches: Option<bool>,
    deposits: Option<bool>,
    keep_refused: Option<bool>,
    pub(super) among: u64,
}

impl<'r> RequestOptions<'r> {
    /// Creates options of which none is set.
    pub const fn new() -> Self {
        Self {
            limits: Limits {
                timeout: None,
                deadline: None,
                hints: Hints::NONE,
                max_hedges: None,
                hedge: true,
                teaches: None,
                deposits: None,
                keep_refused: None,
                among: u64::MAX,
            },
            key: None,
        }
    }

    /// Turns off hedging for the request: it is sent once, without the hedger's time limits, and counted. Nothing is
    /// [learned](Self::teaches) from it and it does not [deposit](Self::deposits), unless these are set.
    ///
    /// [`Policy::copy`](super::Policy::copy) is not called for it.
    pub const fn unhedged(mut self) -> Self {
        self.limits.hedge = false;
        self
    }

    /// Sets the time limit of the request, over all its attempts. The hedger's limit applies if it is shorter.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// Sets the time at which the request ends. If it has passed, nothing is sent.
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Sets the hints for the strategy.
    pub const fn hints(mut self, hints: Hints) -> Self {
        self.limits.hints = hints;
        self
    }

    /// Sets the maximum number of hedges, if the hedger would start more.
    pub const fn max_hedges(mut self, hedges: u8) -> Self {
        self.limits.max_hedges = Some(hedges);
        self
    }

    /// Sets whether strategy and guard learn from the request. By default they do if it may be hedged.
    pub const fn teaches(mut self, teaches: bool) -> Self {
        self.limits.teaches = Some(teaches);
        self
    }

    /// Sets whether the request deposits into the budget. By default it does if it may be hedged.
    pub const fn deposits(mut self, deposits: bool) -> Self {
        self.limits.deposits = Some(deposits);
        self
    }

    /// Sets whether responses that the policy refused are kept while further attempts start. Default: true, and
    /// false with [`HttpPolicy`](super::HttpPolicy). See
    /// [`Call::keep_refused`](hedge_core::Call::keep_refused).
    pub const fn keep_refused(mut self, keep: bool) -> Self {
        self.limits.keep_refused = Some(keep);
        self
    }

    /// Allows only the replicas whose bit in `mask` is set: bit i stands for index i. For a
    /// [`HedgeReplicas`](super::HedgeReplicas).
    pub const fn among(mut self, mask: u64) -> Self {
        self.limits.among &= mask;
        self
    }

    /// Sets the name of the [key](hedge_core::runtime::Hedger::key) under which latencies are learned: requests with different
    /// keys, such as routes, have different delays and one budget.
    ///
    /// Use names of routes, not paths: the first 64 names each have a key, and all others share one.
    pub fn key(mut self, key: impl Into<Cow<'r, str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Returns the options in the extensions of a request.
    pub(crate) fn of<B>(request: &'r http::Request<B>) -> Self {
        let options = request.extensions().get::<RequestOptions<'static>>();
        options.map_or_else(Self::new, RequestOptions::borrowed)
    }

    /// Sets the default of [`keep_refused`](Self::keep_refused).
    pub(crate) fn or_keep_refused(mut self, keep: bool) -> Self {
        self.limits.keep_refused.get_or_insert(keep);
        self
    }

    /// Returns whether the request may be hedged.
    #[cfg(feature = "grpc")]
    pub(crate) const fn may_hedge(&self) -> bool {
        self.limits.hedge
    }

    /// Limits the time of the request to `timeout`.
    #[cfg(feature = "grpc")]
    pub(crate) fn within(self, timeout: Duration) -> Self {
        let known = self.limits.timeout.unwrap_or(timeout);
        self.timeout(known.min(timeout))
    }

    /// Returns when a request that starts at `now` ends; `None` if these options do not limit its time.
    #[cfg(feature = "grpc")]
    pub(crate) fn end(&self, now: Instant) -> Option<Instant> {
        let timeout = self.limits.timeout;
        let end = timeout.and_then(|timeout| now.checked_add(timeout));
        end.into_iter().chain(self.limits.deadline).min()
    }

    /// Sets the key, if there is none.
    #[cfg(feature = "grpc")]
    pub(crate) fn or_key(self, key: &'r str) -> Self {
        match self.key {
            Some(_) => self,
            None => self.key(key),
        }
    }

    /// Limits the number of hedges to `hedges`.
    #[cfg(feature = "grpc")]
    pub(crate) fn at_most_hedges(self, hedges: u8) -> Self {
        let known = self.limits.max_hedges.unwrap_or(hedges);
        self.max_hedges(known.min(hedges))
    }

    /// Returns the same options without a copy of the key.
    pub fn borrowed(&self) -> RequestOptions<'_> {
        RequestOptions {
            limits: self.limits,
            key: self.key.as_deref().map(Cow::Borrowed),
        }
    }
}

impl Default for RequestOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// Returns a call with these options.
    pub(super) fn call(self, hedger: &Hedger) -> Call<'_> {
        let mut call = hedger
            .call()
            .hints(self.hints)
            .keep_refused(self.keep_refused.unwrap_or(true));
        if !self.hedge {
            call = call.unhedged();
        }
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        if let Some(deadline) = self.deadline {
            call = call.deadline(hedger.instant(deadline));
        }
        if let Some(hedges) = self.max_hedges {
            call = call.max_hedges(hedges);
        }
        if let Some(teaches) = self.teaches {
            call = call.teaches(teaches);
        }
        if let Some(deposits) = self.deposits {
            call = call.deposits(deposits);
        }
        call
    }
}
