//! Random cascades against a closed form.

use super::*;
use crate::random::SplitMix;

/// A random tier: its delay, latency and answer.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    delay: Option<u64>,
    latency: u64,
    answer: Result<f64, &'static str>,
    threshold: f64,
}

/// Returns the expected result: when the cascade ends, which tier answers, whether the answer is
/// accepted, and how many tiers start.
fn expected(tiers: &[Drawn], timeout: u64) -> (u64, Option<usize>, bool, usize) {
    let mut starts = Vec::new();
    let mut next = Some(0);
    for tier in tiers {
        let Some(start) = next else { break };
        starts.push(start);
        let end = start + tier.latency;
        let good = tier.answer.is_ok_and(|quality| quality >= tier.threshold);
        let late = tier.delay.map(|delay| start + delay);
        next = match (good, late) {
            (false, late) => Some(late.map_or(end, |late| late.min(end))),
            (true, late) => late.filter(|&late| late < end),
        };
    }
    let good = |index: usize| {
        tiers[index]
            .answer
            .is_ok_and(|q| q >= tiers[index].threshold)
    };
    let end = |index: usize| starts[index] + tiers[index].latency;
    let won = (0..starts.len())
        .filter(|&index| good(index))
        .min_by_key(|&index| end(index));
    let all = (0..starts.len()).map(end).max().unwrap();
    let over = won.map_or(all, end);
    let asked = |until: u64| {
        starts
            .iter()
            .filter(|&&start| start < until || start == 0)
            .count()
    };
    let best = |until: u64| {
        let answered = (0..starts.len()).filter(|&index| end(index) < until);
        answered
            .filter_map(|index| Some((index, tiers[index].answer.ok()?)))
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
            .map(|(index, _)| index)
    };
    if over >= timeout && timeout > 0 && (over > timeout || won.is_none()) {
        return (timeout, best(timeout), false, asked(timeout));
    }
    match won {
        Some(index) => (over, Some(index), true, asked(over)),
        None => (over, best(over + 1), false, starts.len()),
    }
}

#[test]
fn cascades_do_what_the_closed_form_says() {
    let mut rng = SplitMix(5);
    let mut below = |n: u64| rng.next() % n;
    for _ in 0..20_000 {
        let len = 1 + below(4) as usize;
        let drawn: Vec<Drawn> = (0..len)
            .map(|n| Drawn {
                // Use times that never coincide, so that there are no ties.
                delay: (below(4) > 0).then(|| 16 * below(40) + n as u64),
                latency: 16 * (1 + below(60)) + 4 + n as u64,
                answer: if below(3) > 0 {
                    Ok(below(8) as f64)
                } else {
                    Err("down")
                },
                threshold: below(8) as f64,
            })
            .collect();
        let timeout = if below(3) > 0 {
            16 * (1 + below(100)) + 8
        } else {
            1_000_000
        };

        let clock = Clock::new();
        let tiers: Vec<Tier> = drawn
            .iter()
            .map(|tier| {
                let made = Tier::new("t").quality_threshold(tier.threshold);
                tier.delay.map_or(made, |delay| made.delay(ms(delay)))
            })
            .collect();
        let cascade = Cascade::<_, 4>::from_slice(&clock, &tiers).unwrap();
        let cascade = cascade.quality(quality).timeout(ms(timeout));
        let requests: Vec<_> = drawn
            .iter()
            .map(|tier| {
                let clock = &clock;
                move || ask(clock, tier.latency, tier.answer)
            })
            .collect();
        let result = clock.drive(cascade.request(requests));
        let outcome = match &result {
            Ok(answer) => &answer.outcome,
            Err(error) => error.failures().unwrap().outcome(),
        };
        let (end, tier, accepted, asked) = expected(&drawn, timeout);
        let found = (
            outcome.total_latency,
            outcome.tier,
            outcome.accepted,
            usize::from(outcome.hedges_fired) + 1,
        );
        assert_eq!(
            found,
            (ms(end), tier, accepted, asked),
            "{drawn:?} {timeout}"
        );
        assert_eq!(result.is_ok(), tier.is_some());
    }
}
