//! Hints about requests.

use super::choice::choice;
use crate::record::{NONE, Record};

/// The caller's hints about one request. A hint that is missing does not change the delay.
///
/// ```
/// use hedge_core::strategy::{Hints, Priority};
///
/// let hints = Hints::NONE.prompt_length(5000).priority(Priority::High);
/// assert_eq!(hints.factor(), 2.5 * 0.6);
/// assert_eq!(Hints::NONE.factor(), 1.0);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Hints {
    /// The length of the prompt, in characters. The delay is multiplied by 2.5 over 4000, by 2 over 2000, and by 1.5
    /// over 1000.
    pub prompt_length: Option<u32>,
    /// The complexity of the model.
    pub model_complexity: Option<ModelComplexity>,
    /// How busy the backend is at present.
    pub time_of_day: Option<TimeOfDay>,
    /// The priority of the request.
    pub priority: Option<Priority>,
}

impl Hints {
    /// No hints.
    pub const NONE: Self = Self {
        prompt_length: None,
        model_complexity: None,
        time_of_day: None,
        priority: None,
    };

    /// Sets the length of the prompt, in characters.
    #[must_use]
    pub const fn prompt_length(mut self, characters: u32) -> Self {
        self.prompt_length = Some(characters);
        self
    }

    /// Sets the complexity of the model.
    #[must_use]
    pub const fn model_complexity(mut self, complexity: ModelComplexity) -> Self {
        self.model_complexity = Some(complexity);
        self
    }

    /// Sets how busy the backend is at present.
    #[must_use]
    pub const fn time_of_day(mut self, time: TimeOfDay) -> Self {
        self.time_of_day = Some(time);
        self
    }

    /// Sets the priority of the request.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Returns whether there are no hints.
    pub const fn is_empty(&self) -> bool {
        self.prompt_length.is_none()
            && self.model_complexity.is_none()
            && self.time_of_day.is_none()
            && self.priority.is_none()
    }

    /// Returns these hints, with those that are missing taken from `defaults`.
    ///
    /// ```
    /// use hedge_core::strategy::{Hints, Priority, TimeOfDay};
    ///
    /// let defaults = Hints::NONE.time_of_day(TimeOfDay::Peak).priority(Priority::Low);
    /// let hints = Hints::NONE.priority(Priority::High).or(defaults);
    /// assert_eq!(hints.time_of_day, Some(TimeOfDay::Peak));
    /// assert_eq!(hints.priority, Some(Priority::High));
    /// ```
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            prompt_length: self.prompt_length.or(defaults.prompt_length),
            model_complexity: self.model_complexity.or(defaults.model_complexity),
            time_of_day: self.time_of_day.or(defaults.time_of_day),
            priority: self.priority.or(defaults.priority),
        }
    }

    /// Returns the factor by which [`WorkloadAware`](super::WorkloadAware) multiplies the delay: the product of the
    /// factors of all hints, 0.21 to 9.75.
    pub fn factor(&self) -> f64 {
        self.class().factor()
    }

    pub(crate) const fn class(&self) -> HintsClass {
        let length = match self.prompt_length {
            Some(4001..) => 3,
            Some(2001..) => 2,
            Some(1001..) => 1,
            Some(_) | None => 0,
        };
        let complexity = match self.model_complexity {
            None | Some(ModelComplexity::Medium) => 0,
            Some(ModelComplexity::Simple) => 1,
            Some(ModelComplexity::Complex) => 2,
        };
        let time = match self.time_of_day {
            None | Some(TimeOfDay::Normal) => 0,
            Some(TimeOfDay::Peak) => 1,
            Some(TimeOfDay::OffPeak) => 2,
        };
        let priority = match self.priority {
            None | Some(Priority::Normal) => 0,
            Some(Priority::High) => 1,
            Some(Priority::Low) => 2,
        };
        HintsClass::new([length, complexity, time, priority])
    }
}

