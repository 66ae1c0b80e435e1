//! The header `grpc-timeout`.

use core::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The units, from the smallest, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// The largest number in the header, which has eight digits.
const LARGEST: u64 = 99_999_999;

/// Returns the timeout of a call; `None` if there is none, or it cannot be read.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_TIMEOUT)?.as_bytes();
    let (unit, digits) = value.split_last()?;
    let is_number = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = is_number.then(|| core::str::from_utf8(digits).ok()?.parse::<u64>().ok())??;
    let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit)?;
    let seconds = u128::from(number) * u128::from(*nanos) / 1_000_000_000;
    let rest = u128::from(number) * u128::from(*nanos) % 1_000_000_000;
    Some(Duration::new(seconds as u64, rest as u32))
}

/// Sets the timeout, rounded up, in the smallest unit in which it fits.
pub(super) fn set_timeout(headers: &mut HeaderMap, timeout: Duration) {
    let nanos = timeout.as_nanos();
    let mut numbers = UNITS
        .iter()
        .map(|(name, unit)| (*name, nanos.div_ceil(u128::from(*unit))));
    let fits = numbers.find(|(_, number)| *number <= u128::from(LARGEST));
    // The largest timeout is about 11 000 years.
    let (unit, number) = fits.unwrap_or((b'H', u128::from(LARGEST)));
    let text = format!("{number}{}", char::from(unit));
    if let Ok(value) = HeaderValue::from_str(&text) {
        let _ = headers.try_insert(GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(value));
        timeout(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        for (value, nanos) in [
            ("1n", 1),
            ("20u", 20_000),
            ("100m", 100_000_000),
            ("0S", 0),
            ("99999999S", 99_999_999_000_000_000),
            ("2M", 120_000_000_000),
            ("1H", 3_600_000_000_000),
        ] {
            assert_eq!(read(value), Some(Duration::from_nanos(nanos)), "{value}");
        }
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        for value in [
            "",
            "m",
            "5",
            "1.5S",
            "-1S",
            "+1S",
            "123456789n",
            "1s",
            "1 S",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn a_timeout_is_written_as_precisely_as_eight_digits_allow() {
        for (timeout, text) in [
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(99_999_999), "99999999S"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, timeout);
            assert_eq!(headers[GRPC_TIMEOUT], text);
        }
    }
}
