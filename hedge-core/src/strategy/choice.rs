//! Options whose value is one of a few words.

/// An enum whose variants have names in config files.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident($option:literal, $expected:literal) {
            $($(#[$doc:meta])* $variant:ident = $text:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every choice.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$variant),*];

            /// All choices, for errors.
            #[cfg(feature = "serde")]
            pub(crate) const EXPECTED: &'static str = $expected;

            /// Returns the choice as in a config file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::error::ConfigError;

            fn from_str(text: &str) -> Result<Self, $crate::error::ConfigError> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::error::ConfigError::text($option, text, $expected)),
                }
            }
        }
    };
}

pub(super) use choice;
