//! What may be hedged, and what counts as an answer.

use hedge_core::{Attempt, Outcome, Verdict};

/// Says of a service's requests which may be hedged, and of its responses which are answers.
///
/// ```
/// use hedge_tokio::Verdict;
/// use hedge_tokio::tower::Policy;
///
/// /// Hedges queries, and nothing that writes.
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
    /// A copy of the request for a hedge to send; absent if it must not be hedged. Asked once for every
    /// request before it is sent, and of that copy once for every hedge that is due and has a service that is
    /// ready.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// The request of an attempt, the primary's too, before it is sent: to mark it in a header, or to send a hedge
    /// to another replica.
    fn prepare(&self, request: &mut Req, attempt: Attempt) {
        let _ = (request, attempt);
    }

    /// What a result means for its request. Unless told otherwise `Ok` is an answer and `Err` is worth a
    /// hedge at once.
    fn classify(&self, result: &Result<Res, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Accept,
            Err(_) => Verdict::Retry,
        }
    }

    /// The response, on its way to the caller, and what the request did: to note it in a header or an
    /// extension.
    fn answered(&self, response: &mut Res, outcome: &Outcome) {
        let _ = (response, outcome);
    }
}

/// Hedges every request, by a clone. All of them have to be idempotent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Cloned {
    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
