//! Options that take the place of a config's.

use super::HedgeConfig;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::replicas::ReplicaList;
use crate::strategy::{DelayCandidates, ModelComplexity, Priority, TimeOfDay, Warmup};

macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct Overrides {
            $($option:ident: $type:ty $([$null:ident])? $(=> $text:ident)?,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Overrides {
            $(
                #[doc = concat!("Instead of [`HedgeConfig::", stringify!($option), "`].")]
                pub $option: Option<$type>,
            )*
        }

        impl Overrides {
            /// The name of every option, in the order of [`HedgeConfig`].
            pub const NAMES: &[&str] = &[$(stringify!($option)),*];

            /// Replaces the options of `config` by those that are set here.
            pub fn apply(&self, config: &mut HedgeConfig) {
                // Names every field, so that none is forgotten.
                let HedgeConfig { $($option),* } = config;
                $(
                    if let Some(value) = &self.$option {
                        *$option = value.clone().into();
                    }
                )*
            }

            /// Returns these options, with those that are missing taken from `others`.
            #[must_use]
            pub fn or(self, others: Self) -> Self {
                Self {
                    $($option: self.$option.or(others.$option),)*
                }
            }

            /// Returns the names of the options that are set.
            pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
                let given = [$(self.$option.is_some()),*];
                let names = Self::NAMES.iter().zip(given);
                names.filter_map(|(name, given)| given.then_some(*name))
            }

            /// Returns whether no option is set.
            pub fn is_empty(&self) -> bool {
                self.names().next().is_none()
            }
        }

        #[cfg(all(feature = "serde", feature = "alloc"))]
        impl Overrides {
            /// Returns the options that differ from those of `config`.
            pub(crate) fn unlike(&self, config: &HedgeConfig) -> Self {
                fn unlike<V: Clone + Into<T>, T: PartialEq>(value: &V, said: &T) -> bool {
                    value.clone().into() != *said
                }

                Self {
                    $($option: self.$option.clone().filter(|value| unlike(value, &config.$option)),)*
                }
            }
        }

        #[cfg(all(feature = "serde", feature = "std"))]
        impl Overrides {
            /// Writes the options that are set as text. Equal options give equal text.
            pub(crate) fn write_canonical(&self, f: &mut impl core::fmt::Write) -> core::fmt::Result {
                $(
                    if let Some(value) = &self.$option {
                        write!(f, concat!(stringify!($option), "={:?};"), value)?;
                    }
                )*
                Ok(())
            }
        }

        #[cfg(feature = "serde")]
        impl Overrides {
            /// Reads the value of the option `name`, if there is one of that name. `null` means that an optional option
            /// is not set, or that any option is left out if `lenient`.
            pub(crate) fn read<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
                lenient: bool,
            ) -> Result<bool, A::Error> {
                use serde::de::Error;

                match name {
                    $(stringify!($option) => {
                        if self.$option.is_some() {
                            return Err(A::Error::duplicate_field(stringify!($option)));
                        }
                        let null = options!(@null lenient $($null)?);
                        self.$option = if null {
                            map.next_value::<Option<options!(@text $type $(=> $text)?)>>()?.map(Into::into)
                        } else {
                            Some(map.next_value::<options!(@text $type $(=> $text)?)>()?.into())
                        };
                        Ok(true)
                    })*
                    _ => Ok(false),
                }
            }

            /// Writes the options that are set.
            pub(crate) fn write<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(
                    if let Some(value) = &self.$option {
                        let value: options!(@text $type $(=> $text)?) = value.clone().into();
                        map.serialize_entry(stringify!($option), &value)?;
                    }
                )*
                Ok(())
            }
        }
    };
    (@null $lenient:ident) => { $lenient };
    (@null $lenient:ident null) => { true };
    // `null` is a value of the option, and not the same as a missing option.
    (@null $lenient:ident none) => { false };
    (@text $type:ty) => { $type };
    (@text $type:ty => $text:ident) => { super::text::$text };
}

options! {
    /// Some of the options of a [`HedgeConfig`], which replace the config's when they are applied.
    ///
    /// ```
    /// use hedge_core::{HedgeConfig, Overrides};
    ///
    /// let urgent = Overrides { timeout_ms: Some(Some(500.0)), ..Overrides::default() };
    /// let mut config = HedgeConfig::default();
    /// urgent.apply(&mut config);
    /// assert_eq!((config.timeout_ms, config.percentile), (Some(500.0), 95.0));
    /// ```
    ///
    /// `timeout_ms: Some(None)` removes the timeout, as `null` does in a file.
    ///
    /// With feature `serde`, it is read and written like a config.
    pub struct Overrides {
        strategy: StrategyKind,
        strategy_name: Name [null],
        delay_ms: f64 [null],
        percentile: f64,
        window_size: u32 => WindowSize,
        initial_delay: f64 [null],
        min_delay: f64,
        max_delay: f64 [null],
        min_samples: u32 [null] => Samples,
        warmup: Warmup,
        max_age_ms: f64 [null],
        delay_candidates: DelayCandidates => Candidates,
        learning_rate: f64,
        cost_weight: f64,
        optimal_target: f64,
        optimal_budget_percent: f64,
        base_delay: f64,
        workload_inner: StrategyKind [null] => Inner,
        prompt_length: u32 [null] => Count,
        model_complexity: ModelComplexity [null],
        time_of_day: TimeOfDay [null],
        priority: Priority [null],
        exponential_base_delay: f64,
        exponential_min_delay: f64,
        exponential_max_delay: f64,
        exponential_increase_factor: f64,
        exponential_decrease_factor: f64,
        exponential_error_factor: f64,
        max_hedges: u8 => MaxHedges,
        budget_percent: f64,
        budget_min_per_second: f64,
        budget_burst: u32 => Count,
        max_in_flight: u32 [null] => InFlight,
        timeout_ms: Option<f64> [none],
        attempt_timeout_ms: f64 [null],
        max_pushback_ms: f64 [null],
        enable_cancellation: bool,
        enabled: bool,
        observe_only: bool,
        holdback_percent: f64,
        guard: bool [null],
        max_keys: u32 => Keys,
        replicas: ReplicaList,
        cost_per_attempt: f64,
        telemetry_prefix: Name => Prefix,
    }
}
