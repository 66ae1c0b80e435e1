//! Whatever a file of latencies holds, the policy lab refuses it and says which line, or can simulate it.

#![no_main]

// The lab uses more of it.
#[allow(dead_code)]
#[path = "../whatif/src/engine.rs"]
mod engine;
#[allow(dead_code)]
#[path = "../whatif/src/trace/mod.rs"]
mod trace;

use core::time::Duration;

use hedge_core::{Hedger, Instant, Percentile};
use libfuzzer_sys::fuzz_target;

use crate::engine::{Ask, Still};
use crate::trace::{LONGEST, Reader};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::default();
    // Several files count as one.
    for file in data.split(|byte| *byte == 0) {
        if let Err(error) = reader.read(file, "a.txt") {
            assert!(error.starts_with("a.txt"), "{error}");
            return;
        }
    }
    assert!(!reader.lines.is_empty());
    let paired = reader.lines[0][1].is_some();
    for [first, second] in &reader.lines {
        let valid = |latency: &f64| (0.0..=LONGEST).contains(latency);
        assert!(first.as_ref().is_some_and(valid));
        assert!(second.as_ref().is_none_or(valid));
        assert_eq!(second.is_some(), paired);
    }
    simulate(&reader);
});

fn simulate(reader: &Reader) {
    let hedger = Hedger::builder(Still)
        .strategy(Percentile::with_window::<64>(95.0).window_size(64))
        .without_metrics()
        .build_local()
        .expect("the defaults are valid");
    let mut now = Instant::ZERO;
    for pair in reader.lines.iter().take(200) {
        let latency = |attempt: usize| {
            let millis = pair[attempt].unwrap_or(LONGEST);
            Duration::from_secs_f64(millis / 1e3)
        };
        let (end, ..) = engine::request::<_, 2>(&hedger, &Ask::PLAIN, now, latency);
        now = end;
    }
}
