//! The header `Retry-After`.

use core::time::Duration;
use std::time::SystemTime;

use hedge_core::Verdict;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Returns the verdict for a response after which another attempt may be sent, by its `Retry-After` (RFC 9110, section
/// 10.2.3).
///
/// If the header cannot be read, no further attempt is started.
pub(super) fn retry_after(headers: &HeaderMap) -> Verdict {
    let Some(value) = headers.get(RETRY_AFTER) else {
        return Verdict::Retry;
    };
    let delay = value.to_str().ok().and_then(|value| {
        let value = value.trim();
        seconds(value).or_else(|| until(value, headers))
    });
    delay.map_or(Verdict::Wait, Verdict::RetryAfter)
}

/// Reads a number of seconds, which consists of digits only.
fn seconds(value: &str) -> Option<Duration> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| value.parse().ok())??;
    Some(Duration::from_secs(seconds))
}

/// Returns the time until a date, by the `Date` of the response if it has one.
fn until(value: &str, headers: &HeaderMap) -> Option<Duration> {
    let date = httpdate::parse_http_date(value).ok()?;
    let sent = headers.get(DATE).and_then(|sent| sent.to_str().ok());
    let now = sent.and_then(|sent| httpdate::parse_http_date(sent).ok());
    let now = now.unwrap_or_else(SystemTime::now);
    // A date in the past means now.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &'static [u8]) -> Verdict {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value).unwrap();
        headers.insert(RETRY_AFTER, value);
        let date = HeaderValue::from_static("Fri, 31 Dec 1999 23:59:50 GMT");
        headers.insert(DATE, date);
        retry_after(&headers)
    }

    #[test]
    fn dates_and_seconds_are_kept_to() {
        assert_eq!(retry_after(&HeaderMap::new()), Verdict::Retry);
        let after = |seconds| Verdict::RetryAfter(Duration::from_secs(seconds));
        for (value, seconds) in [
            ("0", 0),
            ("2", 2),
            (" 120 ", 120),
            ("18446744073709551615", u64::MAX),
            ("Fri, 31 Dec 1999 23:59:59 GMT", 9),
            ("Friday, 31-Dec-99 23:59:59 GMT", 9),
            ("Fri Dec 31 23:59:59 1999", 9),
            ("Fri, 31 Dec 1999 23:59:10 GMT", 0),
        ] {
            assert_eq!(read(value.as_bytes()), after(seconds), "{value}");
        }
    }

    #[test]
    fn without_a_date_of_its_own_the_clock_here_counts() {
        let date = SystemTime::now() + Duration::from_secs(1000);
        let value = HeaderValue::from_str(&httpdate::fmt_http_date(date)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value);
        let Verdict::RetryAfter(delay) = retry_after(&headers) else {
            panic!("not kept to");
        };
        let seconds = delay.as_secs();
        assert!((900..=1000).contains(&seconds), "{seconds}");
    }

    #[test]
    fn what_cannot_be_read_is_not_now() {
        for value in [
            "",
            "1.5",
            "-1",
            "+1",
            "1 s",
            "12345678901234567890123",
            "never",
            "Fri, 31 Dec 1999",
            "\u{fc}",
        ] {
            assert_eq!(read(value.as_bytes()), Verdict::Wait, "{value}");
        }
    }
}
