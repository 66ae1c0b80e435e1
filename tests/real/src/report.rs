//! What is told: progress, checks, figures.

use core::fmt::Display;
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::incident::Figures;
use crate::load::{Compared, Reads};
use crate::{Failure, chain};

/// How much of the plain P99 the hedged one may be.
const MOST: f64 = 0.2;

/// Counts checks, and prints as they come.
pub(crate) struct Report {
    start: Instant,
    json: bool,
    passed: usize,
    failed: usize,
    rows: Vec<Value>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            start: Instant::now(),
            json,
            passed: 0,
            failed: 0,
            rows: Vec::new(),
        }
    }

    /// What is being done.
    pub(crate) fn say(&self, what: impl Display) {
        self.print(format_args!(
            "[{:>4}s] {what}",
            self.start.elapsed().as_secs()
        ));
    }

    /// Counts what has to be so.
    pub(crate) fn check(&mut self, so: bool, what: impl Display) {
        if so {
            self.passed += 1;
            self.print(format_args!("ok: {what}"));
        } else {
            self.failed += 1;
            self.print(format_args!("FAILED: {what}"));
        }
    }

    /// Counts what has come to be so, or not in time.
    pub(crate) fn settled(&mut self, result: &Result<(), Failure>, what: impl Display) {
        match result {
            Ok(()) => self.check(true, what),
            Err(error) => self.check(false, format_args!("{what}: {}", chain(&**error))),
        }
    }

    /// Prints the figures of one stall, and checks all that has to be so for every server.
    pub(crate) fn compared(&mut self, name: &str, compared: &Compared) {
        let Compared { plain, hedged, .. } = compared;
        self.faster(name, plain, hedged);
        self.check(
            compared.hedges_won == hedged.sent / 2,
            format_args!(
                "{name}: {} of {} reads hedged; {} hedges won, one for each read of the stalled server",
                compared.hedges, hedged.sent, compared.hedges_won
            ),
        );
        self.own_replies(
            name,
            &[plain, hedged, &compared.after_plain, &compared.after_hedged],
        );
        if let (Some(plain), Some(hedged)) = (plain.at_work, hedged.at_work) {
            self.check(
                plain > 0 && hedged == 0,
                format_args!(
                    "{name}: late in the stall, attempts on the stalled server: {plain} plain, {hedged} hedged"
                ),
            );
        }
    }

    /// Prints what the reads took, and checks by how much hedging cut that.
    pub(crate) fn faster(&mut self, name: &str, plain: &Reads, hedged: &Reads) {
        for (way, reads) in [("plain", plain), ("hedged", hedged)] {
            let [p50, p99] = [50.0, 99.0].map(|percent| ms(reads.percentile(percent)));
            self.say(format_args!(
                "{name:<24} {way:>6}  P50 {p50:7.1} ms  P99 {p99:7.1} ms"
            ));
        }
        let ratio = ms(hedged.percentile(99.0)) / ms(plain.percentile(99.0));
        self.rows.push(json!({
            "name": name,
            "reads": hedged.sent,
            "plain": figures(plain),
            "hedged": figures(hedged),
            "p99_ratio": ratio,
        }));
        self.check(
            ratio <= MOST,
            format_args!("{name}: hedged P99 is {ratio:.3} of plain, at most {MOST}"),
        );
    }

    /// Prints what reads took before and during each incident.
    pub(crate) fn incidents(&mut self, name: &str, all: &Figures, tries: usize) {
        let during = all.during.iter();
        let phases = during.map(|(incident, during)| (incident.to_string(), &during.reads));
        let phases = [("healthy".to_owned(), &all.healthy)]
            .into_iter()
            .chain(phases);
        for (phase, reads) in phases {
            let [p50, p99] = [50.0, 99.0].map(|percent| ms(reads.percentile(percent)));
            let name = format!("{name}, three replicas");
            self.say(format_args!(
                "{name:<24} {phase:>8}  P50 {p50:5.1} ms  P99 {p99:5.1} ms  {:7.3} % answered",
                100.0 * reads.goodput()
            ));
            if let Some(error) = &reads.error {
                self.say(format_args!("{name}: {error}"));
            }
        }
        let of_each = all.during.iter().map(|(incident, during)| {
            json!({
                "incident": incident.to_string(),
                "reads": figures(&during.reads),
                "extra": during.extra(),
                "back_s": during.back().map(|back| back.as_secs_f64()),
            })
        });
        self.rows.push(json!({
            "name": format!("{name}, three replicas"),
            "tries": tries,
            "healthy": figures(&all.healthy),
            "incidents": of_each.collect::<Vec<_>>(),
        }));
    }

    /// Checks that every read had a reply, and its own.
    pub(crate) fn own_replies(&mut self, name: &str, all: &[&Reads]) {
        let sum = |part: fn(&Reads) -> usize| all.iter().map(|reads| part(reads)).sum::<usize>();
        let (sent, wrong, failed) = (sum(|r| r.sent), sum(|r| r.wrong), sum(|r| r.failed));
        self.check(
            wrong == 0 && failed == 0,
            format_args!("{name}: {sent} reads, {wrong} with another's reply, {failed} with none"),
        );
        if let Some(error) = all.iter().find_map(|reads| reads.error.as_ref()) {
            self.say(format_args!("{name}: {error}"));
        }
    }

    /// The last line.
    pub(crate) fn finish(self) -> ExitCode {
        let Self { passed, failed, .. } = self;
        if self.json {
            println!(
                "{}",
                json!({"servers": self.rows, "passed": passed, "failed": failed})
            );
        }
        self.print(format_args!("{passed} passed, {failed} failed"));
        if failed == 0 && passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn print(&self, line: impl Display) {
        if self.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
}

fn figures(reads: &Reads) -> Value {
    let [p50, p99] = [50.0, 99.0].map(|percent| ms(reads.percentile(percent)));
    json!({"p50_ms": p50, "p99_ms": p99, "failed": reads.failed, "late_at_work": reads.at_work})
}

/// In milliseconds, to the microsecond.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
