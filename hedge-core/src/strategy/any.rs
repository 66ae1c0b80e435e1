//! Strategies that are chosen at run time.

use core::time::Duration;

use super::{
    Adaptive, ExponentialBackoff, Fixed, Hints, Off, OnFailure, Optimal, Percentile, Plan,
    ReadColumns, RestoreError, Strategy, WorkloadAware, WriteColumns, forward,
};
use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::time::Instant;

/// An enum of strategies, which is a strategy itself.
macro_rules! strategy {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident($strategy:ty),)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        // Without an allocator, the largest variant cannot be boxed.
        #[allow(clippy::large_enum_variant)]
        pub enum $name {
            $($(#[$doc])* $variant($strategy),)*
        }

        impl $name {
            fn get(&self) -> &dyn Strategy {
                match self {
                    $(Self::$variant(strategy) => strategy,)*
                }
            }

            fn get_mut(&mut self) -> &mut dyn Strategy {
                match self {
                    $(Self::$variant(strategy) => strategy,)*
                }
            }
        }

        impl Strategy for $name {
            crate::strategy::fresh_clone!();

            forward!(self => self.get(), self.get_mut());
        }
    };
}

/// Defines both enums, and `From` for their variants.
macro_rules! built_in {
    (
        $(#[$any_meta:meta])*
        pub enum $any:ident;
        $(#[$inner_meta:meta])*
        pub enum $inner:ident;
        $($(#[$doc:meta])* $variant:ident($strategy:ty),)*
    ) => {
        strategy! {
            $(#[$any_meta])*
            pub enum $any {
                $($(#[$doc])* $variant($strategy),)*
                /// Hedges after a delay that hints scale.
                WorkloadAware(WorkloadAware<$inner>),
            }
        }

        strategy! {
            $(#[$inner_meta])*
            pub enum $inner {
                $($(#[$doc])* $variant($strategy),)*
            }
        }

        $(
            impl From<$strategy> for $any {
                fn from(strategy: $strategy) -> Self {
                    Self::$variant(strategy)
                }
            }

            impl From<$strategy> for $inner {
                fn from(strategy: $strategy) -> Self {
                    Self::$variant(strategy)
                }
            }
        )*

        /// Converts an inner strategy, whose delay is not scaled.
        impl From<$inner> for $any {
            fn from(inner: $inner) -> Self {
                match inner {
                    $($inner::$variant(strategy) => Self::$variant(strategy),)*
                }
            }
        }
    };
}

built_in! {
    /// Any built-in strategy, chosen at run time.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::strategy::{AnyStrategy, Fixed, Percentile, Strategy, WorkloadAware};
    /// use hedge_core::{Hints, Instant, StrategyKind};
    ///
    /// let learn = std::env::args().count() > 1000;
    /// let mut strategy: AnyStrategy = if learn {
    ///     WorkloadAware::over(Percentile::new(95.0)).into()
    /// } else {
    ///     Fixed::new(Duration::from_millis(50)).into()
    /// };
    /// assert_eq!(strategy.kind(), StrategyKind::Fixed);
    /// let plan = strategy.plan(&Hints::NONE, Instant::ZERO);
    /// assert_eq!(plan.delay(), Some(Duration::from_millis(50)));
    /// ```
    pub enum AnyStrategy;
    /// Any built-in strategy that [`WorkloadAware`] can scale, which is all but itself.
    pub enum AnyInner;

    /// Never hedges.
    Off(Off),
    /// Hedges after a fixed delay.
    Fixed(Fixed),
    /// When an attempt has failed.
    OnFailure(OnFailure),
    /// Hedges at a percentile of recent latencies.
    Percentile(Percentile),
    /// Chooses among candidate delays by Thompson Sampling.
    Adaptive(Adaptive),
    /// Hedges after the delay and with the chance that lower a percentile the most.
    Optimal(Optimal),
    /// Hedges after a delay that success shortens and failure lengthens.
    ExponentialBackoff(ExponentialBackoff),
}

impl<S: Into<AnyInner>> From<WorkloadAware<S>> for AnyStrategy {
    fn from(strategy: WorkloadAware<S>) -> Self {
        Self::WorkloadAware(WorkloadAware::over(strategy.into_inner().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;
    use crate::strategy::Priority;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn all() -> [AnyStrategy; 8] {
        [
            Off.into(),
            OnFailure.into(),
            Fixed::new(ms(30)).into(),
            Percentile::new(95.0).initial_delay(ms(40)).into(),
            Adaptive::new().initial_delay(ms(45)).into(),
            ExponentialBackoff::new().base_delay(ms(50)).into(),
            WorkloadAware::base_delay(ms(60)).into(),
            AnyStrategy::from(WorkloadAware::over(AnyInner::from(
                ExponentialBackoff::new(),
            ))),
        ]
    }

    #[test]
    fn each_is_what_it_holds() {
        let kinds = all().map(|strategy| strategy.kind());
        use StrategyKind::*;
        assert_eq!(
            kinds,
            [
                Off,
                OnFailure,
                Fixed,
                Percentile,
                Adaptive,
                ExponentialBackoff,
                WorkloadAware,
                WorkloadAware
            ]
        );
        let learns = all().map(|strategy| strategy.learns());
        assert_eq!(learns, [false, false, false, true, true, true, false, true]);
        let delays = all().map(|mut s| s.plan(&Hints::NONE, Instant::ZERO).delay());
        assert_eq!(
            delays,
            [
                None,
                None,
                Some(30),
                Some(40),
                Some(45),
                Some(50),
                Some(60),
                Some(100)
            ]
            .map(|d| d.map(ms))
        );
        let hints = Hints::NONE.priority(Priority::Low);
        let delays = all().map(|mut s| s.plan(&hints, Instant::ZERO).delay());
        assert_eq!(
            delays,
            [
                None,
                None,
                Some(30),
                Some(40),
                Some(45),
                Some(50),
                Some(90),
                Some(150)
            ]
            .map(|d| d.map(ms))
        );
    }

    #[test]
    fn each_learns_forgets_and_validates_as_what_it_holds() {
        let report = Record::new(Sample::Finished(ms(8)));
        let mut learned = all();
        for strategy in &mut learned {
            (0..64).for_each(|_| strategy.record(&report));
        }
        let typical = learned
            .each_ref()
            .map(|strategy| strategy.typical_latency(&Hints::NONE));
        assert_eq!(
            typical,
            [None, None, None, typical[3], Some(ms(8)), None, None, None]
        );
        let near = |delay: Option<Duration>| delay.unwrap().as_micros().abs_diff(8000) < 500;
        assert!(near(typical[3]), "{typical:?}");
        let delays = learned
            .each_mut()
            .map(|s| s.plan(&Hints::NONE, Instant::ZERO).delay());
        assert!(near(delays[3]), "{delays:?}");
        assert!(delays[4] != Some(ms(45)));
        assert!(delays[5] < Some(ms(50)));
        assert!(delays[7] < Some(ms(100)));
        learned.iter_mut().for_each(|strategy| strategy.reset());
        let delays = learned
            .each_mut()
            .map(|s| s.plan(&Hints::NONE, Instant::ZERO).delay());
        assert_eq!(
            delays,
            all().map(|mut s| s.plan(&Hints::NONE, Instant::ZERO).delay())
        );

        assert!(all().iter().all(|strategy| strategy.validate().is_ok()));
        let bad: AnyStrategy = WorkloadAware::over(Percentile::new(10.0)).into();
        assert_eq!(
            bad.validate().map_err(|error| error.option()),
            Err("percentile")
        );
    }

    #[test]
    fn what_can_be_scaled_can_stand_alone() {
        let inner: [AnyInner; 4] = [
            Off.into(),
            Fixed::new(ms(30)).into(),
            Percentile::new(95.0).into(),
            ExponentialBackoff::new().into(),
        ];
        for inner in inner {
            let kind = inner.kind();
            assert_eq!(AnyStrategy::from(inner).kind(), kind);
        }
    }
}
