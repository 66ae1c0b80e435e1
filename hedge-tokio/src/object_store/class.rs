use core::fmt;
use core::ops::Range;

use ::object_store::{GetOptions, GetRange};

/// The size of a read. Each class of reads has a separate hedge delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SizeClass {
    /// No bytes: `head`.
    Head,
    /// A range of at most 64 KiB.
    Small,
    /// A range of at most 1 MiB.
    Medium,
    /// A range of at most 16 MiB.
    Large,
    /// A longer range, or one of unknown length: a whole object, or everything from an offset.
    Whole,
}

impl SizeClass {
    /// All classes, from the smallest.
    pub const ALL: [Self; 5] = [
        Self::Head,
        Self::Small,
        Self::Medium,
        Self::Large,
        Self::Whole,
    ];

    /// Returns the class of a read with these options.
    ///
    /// ```
    /// use hedge_tokio::object_store::SizeClass;
    /// use object_store::GetOptions;
    ///
    /// let range = GetOptions { range: Some((0..1000).into()), ..GetOptions::default() };
    /// assert_eq!(SizeClass::of(&range), SizeClass::Small);
    /// assert_eq!(SizeClass::of(&GetOptions::default()), SizeClass::Whole);
    /// ```
    pub fn of(options: &GetOptions) -> Self {
        if options.head {
            return Self::Head;
        }
        match &options.range {
            Some(GetRange::Bounded(Range { start, end })) => {
                Self::of_len(end.saturating_sub(*start))
            }
            Some(GetRange::Suffix(len)) => Self::of_len(*len),
            Some(GetRange::Offset(_)) | None => Self::Whole,
        }
    }

    const fn of_len(len: u64) -> Self {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        if len <= 64 * KIB {
            Self::Small
        } else if len <= MIB {
            Self::Medium
        } else if len <= 16 * MIB {
            Self::Large
        } else {
            Self::Whole
        }
    }

    /// Returns the name of the class in statistics and telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Whole => "whole",
        }
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
