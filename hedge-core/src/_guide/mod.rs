//! The guide: how to use hedging well, one page per question. Every example on it runs.
//!
//! | page | the question |
//! |---|---|
//! | [`start`] | How do I hedge a request? |
//! | [`choosing_a_strategy`] | When should a hedge start? |
//! | [`sizing_a_budget`] | What may it cost? |
//! | [`idempotence`] | What may be hedged, and what do errors mean? |
//! | [`choosing_replicas`] | Whom should I ask? |
//! | [`streams`] | How do I hedge a stream? |
//! | [`reading_outcomes`] | Does it help? |
//! | [`testing_your_code`] | How do I test code that hedges? |
//! | [`firmware`] | How does it fit on a microcontroller? |
//! | [`browsers`] | How does it run in a web page? |
//! | [`writing_an_adapter`] | How do I run it on another runtime? |
//! | [`from_crucible_hedging`] | How do I migrate from the Elixir library? |

pub mod start {
    #![doc = include_str!("start.md")]
}
pub mod choosing_a_strategy {
    #![doc = include_str!("choosing_a_strategy.md")]
}
pub mod sizing_a_budget {
    #![doc = include_str!("sizing_a_budget.md")]
}
pub mod idempotence {
    #![doc = include_str!("idempotence.md")]
}
pub mod choosing_replicas {
    #![doc = include_str!("choosing_replicas.md")]
}
pub mod streams {
    #![doc = include_str!("streams.md")]
}
pub mod reading_outcomes {
    #![doc = include_str!("reading_outcomes.md")]
}
pub mod testing_your_code {
    #![doc = include_str!("testing_your_code.md")]
}
pub mod firmware {
    #![doc = include_str!("firmware.md")]
}
pub mod browsers {
    #![doc = include_str!("browsers.md")]
}
pub mod writing_an_adapter {
    #![doc = include_str!("writing_an_adapter.md")]
}
pub mod from_crucible_hedging {
    #![doc = include_str!("from_crucible_hedging.md")]
}
