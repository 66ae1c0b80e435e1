//! What was tried, as text.

use core::fmt::Write;
use core::time::Duration;

use hedge_faults::fault::Fault;
use hedge_faults::invariants::{Broken, Invariant};
use hedge_faults::schedule::Tally;

pub(crate) fn table(tally: &Tally, elapsed: Duration, broken: &[(u64, Broken)]) -> String {
    let mut out = String::new();
    let rate = tally.schedules as f64 / elapsed.as_secs_f64();
    let [won, failed, timed_out, dropped] = tally.ends.map(count);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "{:>15}  schedules tried in {:.0} s, {:.2} million a second",
        count(tally.schedules),
        elapsed.as_secs_f64(),
        rate / 1e6
    ));
    line(format!(
        "{:>15}  requests: {won} won, {failed} failed, {timed_out} timed out, {dropped} dropped",
        count(tally.requests)
    ));
    line(format!(
        "{:>15}  attempts, in {} polls",
        count(tally.attempts),
        count(tally.polls)
    ));
    line(format!("{:>15}  faults:", count(tally.faults.total())));
    let mut group = "";
    for &fault in Fault::ALL {
        if fault.group() != group {
            group = fault.group();
            line(format!("\n{:15}  {group}", ""));
        }
        line(format!(
            "{:>15}   {}",
            count(tally.faults.of(fault)),
            fault.says()
        ));
    }
    line(format!(
        "\n{:>15}  invariants, of which broken: {}",
        Invariant::ALL.len(),
        broken.len()
    ));
    for (seed, broken) in broken {
        let _ = writeln!(out, "\nseed {seed}\n    {broken}");
    }
    if let Some((seed, _)) = broken.first() {
        let _ = writeln!(
            out,
            "\nplay it again: bash tests/faults/run --schedules 1 --seed {seed}"
        );
    }
    out
}

/// With commas between thousands.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
