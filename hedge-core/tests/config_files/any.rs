//! Any text, and what is nearly right.

use proptest::prelude::*;

use super::{KINDS, files, read};

/// Every right file, and every wrong one.
fn texts() -> Vec<String> {
    let kinds = KINDS.into_iter();
    let texts = kinds.flat_map(|(_, kind)| [files("right", kind), files("wrong", kind)]);
    texts.flatten().map(|(_, text)| text).collect()
}

/// Reads `text` as everything; what comes of it does not matter.
fn read_as_all(text: &str) {
    for (kind, _) in KINDS {
        for toml in [false, true] {
            let _ = read(text, kind, toml);
        }
    }
}

/// `text` with the part from `at` that is `len` long replaced; both are counted in characters.
fn replaced(text: &str, at: usize, len: usize, by: &str) -> String {
    let before = text.chars().take(at);
    let after = text.chars().skip(at + len);
    before.chain(by.chars()).chain(after).collect()
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        read_as_all(&text);
    }

    #[test]
    fn nothing_that_is_nearly_right_panics(
        text in prop::sample::select(texts()),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..8_usize, prop::sample::select(&[
                "", "\"", "{", "}", "[", "]", "=", ",", ".", "-", "0", "9", "1e308", "1e-308", "nan", "-inf",
                "null", "true", "\n", "\\u0000", "options", "hedging", "strategy", "ä", "18446744073709551615",
            ][..])),
            1..6,
        ),
    ) {
        let text = edits.iter().fold(text, |text, (at, len, by)| {
            replaced(&text, at.index(text.chars().count() + 1), *len, by)
        });
        read_as_all(&text);
    }
}
