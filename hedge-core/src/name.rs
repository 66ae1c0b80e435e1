//! Short names that need no allocator.

use core::fmt;

use crate::error::ConfigError;

/// A name of at most 32 bytes, stored inline so that it can be copied into every outcome and event.
///
/// ```
/// use hedge_core::Name;
///
/// let name: Name = "search-eu".parse()?;
/// assert_eq!(name.as_str(), "search-eu");
/// assert!("a name that is much longer than thirty-two bytes".parse::<Name>().is_err());
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
// The alignment makes copies use whole words. Every outcome and event contains a name.
#[repr(align(8))]
pub struct Name {
    /// The text, padded with zeros. The last byte is the length plus [`LEN`](Self::LEN), unless the
    /// text fills all bytes. The two cases differ because UTF-8 text never ends with a byte of
    /// `LEN` or more.
    bytes: [u8; Self::CAPACITY],
}

impl Name {
    /// The greatest length of a name in bytes.
    pub const CAPACITY: usize = 32;

    /// Added to a length below [`CAPACITY`](Self::CAPACITY).
    const LEN: u8 = 0xC0;

    /// The empty name.
    pub const EMPTY: Self = Self::truncated("");

    /// Returns `text` as a name, truncated at the last character that fits. Use it for a `const`;
    /// [`str::parse`] returns an error for a text that is too long.
    pub const fn truncated(text: &str) -> Self {
        let source = text.as_bytes();
        let mut len = if source.len() < Self::CAPACITY {
            source.len()
        } else {
            Self::CAPACITY
        };
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; Self::CAPACITY];
        bytes[Self::CAPACITY - 1] = Self::LEN | len as u8;
        let mut i = 0;
        while i < len {
            bytes[i] = source[i];
            i += 1;
        }
        Self { bytes }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len()).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    const fn len(&self) -> usize {
        match self.bytes[Self::CAPACITY - 1].checked_sub(Self::LEN) {
            Some(len) => len as usize,
            None => Self::CAPACITY,
        }
    }

    /// Returns whether the name is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parses `text` as a name. The error names `option`.
    pub(crate) fn parse_for(option: &'static str, text: &str) -> Result<Self, ConfigError> {
        if text.len() > Self::CAPACITY {
            return Err(ConfigError::text(option, text, "at most 32 bytes"));
        }
        Ok(Self::truncated(text))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl core::str::FromStr for Name {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse_for("strategy_name", text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_was_made_of_whatever_its_length() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        for len in 0..=Name::CAPACITY {
            let name = Name::truncated(&text[..len]);
            assert_eq!(name.as_str(), &text[..len]);
            assert_eq!(name.is_empty(), len == 0);
        }
        assert_eq!(Name::truncated(text).as_str(), &text[..Name::CAPACITY]);
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        // The last character would occupy the bytes 31 to 33.
        let long = "0123456789abcdefghijklmnopqrstu\u{20AC}";
        assert_eq!(Name::truncated(long).as_str(), &long[..31]);
        // The last character ends with the last byte, which has the largest possible value.
        let full = "0123456789abcdefghijklmnopqrs\u{FFFF}";
        assert_eq!(Name::truncated(full).as_str(), full);
    }

    #[test]
    fn names_are_in_the_order_of_their_texts() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        let names: [Name; 33] = core::array::from_fn(|len| Name::truncated(&text[..len]));
        assert!(names.is_sorted());
        assert_ne!(Name::truncated("a"), Name::truncated("a\0"));
        assert!(Name::truncated("a") < Name::truncated("a\0"));
    }
}
