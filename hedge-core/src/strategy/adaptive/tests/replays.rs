//! Tests of replays at other delays.

use super::*;

/// Returns a history with primaries of 1 to 40 ms.
fn history() -> History<64> {
    let mut history = History::new();
    for millis in 1..=40 {
        history.push(&finished(ms(millis)), 1.0);
    }
    history
}

/// Returns 200 draws of when the request would have ended at this delay, in whole milliseconds, and with how many
/// hedges.
fn replays(report: &Record, delay: Duration) -> Vec<(u64, u8)> {
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
    let mut draws = Draws::new(&mut rng);
    let after = |_| {
        let replay = Replay::complete(report, 1, &history(), &mut draws);
        let (latency, hedges) = replay.after(delay.as_secs_f32());
        (libm::roundf(latency * 1e3) as u64, hedges)
    };
    (0..200).map(after).collect()
}

#[track_caller]
fn assert_known(report: &Record, delay: u64, outcome: (u64, u8)) {
    for replay in replays(report, ms(delay)) {
        assert_eq!(replay, outcome);
    }
}

#[test]
fn a_primary_that_was_not_hedged_teaches_every_longer_delay_exactly() {
    let report = race(ms(20), ms(50), &[]);
    assert_known(&report, 20, (20, 0));
    assert_known(&report, 1000, (20, 0));
    // A hedge after 4 ms would have taken 1 to 40 ms, and the primary would still have run.
    let replays = replays(&report, ms(4));
    assert!(
        replays
            .iter()
            .all(|&(latency, hedges)| (5..=20).contains(&latency) && hedges == 1)
    );
    let won = replays.iter().filter(|replay| replay.0 < 20).count();
    assert!((50..=100).contains(&won), "{won} of 200, 15/40 expected");
}

#[test]
fn a_hedge_that_won_teaches_every_shorter_delay_exactly() {
    // The primary would have taken longer than 15 ms.
    let report = race(ms(60), ms(10), &[ms(5)]);
    for delay in 0..=10 {
        assert_known(&report, delay, (delay + 5, 1));
    }
    let unhedged = replays(&report, ms(1000));
    assert!(
        unhedged
            .iter()
            .all(|&(latency, hedges)| (16..=40).contains(&latency) && hedges == 0)
    );
    let sum: u64 = unhedged.iter().map(|replay| replay.0).sum();
    assert!((27..=29).contains(&(sum / 200)), "{sum} / 200, 28 expected");
    // Between the two, a hedge that takes 5 ms still races the primary.
    let replays = replays(&report, ms(20));
    assert!(
        replays
            .iter()
            .all(|replay| matches!(replay, (16..=20, 0) | (21..=25, 1)))
    );
}

#[test]
fn a_hedge_that_lost_teaches_every_longer_delay_exactly() {
    // The hedge would have taken longer than 10 ms.
    let report = race(ms(20), ms(10), &[ms(60)]);
    for delay in 10..20 {
        assert_known(&report, delay, (20, 1));
    }
    assert_known(&report, 20, (20, 0));
    let replays = replays(&report, ms(0));
    assert!(
        replays
            .iter()
            .all(|&(latency, hedges)| (11..=20).contains(&latency) && hedges == 1)
    );
    let won = replays.iter().filter(|replay| replay.0 < 20).count();
    assert!((40..=80).contains(&won), "{won} of 200, 9/30 expected");
}

#[test]
fn what_is_longer_than_anything_seen_is_drawn_from_a_pareto_distribution() {
    let report = Record::new(Sample::Dropped(ms(100)));
    let replays = replays(&report, ms(1_000_000));
    assert!(replays.iter().all(|replay| replay.0 >= 100));
    let doubled = replays.iter().filter(|replay| replay.0 >= 200).count();
    let tenfold = replays.iter().filter(|replay| replay.0 >= 1000).count();
    assert!(
        (80..=120).contains(&doubled) && (10..=35).contains(&tenfold),
        "{doubled}, {tenfold}"
    );
}

#[test]
fn a_failed_primary_starts_the_hedge_at_any_longer_delay() {
    let hedge = Sample::Finished(ms(5));
    let report = race(ms(60), ms(10), &[ms(5)])
        .with_primary(Sample::Failed(ms(8)))
        .with_hedge(Cause::Retry, ms(8), hedge);
    assert_known(&report, 2, (7, 1));
    assert_known(&report, 8, (13, 1));
    assert_known(&report, 1000, (13, 1));
}

#[test]
fn a_primary_that_failed_late_starts_the_next_of_several_hedges() {
    let replay = |failed| {
        let report =
            race(ms(60), ms(10), &[ms(50), ms(50), ms(1)]).with_primary(Sample::Failed(ms(failed)));
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
        let replay = Replay::complete(&report, 3, &history(), &mut Draws::new(&mut rng));
        let (latency, hedges) = replay.after(0.01);
        (libm::roundf(latency * 1e3) as u64, hedges)
    };
    // The third hedge starts when the primary fails or when it is due, and wins 1 ms later.
    assert_eq!(replay(25), (26, 3));
    assert_eq!(replay(35), (31, 3));
}

proptest! {
    /// Checks that a replay at the original delay gives the original outcome, for any draws of unknown latencies.
    #[test]
    fn a_replay_at_the_same_delay_gives_the_same_outcome(
        primary in 1_u64..100,
        delay in 0_u64..100,
        hedges in proptest::collection::vec(1_u64..100, 1..=7),
        seed: u64,
    ) {
        let hedges: Vec<Duration> = hedges.into_iter().map(ms).collect();
        let report = race(ms(primary), ms(delay), &hedges);
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(seed);
        let limit = hedges.len() as u8;
        let replay = Replay::complete(&report, limit, &history(), &mut Draws::new(&mut rng));
        // A hedge that is due at the moment when another attempt ends may start or not.
        let after = replay.after(ms(delay).as_secs_f32() * 1.000_01);
        let total = report.total().as_secs_f32();
        prop_assert!((after.0 - total).abs() <= total * 1e-4, "{after:?} {report:?}");
        prop_assert!(after.1 == report.attempts - 1, "{after:?} {report:?}");
    }
}
