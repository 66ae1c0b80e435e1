//! What hedging does when something goes wrong: a row for each incident, and what would be right.
//!
//! [`scenario`] says what happens, [`rule`] how requests are hedged and what becomes of them, [`rows`] what is looked
//! at, and [`verdict`] whether that will do.

mod rows;
mod rule;
mod scenario;
pub(crate) mod verdict;

use crate::options::Incidents;

const HEAD: &str = "\
Defaults, in virtual time; 20 seeds where chance matters, 100 for queues and brown-outs, unless told otherwise; means where nothing else is said. *Rescued*:
answered within 3 × the healthy delay + the healthy P95. Latencies are 10 + Exp(8) ms, 3 % of attempts 100 to 300, or
lognormal around 10 ms.
";

pub(crate) fn print(options: &Incidents) -> Result<(), String> {
    let wanted = options.name.as_deref().unwrap_or_default();
    let mut groups = rows::groups();
    // A group's name is the start of its rows' names, so that most others need not be measured.
    let may_match = |name: &str| name.contains(wanted) || wanted.starts_with(name);
    groups.retain(|(name, _)| may_match(name));
    let bar = hedge_terminal::progress(groups.len() as u64);
    let mut rows = Vec::new();
    for (name, measure) in groups {
        bar.set_message(name);
        rows.extend(measure(options.seeds)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    rows.retain(|row| row.name.contains(wanted));
    if rows.is_empty() {
        return Err(format!("no incident is named like `{wanted}`"));
    }
    if options.json {
        return hedge_terminal::print(&verdict::json(&rows)?);
    }
    let met = rows.iter().filter(|row| row.met).count();
    let summary = format!("\n{met} of {} are met.\n", rows.len());
    hedge_terminal::print(&format!("{HEAD}\n{}{summary}", verdict::table(&rows)))
}