/// The factors of hints in 7 bits, for the record of a request. A hint with the factor 1 equals a missing one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HintsClass(pub(crate) u8);

impl HintsClass {
    const LENGTHS: [f64; 4] = [1.0, 1.5, 2.0, 2.5];
    const COMPLEXITIES: [f64; 3] = [
        1.0,
        ModelComplexity::Simple.factor(),
        ModelComplexity::Complex.factor(),
    ];
    const TIMES: [f64; 3] = [1.0, TimeOfDay::Peak.factor(), TimeOfDay::OffPeak.factor()];
    const PRIORITIES: [f64; 3] = [1.0, Priority::High.factor(), Priority::Low.factor()];

    const fn new([length, complexity, time, priority]: [u8; 4]) -> Self {
        Self(length + 4 * (complexity + 3 * (time + 3 * priority)))
    }

    const fn parts(self) -> [u8; 4] {
        let rest = self.0 / 4;
        [self.0 % 4, rest % 3, rest / 3 % 3, rest / 9 % 3]
    }

    /// Returns these hints, with those of factor 1 taken from `defaults`.
    pub(crate) fn or(self, defaults: Self) -> Self {
        let mut parts = self.parts();
        for (part, default) in parts.iter_mut().zip(defaults.parts()) {
            if *part == 0 {
                *part = default;
            }
        }
        Self::new(parts)
    }

    /// Returns hints of this class.
    pub(crate) const fn hints(self) -> Hints {
        let [length, complexity, time, priority] = self.parts();
        Hints {
            prompt_length: match length {
                3 => Some(4001),
                2 => Some(2001),
                1 => Some(1001),
                _ => None,
            },
            model_complexity: match complexity {
                1 => Some(ModelComplexity::Simple),
                2 => Some(ModelComplexity::Complex),
                _ => None,
            },
            time_of_day: match time {
                1 => Some(TimeOfDay::Peak),
                2 => Some(TimeOfDay::OffPeak),
                _ => None,
            },
            priority: match priority {
                1 => Some(Priority::High),
                2 => Some(Priority::Low),
                _ => None,
            },
        }
    }

    pub(crate) fn factor(self) -> f64 {
        let [length, complexity, time, priority] = self.parts().map(usize::from);
        let of = |factors: &[f64], at: usize| factors.get(at).copied().unwrap_or(1.0);
        of(&Self::LENGTHS, length)
            * of(&Self::COMPLEXITIES, complexity)
            * of(&Self::TIMES, time)
            * of(&Self::PRIORITIES, priority)
    }
}

choice! {
    /// The complexity of the model that answers a request.
    ///
    /// ```
    /// use hedge_core::strategy::ModelComplexity;
    ///
    /// assert_eq!("simple".parse(), Ok(ModelComplexity::Simple));
    /// ```
    pub enum ModelComplexity("model_complexity", "simple, medium or complex") {
        /// Multiplies the delay by 0.5.
        Simple = "simple",
        /// Does not change the delay.
        Medium = "medium",
        /// Multiplies the delay by 2.
        Complex = "complex",
    }
}

impl ModelComplexity {
    /// Returns the factor by which [`WorkloadAware`](super::WorkloadAware) multiplies the delay for this hint.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Simple => 0.5,
            Self::Medium => 1.0,
            Self::Complex => 2.0,
        }
    }
}

choice! {
    /// How busy the backend is when a request is made.
    ///
    /// ```
    /// use hedge_core::strategy::TimeOfDay;
    ///
    /// assert_eq!("off_peak".parse(), Ok(TimeOfDay::OffPeak));
    /// ```
    pub enum TimeOfDay("time_of_day", "peak, normal or off_peak") {
        /// Multiplies the delay by 0.7.
        Peak = "peak",
        /// Does not change the delay.
        Normal = "normal",
        /// Multiplies the delay by 1.3.
        OffPeak = "off_peak",
    }
}

