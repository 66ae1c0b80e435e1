//! The options of a memory, as builder methods of the strategies that have one.

/// The builder methods of a strategy whose `LatencyMemory` is in the field given.
macro_rules! memory_options {
    ($memory:ident) => {
        /// Sets about how many of the last latencies count, 200 to 8000: after so many, the weight of older ones is
        /// halved. Default: 4000.
        #[must_use]
        pub const fn window_size(mut self, samples: usize) -> Self {
            self.$memory = self.$memory.with_window(samples);
            self
        }

        $crate::strategy::warmup::start_options!($memory.start);

        /// Sets the age, more than zero, at which samples expire. They expire in two groups, so that some expire when
        /// they are half as old. If too few are left, the strategy warms up again. Setting the age forgets all samples.
        #[must_use]
        pub const fn max_age(mut self, age: core::time::Duration) -> Self {
            self.$memory = self.$memory.with_max_age(age);
            self
        }
    };
}

pub(in crate::strategy) use memory_options;
