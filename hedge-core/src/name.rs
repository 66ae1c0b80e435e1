//! Short names without an allocator.

use core::fmt;

use crate::ConfigError;

/// A name of at most 32 bytes, held inline so that it can be copied into every outcome and event.
///
/// ```
/// use hedge_core::Name;
///
/// let name: Name = "search-eu".parse()?;
/// assert_eq!(name.as_str(), "search-eu");
/// assert!("a name that is much longer than thirty-two bytes".parse::<Name>().is_err());
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Name {
    /// How many bytes fit.
    pub const CAPACITY: usize = 32;

    /// No name.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::CAPACITY],
        len: 0,
    };

    /// `text` as a name, cut at the last character that fits. For a `const`; [`str::parse`] refuses
    /// what is too long instead.
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
        let mut i = 0;
        while i < len {
            bytes[i] = source[i];
            i += 1;
        }
        Self {
            bytes,
            len: len as u8,
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether there is no name.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `text` as a name, or an error that names `option`.
    pub(crate) fn parse_for(option: &'static str, text: &str) -> Result<Self, ConfigError> {
        if text.len() > Self::CAPACITY {
            return Err(ConfigError::text(option, text, "at most 32 bytes"));
        }
        Ok(Self::truncated(text))
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
