//! The policy of a hedge layer.

use hedge_core::{Attempt, Outcome, Verdict};

use super::RequestOptions;

/// Decides which requests of a service may be hedged, and which of its responses are answers.
///
/// ```
/// use hedge_tokio::Verdict;
/// use hedge_tokio::tower::Policy;
///
/// /// Hedges queries, but no writes.
/// #[derive(Clone)]
/// struct Queries;
///
/// impl<Res, E> Policy<String, Res, E> for Queries {
///     fn copy(&self, request: &String) -> Option<String> {
///         request.starts_with("SELECT").then(|| request.clone())
///     }
///
///     fn prepare(&self, request: &mut String, attempt: hedge_tokio::Attempt) {
///         if attempt.is_hedge() {
///             request.push_str(" -- hedge");
///         }
///     }
/// }
/// ```
pub trait Policy<Req, Res, E> {
    /// Returns the policy for one request; by default, a clone. Called once for every request, before the other
    /// methods. It may modify the request, for example to give all its attempts the same idempotency key.
    fn for_request(&self, request: &mut Req) -> Self
    where
        Self: Sized + Clone,
    {
        let _ = request;
        self.clone()
    }

    /// Returns a copy of the request for a hedge; `None` if the request must not be hedged.
    ///
    /// Called once for every request before it is sent, unless its [options](Self::options) say that it must not be
    /// hedged, and again with that copy for every hedge
    /// that is due and has a service that is ready.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Returns the options of a request: its time limits, hints and key, the replicas that it may use, and whether
    /// it may be hedged. Called once for every request, before [`copy`](Self::copy). By default, everything is left
    /// to the hedger.
    fn options<'r>(&self, request: &'r Req) -> RequestOptions<'r> {
        let _ = request;
        RequestOptions::new()
    }

    /// Prepares the request of an attempt, including the primary, before it is sent: for example,
    /// marks it in a header, or directs a hedge to another replica.
    fn prepare(&self, request: &mut Req, attempt: Attempt) {
        let _ = (request, attempt);
    }

    /// Returns what a result means for its request. By default, `Ok` is accepted, and `Err` starts
    /// a hedge immediately.
    fn classify(&self, result: &Result<Res, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Accept,
            Err(_) => Verdict::Retry,
        }
    }

    /// Returns what the result of `attempt` means for its request. By default, all attempts are treated
    /// alike, by [`classify`](Self::classify).
    fn classify_attempt(&self, attempt: &Attempt, result: &Result<Res, E>) -> Verdict {
        let _ = attempt;
        self.classify(result)
    }

    /// Returns whether the result of `attempt`, which was classified as `verdict`, counts as a failure of the replica that
    /// returned it, where the service is a [`HedgeReplicas`](super::HedgeReplicas). By default, unless it is accepted or
    /// fatal. See [`Classify::blames_replica`](hedge_core::Classify::blames_replica).
    fn blames_replica(&self, attempt: &Attempt, result: &Result<Res, E>, verdict: Verdict) -> bool {
        let _ = (attempt, result);
        verdict.blames_replica()
    }

    /// Modifies the response before it is returned to the caller: for example, adds the outcome in
    /// a header or an extension.
    fn answered(&self, response: &mut Res, outcome: &Outcome) {
        let _ = (response, outcome);
    }
}

/// Hedges every request with a clone. All requests must be idempotent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Cloned {
    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
