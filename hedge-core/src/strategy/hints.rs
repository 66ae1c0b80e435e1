//! What a caller knows about a request before it is made.

use super::choice::choice;

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

    /// How long the prompt is, in characters.
    #[must_use]
    pub const fn prompt_length(mut self, characters: u32) -> Self {
        self.prompt_length = Some(characters);
        self
    }

    /// How hard the model works.
    #[must_use]
    pub const fn model_complexity(mut self, complexity: ModelComplexity) -> Self {
        self.model_complexity = Some(complexity);
        self
    }

    /// How busy the backend is at this hour.
    #[must_use]
    pub const fn time_of_day(mut self, time: TimeOfDay) -> Self {
        self.time_of_day = Some(time);
        self
    }

    /// How much the answer is waited for.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Whether nothing is known of the request.
    pub const fn is_empty(&self) -> bool {
        self.prompt_length.is_none()
            && self.model_complexity.is_none()
            && self.time_of_day.is_none()
            && self.priority.is_none()
    }

    /// These hints, with what they leave out taken from `defaults`.
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

    /// What [`WorkloadAware`](super::WorkloadAware) multiplies the delay by: the product of the
    /// factors, 0.21 to 9.75.
    pub fn factor(&self) -> f64 {
        let length = match self.prompt_length {
            Some(4001..) => 2.5,
            Some(2001..) => 2.0,
            Some(1001..) => 1.5,
            Some(_) | None => 1.0,
        };
        length
            * self.model_complexity.map_or(1.0, ModelComplexity::factor)
            * self.time_of_day.map_or(1.0, TimeOfDay::factor)
            * self.priority.map_or(1.0, Priority::factor)
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
    /// What it multiplies the delay by.
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
    /// What it multiplies the delay by.
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
    /// What it multiplies the delay by.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Low => 1.5,
            Self::Normal => 1.0,
            Self::High => 0.6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
