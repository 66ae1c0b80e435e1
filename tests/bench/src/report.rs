//! How results are shown.

use core::fmt::Write;

use serde_json::{Value, json};

use crate::growth::{self, SIZES};
use crate::memory::{ATTEMPT, Measured, Request};
use crate::options::Overhead;
use crate::overhead::Row;
use crate::{contention, in_flight, instructions, strategies, streams};

pub(crate) fn overhead(rows: &[Row], options: &Overhead) -> String {
    if options.json {
        let rows = rows.iter().map(|row| {
            json!({
                "case": row.case,
                "kind": row.kind.name(),
                "runtime": row.flavour.name(),
                "median_ns": rounded(row.median_ns),
                "allocs": rounded(row.allocations),
                "ratio_to_hand_learning": rounded(row.ratio_to_hand_learning),
            })
        });
        return array(rows.collect());
    }
    let mut text = format!(
        "{:<32} {:<12} {:<15} {:>9} {:>7} {:>10} {:>10}\n",
        "case", "kind", "runtime", "ns", "allocs", "× by hand", "rounds"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:<32} {:<12} {:<15} {:>9.1} {:>7.2} {:>10.2} {:>6}/{}",
            row.case,
            row.kind.name(),
            row.flavour.name(),
            row.median_ns,
            row.allocations,
            row.ratio_to_hand_learning,
            row.undisturbed,
            row.tried
        );
    }
    text
}

pub(crate) fn contention(rows: &[contention::Row], as_json: bool) -> String {
    if as_json {
        let rows = rows.iter().map(|row| {
            json!({
                "case": row.case,
                "tasks": row.tasks,
                "requests_per_second": row.requests_per_second.round(),
                "ratio_to_one": rounded(row.ratio_to_one),
                "undisturbed_rounds": row.undisturbed,
                "rounds": row.tried,
            })
        });
        return array(rows.collect());
    }
    let mut text = format!(
        "{:<32} {:>5} {:>14} {:>10} {:>10}\n",
        "case", "tasks", "requests/s", "× one task", "rounds"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:<32} {:>5} {:>14.0} {:>10.2} {:>6}/{}",
            row.case,
            row.tasks,
            row.requests_per_second,
            row.ratio_to_one,
            row.undisturbed,
            row.tried
        );
    }
    text
}

pub(crate) fn memory(measured: &Measured, as_json: bool) -> String {
    if as_json {
        let hedgers = measured.hedgers.iter();
        let hedgers = hedgers.map(|(case, bytes)| json!({"case": case, "bytes": bytes}));
        let requests = measured.requests.iter().map(|request| {
            json!({
                "case": request.case,
                "future_bytes": request.future,
                "allocated_bytes": request.allocated,
            })
        });
        let all = json!({
            "attempt_bytes": ATTEMPT,
            "hedgers": hedgers.collect::<Vec<_>>(),
            "requests_in_flight": requests.collect::<Vec<_>>(),
        });
        return format!("{all:#}\n");
    }
    let mut text = format!("{:<32} {:>14}\n", "a hedger", "bytes");
    for (case, bytes) in &measured.hedgers {
        let _ = writeln!(text, "{case:<32} {bytes:>14}");
    }
    let _ = writeln!(
        text,
        "\n{:<32} {:>14} {:>18}",
        "a request in flight", "future, bytes", "allocated, bytes"
    );
    for request in &measured.requests {
        let Request {
            case,
            future,
            allocated,
        } = request;
        let _ = writeln!(text, "{case:<32} {future:>14} {allocated:>18}");
    }
    let _ = writeln!(text, "\nAn attempt is a future of {ATTEMPT} bytes.");
    text
}

pub(crate) fn streams(rows: &[streams::Row], as_json: bool) -> String {
    if as_json {
        let rows = rows.iter().map(|row| {
            json!({
                "case": row.name,
                "ns_per_item": rounded(row.ns),
                "extra_ns_per_item": rounded(row.extra_ns),
                "allocations": row.allocations,
            })
        });
        return array(rows.collect());
    }
    let mut text = format!(
        "{:<24}{:>12}{:>14}{:>14}\n",
        "an item of a stream", "ns", "extra, ns", "allocations"
    );
    for row in rows {
        let streams::Row {
            name,
            ns,
            extra_ns,
            allocations,
        } = row;
        let _ = writeln!(
            text,
            "{name:<24}{ns:>12.2}{extra_ns:>14.2}{allocations:>14}"
        );
    }
    text
}

pub(crate) fn in_flight(measured: &in_flight::Measured, as_json: bool) -> String {
    let in_flight::Measured {
        requests,
        hedged,
        allocated,
        resident,
        launching,
        ending,
    } = *measured;
    if as_json {
        let all = json!({
            "requests": requests,
            "hedged": hedged,
            "allocated_bytes": allocated,
            "resident_bytes": resident,
            "bytes_per_request": allocated.div_ceil(requests),
            "launching_s": rounded(launching.as_secs_f64()),
            "ending_s": rounded(ending.as_secs_f64()),
        });
        return format!("{all:#}\n");
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let resident = resident.map_or("unknown".to_owned(), |bytes| {
        format!("{:.0} MiB", mib(bytes))
    });
    format!(
        "{requests} requests in flight on one hedger, {hedged} of them hedged: all have the right answer.\n\
         At most {:.0} MiB were allocated at a time, {} bytes a request, its task included; the process had {resident}.\n\
         Launching took {launching:.2?}, and ending {ending:.2?}, hedge delay included.\n",
        mib(allocated),
        allocated.div_ceil(requests)
    )
}

pub(crate) fn growth(rows: &[growth::Row], as_json: bool) -> String {
    if as_json {
        let rows = rows.iter().flat_map(|row| {
            SIZES
                .into_iter()
                .zip(row.median_ns)
                .map(|(size, ns)| json!({"what": row.what, "size": size, "median_ns": rounded(ns)}))
        });
        return array(rows.collect());
    }
    let mut text = format!("{:<28}", "ns, by the number of");
    for size in SIZES {
        let _ = write!(text, " {size:>9}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:<28}", row.what);
        for ns in row.median_ns {
            let _ = write!(text, " {ns:>9.1}");
        }
        text.push('\n');
    }
    text
}

pub(crate) fn strategies(rows: &[strategies::Row], as_json: bool) -> String {
    if as_json {
        let rows = rows.iter();
        let rows = rows.map(|row| json!({"part": row.part, "median_ns": rounded(row.median_ns)}));
        return array(rows.collect());
    }
    let mut text = format!("{:<52} {:>9} {:>10}\n", "part", "ns", "rounds");
    for row in rows {
        let _ = writeln!(
            text,
            "{:<52} {:>9.1} {:>6}/{}",
            row.part, row.median_ns, row.undisturbed, row.tried
        );
    }
    text
}

pub(crate) fn instructions(rows: &[instructions::Row], as_json: bool) -> String {
    if as_json {
        let rows = rows.iter().map(|row| {
            json!({
                "case": row.case,
                "kind": row.kind.name(),
                "instructions": row.instructions.round(),
            })
        });
        return array(rows.collect());
    }
    let mut text = format!("{:<32} {:<12} {:>12}\n", "case", "kind", "instructions");
    for row in rows {
        let _ = writeln!(
            text,
            "{:<32} {:<12} {:>12.0}",
            row.case,
            row.kind.name(),
            row.instructions
        );
    }
    text
}

fn array(rows: Vec<Value>) -> String {
    format!("{:#}\n", Value::from(rows))
}

/// To three digits after the point: more would be noise.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
