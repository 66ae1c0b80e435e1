//! What a caller knows about a request before it is made.

use super::choice::choice;
use crate::record::{NONE, Record};

/// What a caller says about a request. What is left out counts as ordinary.
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
    /// How long the prompt is, in characters. Over 4000 the delay is multiplied by 2.5, over 2000 by
    /// 2, over 1000 by 1.5.
    pub prompt_length: Option<u32>,
    /// How hard the model works.
    pub model_complexity: Option<ModelComplexity>,
    /// How busy the backend is at this hour.
    pub time_of_day: Option<TimeOfDay>,
    /// How much the answer is waited for.
    pub priority: Option<Priority>,
}

impl Hints {
    /// Nothing is known of the request.
    pub const NONE: Self = Self {
        prompt_length: None,
        model_complexity: None,
        time_of_day: None,
        priority: None,
    };

    /// Sets how long the prompt is, in characters.
    #[must_use]
    pub const fn prompt_length(mut self, characters: u32) -> Self {
        self.prompt_length = Some(characters);
        self
    }

    /// Sets how hard the model works.
    #[must_use]
    pub const fn model_complexity(mut self, complexity: ModelComplexity) -> Self {
        self.model_complexity = Some(complexity);
        self
    }

    /// Sets how busy the backend is at this hour.
    #[must_use]
    pub const fn time_of_day(mut self, time: TimeOfDay) -> Self {
        self.time_of_day = Some(time);
        self
    }

    /// Sets how urgent the answer is.
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

    /// Returns what [`WorkloadAware`](super::WorkloadAware) multiplies the delay by: the product of the factors, 0.21
    /// to 9.75.
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

/// Which factors hints come to, in 7 bits, so that the record of a request has room for it. What is ordinary is the same
/// as what is not said.
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

    /// This, with what is ordinary taken from `defaults`.
    pub(crate) fn or(self, defaults: Self) -> Self {
        let mut parts = self.parts();
        for (part, default) in parts.iter_mut().zip(defaults.parts()) {
            if *part == 0 {
                *part = default;
            }
        }
        Self::new(parts)
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
    /// How hard the model works on a request.
    ///
    /// ```
    /// use hedge_core::strategy::ModelComplexity;
    ///
    /// assert_eq!("simple".parse(), Ok(ModelComplexity::Simple));
    /// ```
    pub enum ModelComplexity("model_complexity", "simple, medium or complex") {
        /// Half the delay.
        Simple = "simple",
        /// The delay as it is.
        Medium = "medium",
        /// Twice the delay.
        Complex = "complex",
    }
}

impl ModelComplexity {
    /// Returns what [`WorkloadAware`](super::WorkloadAware) multiplies the delay by for this hint.
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
        /// 0.7 of the delay.
        Peak = "peak",
        /// The delay as it is.
        Normal = "normal",
        /// 1.3 times the delay.
        OffPeak = "off_peak",
    }
}

impl TimeOfDay {
    /// Returns what [`WorkloadAware`](super::WorkloadAware) multiplies the delay by for this hint.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Peak => 0.7,
            Self::Normal => 1.0,
            Self::OffPeak => 1.3,
        }
    }
}

choice! {
    /// How much the answer to a request is waited for.
    ///
    /// ```
    /// use hedge_core::strategy::Priority;
    ///
    /// assert_eq!("low".parse(), Ok(Priority::Low));
    /// ```
    pub enum Priority("priority", "low, normal or high") {
        /// 1.5 times the delay.
        Low = "low",
        /// The delay as it is.
        Normal = "normal",
        /// 0.6 of the delay.
        High = "high",
    }
}

impl Priority {
    /// Returns what [`WorkloadAware`](super::WorkloadAware) multiplies the delay by for this hint.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Low => 1.5,
            Self::Normal => 1.0,
            Self::High => 0.6,
        }
    }
}

/// The hints of a request. They are here since a record knows nothing of strategies.
impl Record {
    /// Sets what the caller said about the request.
    #[must_use]
    pub const fn with_hints(mut self, hints: &Hints) -> Self {
        self.flags = self.flags & Self::DUE | hints.class().0 << 1;
        self
    }

    /// Returns what [`WorkloadAware`](crate::strategy::WorkloadAware) multiplied the delay of this request by, given
    /// what its caller said: [`Hints::factor`].
    pub fn workload_factor(&self) -> f64 {
        HintsClass(self.flags >> 1).factor()
    }

    /// Sets the hints that apply where the caller said nothing, if no hedge was planned: a plan is made with them.
    pub(crate) fn default_hints(&mut self, defaults: &Hints) {
        if self.hedge_delay == NONE {
            let class = HintsClass(self.flags >> 1).or(defaults.class());
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
