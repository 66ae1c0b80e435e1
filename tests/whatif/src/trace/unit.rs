//! Units of time, as files name them.

use core::str::FromStr;

/// What a number in a file counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    const ALL: [Self; 4] = [
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Nanoseconds,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// How many milliseconds one is.
    pub(crate) fn millis(self) -> f64 {
        match self {
            Self::Seconds => 1e3,
            Self::Milliseconds => 1.0,
            Self::Microseconds => 1e-3,
            Self::Nanoseconds => 1e-6,
        }
    }

    /// Every word for it, the first the one that options take.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Seconds => &["s", "sec", "secs", "second", "seconds"],
            Self::Milliseconds => &[
                "ms",
                "msec",
                "msecs",
                "millis",
                "millisecond",
                "milliseconds",
            ],
            Self::Microseconds => &[
                "us",
                "µs",
                "μs",
                "usec",
                "usecs",
                "micros",
                "microsecond",
                "microseconds",
            ],
            Self::Nanoseconds => &["ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"],
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        Self::ALL
            .into_iter()
            .find(|unit| unit.words().contains(&&*word))
    }

    /// The unit that the name of a column ends with, as in `latency_us` or `time (ms)`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let mut words = name
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty());
        let last = words.next_back()?;
        Self::of_word(last).or_else(|| {
            // `latencyMs`, `durationSeconds`
            let start = last.rfind(char::is_uppercase).filter(|start| *start > 0)?;
            Self::of_word(&last[start..])
        })
    }

    /// The unit that a comment names in full, if it names only one: "milliseconds, in time order".
    pub(crate) fn of_comment(comment: &str) -> Option<Self> {
        let mut found = comment
            .split(|c: char| !c.is_alphanumeric())
            .filter_map(|word| {
                let word = word.to_lowercase();
                Self::ALL
                    .into_iter()
                    .find(|unit| unit.name() == word || word == "ms" && unit.words()[0] == "ms")
            });
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// A number and the unit that follows it, if one does: `12.5`, `12.5ms`, `0.3 s`.
    pub(crate) fn split(text: &str) -> (&str, Option<Self>) {
        let number = text.trim_end_matches(|c: char| c.is_alphabetic());
        let unit = Self::of_word(&text[number.len()..]);
        match unit {
            Some(unit)
                if number.ends_with(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') =>
            {
                (number.trim_end(), Some(unit))
            }
            _ => (text, None),
        }
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_word(text).ok_or_else(|| format!("no unit `{text}`; there are s, ms, us and ns"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_unit() {
        for (name, unit) in [
            ("latency_us", Some(Unit::Microseconds)),
            ("Time (ms)", Some(Unit::Milliseconds)),
            ("duration_seconds", Some(Unit::Seconds)),
            ("durationNs", Some(Unit::Nanoseconds)),
            ("end_to_end_latency_s", Some(Unit::Seconds)),
            ("latency", None),
            ("requests", None),
            ("MS", Some(Unit::Milliseconds)),
        ] {
            assert_eq!(Unit::of_name(name), unit, "{name}");
        }
    }

    #[test]
    fn a_comment_names_a_unit_in_full_and_only_one() {
        for (comment, unit) in [
            (
                "n=48761, milliseconds, in time order",
                Some(Unit::Milliseconds),
            ),
            ("a histogram a second, in random order", None),
            ("seconds, not milliseconds", None),
            ("microseconds", Some(Unit::Microseconds)),
            ("latency in ms", Some(Unit::Milliseconds)),
        ] {
            assert_eq!(Unit::of_comment(comment), unit, "{comment}");
        }
    }

    #[test]
    fn a_number_may_carry_its_unit() {
        assert_eq!(Unit::split("12.5ms"), ("12.5", Some(Unit::Milliseconds)));
        assert_eq!(Unit::split("3 µs"), ("3", Some(Unit::Microseconds)));
        assert_eq!(Unit::split("7"), ("7", None));
        assert_eq!(Unit::split("nan"), ("nan", None));
        assert_eq!(Unit::split("12.5 apples"), ("12.5 apples", None));
    }
}
