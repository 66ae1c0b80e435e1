//! The size of a body of which a part has been read.

use http_body::SizeHint;

/// Returns the size of a body of which `held` bytes have been read and `rest` has not, and whose trailers are held if
/// `has_trailers`.
pub(crate) fn size_hint(held: u64, rest: &SizeHint, has_trailers: bool) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(held.saturating_add(rest.lower()));
    // HTTP/1 has no trailers after a body whose size is known.
    if !has_trailers && let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
        hint.set_upper(upper);
    }
    hint
}
