//! Large windows cost no time to compile: were the optimiser to take apart every sample of every strategy, the release
//! build of this test would not end.

use hedge_core::{HedgeConfig, Strategy, StrategyKind};

#[test]
fn a_window_may_be_large() {
    let config = HedgeConfig {
        window_size: 32_768,
        ..HedgeConfig::default()
    };
    // On a stack of its own: the strategies are large, too.
    let work = move || {
        config
            .validate_for::<32_768>()
            .map(|settings| settings.strategy.kind())
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(work);
    let settings = thread.unwrap().join().unwrap();
    assert_eq!(settings, Ok(StrategyKind::Percentile));
}
