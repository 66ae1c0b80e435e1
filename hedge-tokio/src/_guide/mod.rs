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
//! | [`clients`] | How do I hedge hyper, tonic, reqwest or S3? |
//! | [`reading_outcomes`] | Does it help? |
//! | [`operating`] | How do I run it in production? |
//! | [`testing_your_code`] | How do I test code that hedges? |
//! | [`other_libraries`] | What do other crates do? |
//! | [`from_tower_hedge`] | How do I migrate from `tower::hedge`? |
//! | [`from_tower_balance`] | How do I migrate from `tower::balance`? |
//! | [`from_grpc_service_config`] | How do I use a gRPC service config? |
//! | [`from_polly`] | How do I migrate from Polly? |
//! | [`from_failsafe_go`] | How do I migrate from failsafe-go? |
//! | [`from_crucible_hedging`] | How do I migrate from the Elixir library? |

#[doc(inline)]
pub use hedge_core::_guide::{
    choosing_a_strategy, choosing_replicas, from_crucible_hedging, idempotence, reading_outcomes,
    sizing_a_budget, start, streams, testing_your_code,
};

pub mod clients {
    #![doc = include_str!("clients.md")]
}
pub mod operating {
    #![doc = include_str!("operating.md")]
}
pub mod other_libraries {
    #![doc = include_str!("other_libraries.md")]
}
pub mod from_tower_hedge {
    #![doc = include_str!("from_tower_hedge.md")]
}
pub mod from_tower_balance {
    #![doc = include_str!("from_tower_balance.md")]
}
pub mod from_grpc_service_config {
    #![doc = include_str!("from_grpc_service_config.md")]
}
pub mod from_polly {
    #![doc = include_str!("from_polly.md")]
}
pub mod from_failsafe_go {
    #![doc = include_str!("from_failsafe_go.md")]
}
