use super::*;

fn judge() -> Judge {
    Judge {
        best_pace: Duration::from_micros(10),
    }
}

fn patience(wanted: u32) -> Patience {
    Patience {
        wanted,
        time: Duration::MAX,
    }
}

/// A round as if alone, and the pace beside it.
const QUIET: Round = Round {
    value: 1.0,
    took: Duration::from_millis(1),
    waited: Some(Duration::from_micros(10)),
};
const PACED: Duration = Duration::from_micros(11);

#[test]
fn a_median_is_in_the_middle_whatever_the_order() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    assert_eq!(median(&[7.0]), 7.0);
    assert!(median(&[]).is_nan());
}

#[test]
fn a_round_that_ran_as_if_alone_counts() {
    assert!(judge().is_undisturbed(&QUIET, PACED));
    let unknown = Round {
        waited: None,
        ..QUIET
    };
    assert!(judge().is_undisturbed(&unknown, PACED));
}

#[test]
fn a_round_that_waited_for_a_processor_does_not_count() {
    let waited = Some(Duration::from_micros(11));
    assert!(!judge().is_undisturbed(&Round { waited, ..QUIET }, PACED));
}

#[test]
fn a_round_on_a_slowed_processor_does_not_count() {
    let paced = PACED + Duration::from_nanos(1);
    assert!(!judge().is_undisturbed(&QUIET, paced));
}

#[test]
fn disturbed_rounds_are_left_out_of_the_median() {
    let mut rounds = Rounds::default();
    for value in [1.0, 2.0, 3.0] {
        rounds.add(value, true);
        rounds.add(100.0, false);
    }
    assert_eq!(rounds.median(patience(9)), 2.0);
    assert_eq!((rounds.undisturbed(), rounds.tried()), (3, 6));
}

#[test]
fn where_too_few_rounds_are_left_all_count() {
    let mut rounds = Rounds::default();
    rounds.add(1.0, true);
    rounds.add(5.0, false);
    rounds.add(9.0, false);
    assert_eq!(rounds.median(patience(6)), 5.0);

    let mut rounds = Rounds::default();
    rounds.add(9.0, false);
    assert_eq!(rounds.median(patience(1)), 9.0);
}

#[test]
fn rounds_alternate_and_end_when_enough_were_tried() {
    let never = Judge {
        best_pace: Duration::ZERO,
    };
    let mut order = Vec::new();
    let rounds = alternate(&never, 2, patience(1), |cell| {
        order.push(cell);
        Ok::<_, ()>(QUIET)
    });
    assert_eq!(order, [0, 1].repeat(MOST_TRIES as usize));
    assert_eq!(rounds.unwrap()[1].undisturbed(), 0);
}

#[test]
fn a_round_that_fails_ends_it() {
    let failed = alternate(&judge(), 2, patience(3), |cell| {
        if cell == 1 { Err("no") } else { Ok(QUIET) }
    });
    assert_eq!(failed.unwrap_err(), "no");
}

#[test]
fn rounds_end_when_the_time_is_up() {
    let patience = Patience {
        wanted: 1000,
        time: Duration::ZERO,
    };
    let rounds = alternate(&judge(), 3, patience, |_| Ok::<_, ()>(QUIET)).unwrap();
    assert!(rounds.iter().all(|rounds| rounds.tried() == 1));
}
