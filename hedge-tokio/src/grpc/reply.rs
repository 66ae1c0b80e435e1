//! The status of a reply, and its pushback.

use core::time::Duration;

use hedge_core::Verdict;
use http::{HeaderMap, HeaderName, StatusCode};

use super::Code;
use super::code::Codes;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The answer of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    pub(super) code: Code,
    pushback: Option<Pushback>,
}

/// The server's request to a client that would send another attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pushback {
    /// Wait for this time.
    Wait(Duration),
    /// Send no further attempt.
    Never,
}

impl Reply {
    /// A reply whose first message came before its status.
    pub(super) const MESSAGE: Self = Self::of(Code::Ok);

    const fn of(code: Code) -> Self {
        Self {
            code,
            pushback: None,
        }
    }

    /// Reads the status in the headers of a response without messages, or of a response that did not come from a gRPC
    /// server. `None` if the status comes later.
    pub(super) fn from_headers(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(GRPC_STATUS) {
            return Some(Self::from_trailers(headers));
        }
        (status != StatusCode::OK).then(|| Self::of(Code::from_http(status)))
    }

    /// Reads the status at the end of a response.
    pub(super) fn from_trailers(trailers: &HeaderMap) -> Self {
        let text = |name| Some(trailers.get(name)?.to_str().unwrap_or_default());
        let code = text(GRPC_STATUS)
            .and_then(|status| status.trim().parse().ok())
            .and_then(Code::from_number);
        let pushback = text(PUSHBACK).map(|millis| match millis.trim().parse::<i32>() {
            Ok(millis @ 0..) => Pushback::Wait(Duration::from_millis(millis.unsigned_abs().into())),
            // An invalid pushback must not mean "now".
            _ => Pushback::Never,
        });
        Self {
            code: code.unwrap_or(Code::Unknown),
            pushback,
        }
    }

    /// Returns the reply for a response that ended without a status, or that did not come.
    pub(super) const fn missing(code: Code) -> Self {
        Self::of(code)
    }

    /// Returns whether the server, or the connection to it, is at fault rather than the call.
    pub(super) const fn blames_server(self) -> bool {
        matches!(
            self.code,
            Code::Unknown
                | Code::ResourceExhausted
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        )
    }

    /// Returns the verdict on the reply, if another attempt may be sent after the codes `non_fatal`.
    pub(super) fn verdict(self, non_fatal: Codes) -> Verdict {
        match (self.code, self.pushback) {
            (Code::Ok, _) => Verdict::Accept,
            (code, pushback) if non_fatal.contains(code) => match pushback {
                None => Verdict::Retry,
                Some(Pushback::Wait(delay)) => Verdict::RetryAfter(delay),
                Some(Pushback::Never) => Verdict::Wait,
            },
            // These codes say that the call itself is invalid or came at the wrong time, so another attempt would fail
            // in the same way.
            (
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::FailedPrecondition
                | Code::OutOfRange,
                _,
            ) => Verdict::Accept,
            _ => Verdict::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn reply(status: &'static str, pushback: Option<&'static str>) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
        if let Some(pushback) = pushback {
            headers.insert(PUSHBACK, HeaderValue::from_static(pushback));
        }
        Reply::from_headers(StatusCode::OK, &headers).unwrap()
    }

    #[test]
    fn a_status_is_fatal_or_not() {
        let retried = Codes::default().with(Code::Unavailable);
        for (status, verdict) in [
            ("0", Verdict::Accept),
            ("14", Verdict::Retry),
            ("5", Verdict::Accept),
            ("13", Verdict::Fatal),
            ("what", Verdict::Fatal),
            ("17", Verdict::Fatal),
        ] {
            assert_eq!(reply(status, None).verdict(retried), verdict, "{status}");
        }
    }

    #[test]
    fn pushback_is_kept_to() {
        let retried = Codes::default().with(Code::Unavailable);
        let after = |millis| Verdict::RetryAfter(Duration::from_millis(millis));
        for (pushback, verdict) in [
            ("0", after(0)),
            ("250", after(250)),
            ("-1", Verdict::Wait),
            ("1.5", Verdict::Wait),
            ("soon", Verdict::Wait),
            ("99999999999", Verdict::Wait),
        ] {
            let reply = reply("14", Some(pushback));
            assert_eq!(reply.verdict(retried), verdict, "{pushback}");
            assert_eq!(reply.verdict(Codes::default()), Verdict::Fatal);
        }
    }

    #[test]
    fn a_response_of_http_alone_has_a_code_too() {
        let headers = HeaderMap::new();
        let code = |status| Reply::from_headers(status, &headers).map(|reply| reply.code);
        assert_eq!(code(StatusCode::OK), None);
        assert_eq!(code(StatusCode::BAD_GATEWAY), Some(Code::Unavailable));
        assert_eq!(code(StatusCode::NOT_FOUND), Some(Code::Unimplemented));
        assert_eq!(code(StatusCode::NOT_IMPLEMENTED), Some(Code::Unknown));
    }
}
