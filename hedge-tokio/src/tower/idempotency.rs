//! Idempotency keys of HTTP requests.

use core::hash::BuildHasher;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::hash_map::RandomState;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Returns whether a key makes requests with this method idempotent.
pub(super) fn takes_key(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PATCH)
}

/// Adds a new key, unless the caller has set one.
pub(super) fn add_key(headers: &mut HeaderMap) {
    if !headers.contains_key(IDEMPOTENCY_KEY)
        // The value is a string of structured fields (RFC 9651), which stands in quotes.
        && let Ok(key) = HeaderValue::from_str(&format!("\"{}\"", uuid()))
    {
        let _ = headers.try_insert(IDEMPOTENCY_KEY, key);
    }
}

/// Returns a random UUID (RFC 9562, version 4).
///
/// The random bits are a hash of a counter with the random keys of the standard library's hash maps. Idempotency keys
/// must be unique, but need not be secret.
fn uuid() -> String {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let [high, low] = keys.each_ref().map(|key| key.hash_one(count));
    let high = high & !0xF000 | 0x4000;
    let low = low & !(0b11 << 62) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFFF,
        low >> 48,
        low & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_uuids_that_do_not_repeat() {
        let keys: HashSet<_> = (0..1000).map(|_| uuid()).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            let parts: Vec<_> = key.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{key}");
            assert_eq!(key.as_bytes()[14], b'4', "{key}");
            assert!(b"89ab".contains(&key.as_bytes()[19]), "{key}");
        }
    }
}
