//! tower-resilience-hedge 0.14.0 (September 2026): a fixed delay, events, no budget.

use tower_layer::Layer;
use tower_resilience_hedge::HedgeLayer;
use tower_service::Service;

use crate::case::Case;
use crate::cases::Backend;
use crate::script::{Kind, Script};

pub(super) fn case(kind: Kind) -> Case {
    let builder = HedgeLayer::builder().delay(kind.delay());
    let service = builder.max_hedged_attempts(2).build().layer(Backend);
    Case::new("tower-resilience-hedge", move || {
        let mut service = service.clone();
        move |script: Script| service.call(script)
    })
}