impl TimeOfDay {
    /// Returns the factor by which [`WorkloadAware`](super::WorkloadAware) multiplies the delay for this hint.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Peak => 0.7,
            Self::Normal => 1.0,
            Self::OffPeak => 1.3,
        }
    }
}

choice! {
    /// The priority of a request.
    ///
    /// ```
    /// use hedge_core::strategy::Priority;
    ///
    /// assert_eq!("low".parse(), Ok(Priority::Low));
    /// ```
    pub enum Priority("priority", "low, normal or high") {
        /// Multiplies the delay by 1.5.
        Low = "low",
        /// Does not change the delay.
        Normal = "normal",
        /// Multiplies the delay by 0.6.
        High = "high",
    }
}

impl Priority {
    /// Returns the factor by which [`WorkloadAware`](super::WorkloadAware) multiplies the delay for this hint.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Low => 1.5,
            Self::Normal => 1.0,
            Self::High => 0.6,
        }
    }
}

/// The hints of a request. This impl is here because `record` does not depend on strategies.
impl Record {
    /// Sets the caller's hints about the request.
    #[must_use]
    pub const fn with_hints(mut self, hints: &Hints) -> Self {
        self.flags = self.flags & Self::DUE | hints.class().0 << 1;
        self
    }

    /// Returns the factor by which [`WorkloadAware`](crate::strategy::WorkloadAware) multiplied the delay of this
    /// request: the [`Hints::factor`] of its hints.
    pub fn workload_factor(&self) -> f64 {
        self.hints_class().factor()
    }

    /// Returns what the caller said about the request, with the hedger's defaults.
    pub(crate) fn hints_class(&self) -> HintsClass {
        HintsClass(self.flags >> 1)
    }

    /// Adds the default hints, unless a hedge was planned: the plan includes them already.
    pub(crate) fn default_hints(&mut self, defaults: &Hints) {
        if self.hedge_delay == NONE {
            let class = self.hints_class().or(defaults.class());
            self.flags = self.flags & Self::DUE | class.0 << 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_the_factor_of_its_hints_and_its_defaults() {
        let lengths = [None, Some(7), Some(1001), Some(2001), Some(4001)];
        let mut classes = std::collections::BTreeSet::new();
        for prompt_length in lengths {
            for complexity in ModelComplexity::ALL {
                for time in TimeOfDay::ALL {
                    for priority in Priority::ALL {
                        let hints = Hints {
                            prompt_length,
                            ..Hints::NONE
                                .model_complexity(complexity)
                                .time_of_day(time)
                                .priority(priority)
                        };
                        let factor = complexity.factor() * time.factor() * priority.factor();
                        let length = match prompt_length {
                            Some(4001) => 2.5,
                            Some(2001) => 2.0,
                            Some(1001) => 1.5,
                            _ => 1.0,
                        };
                        assert!(
                            (hints.factor() - length * factor).abs() < 1e-12,
                            "{hints:?}"
                        );
                        assert!(hints.class().0 < 128);
                        assert_eq!(HintsClass(0).or(hints.class()), hints.class());
                        assert_eq!(hints.class().hints().class(), hints.class());
                        classes.insert(hints.class().0);
                    }
                }
            }
        }
        assert_eq!(classes.len(), 108);
        let slow = Hints::NONE.priority(Priority::Low).class();
        let long = Hints::NONE.prompt_length(5000).priority(Priority::High);
        assert_eq!(long.class().or(slow), long.class());
        assert_eq!(
            Hints::NONE.prompt_length(5000).class().or(slow).factor(),
            2.5 * 1.5
        );
    }

    #[test]
    fn names_are_read_and_written() {
        for choice in TimeOfDay::ALL {
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        let error = "night".parse::<TimeOfDay>().unwrap_err();
        assert_eq!(error.option(), "time_of_day");
        let text = std::format!("{error}");
        assert_eq!(
            text,
            "`time_of_day` is \"night\", but must be peak, normal or off_peak"
        );
    }
}
