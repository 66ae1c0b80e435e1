//! A fixed number of schedules, as a test.

use hedge_faults::fault::Fault;
use hedge_faults::schedule::{Stage, Tally};

#[test]
fn no_schedule_breaks_an_invariant() {
    let (mut stage, mut tally) = (Stage::new(), Tally::default());
    for seed in 0..20_000 {
        if let Err(broken) = stage.play(seed, &mut tally) {
            panic!("seed {seed}: {broken}");
        }
    }
    assert_eq!(tally.schedules, 20_000);
    // Of everything something, or nothing would have been tried.
    assert!(tally.ends.iter().all(|end| *end > 0), "{tally:?}");
    for fault in Fault::ALL {
        assert!(tally.faults.of(*fault) > 0, "never: {}", fault.says());
    }
}

#[test]
fn a_schedule_is_the_same_whenever_it_is_played() {
    let play = |seeds: core::ops::Range<u64>| {
        let (mut stage, mut tally) = (Stage::new(), Tally::default());
        seeds.for_each(|seed| stage.play(seed, &mut tally).unwrap());
        tally
    };
    let mut parts = play(0..100);
    parts += &play(100..200);
    assert_eq!(parts, play(0..200));
}
