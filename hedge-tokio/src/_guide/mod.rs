//! The guide: how to think about hedging, page by page. Nothing here but text, and examples that run.
//!
//! | page | the question |
//! |---|---|
//! | [`choosing_a_strategy`] | When should I hedge? |
//! | [`sizing_a_budget`] | What may it cost? |
//! | [`idempotence`] | What may be hedged at all? |
//! | [`reading_outcomes`] | Does it help? |
//! | [`testing_your_code`] | How do I test code that hedges? |
//! | [`from_tower_hedge`] | I come from `tower::hedge`: what changes? |
//! | [`from_crucible_hedging`] | I come from the Elixir library: what is called what? |

#[doc(inline)]
pub use hedge_core::_guide::{
    choosing_a_strategy, from_crucible_hedging, idempotence, reading_outcomes, sizing_a_budget,
    testing_your_code,
};

pub mod from_tower_hedge {
    #![doc = include_str!("from_tower_hedge.md")]
}
