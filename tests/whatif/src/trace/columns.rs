//! Which columns of a file are latencies.

/// The columns of a file that hold latencies, and how that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Columns {
    /// The first attempts', and the second attempts' if there are any; from 0.
    pub(super) places: Vec<usize>,
    /// For people: "column `latency_us` of 5". Empty where there is nothing to choose.
    pub(super) reason: String,
    /// The name of the first, if there is a header.
    pub(super) name: Option<String>,
}

/// The cells of a line: between commas, semicolons or tabs, else between blanks.
pub(super) fn cells(line: &str) -> Vec<&str> {
    for separator in [',', ';', '\t'] {
        if line.contains(separator) {
            return line
                .split(separator)
                .map(|cell| cell.trim().trim_matches('"'))
                .collect();
        }
    }
    vec![line.trim().trim_matches('"')]
}

/// Whether the cell is a number, with or without a unit.
pub(super) fn is_number(cell: &str) -> bool {
    super::unit::Unit::split(cell).0.parse::<f64>().is_ok()
}

/// Whether the line names columns.
pub(super) fn is_header(cells: &[&str]) -> bool {
    let named = |cell: &&str| cell.starts_with(|c: char| c.is_alphabetic()) && !is_number(cell);
    cells.iter().all(named)
}

/// The columns that the user asks for: names, or numbers from 1.
pub(super) fn asked(wanted: &[String], header: &[&str], width: usize) -> Result<Columns, String> {
    let place = |wanted: &String| -> Result<usize, String> {
        if let Some(place) = header.iter().position(|name| name == wanted) {
            return Ok(place);
        }
        match wanted.parse::<usize>() {
            Ok(number) if (1..=width).contains(&number) => Ok(number - 1),
            _ if header.is_empty() => Err(format!(
                "no column `{wanted}`; they have no names and are 1 to {width}"
            )),
            _ => Err(format!(
                "no column `{wanted}`; there are {}",
                header.join(", ")
            )),
        }
    };
    let places = wanted.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    Ok(columns(places, header, width, "as asked for"))
}

/// The columns that a header suggests.
pub(super) fn named(header: &[&str], first: &[&str]) -> Result<Columns, String> {
    let numbers = |place: &usize| first.get(*place).is_some_and(|cell| is_number(cell));
    let with = |words: &[&str]| -> Vec<usize> {
        let has = |name: &str| {
            let name = name.to_lowercase();
            words.iter().any(|word| name.contains(word)) && !is_a_time_of_day(&name)
        };
        (0..header.len())
            .filter(|place| has(header[*place]))
            .filter(numbers)
            .collect()
    };
    let width = header.len();
    let (primary, hedge) = (with(&["primary"]), with(&["hedge", "second", "backup"]));
    if let ([primary], [hedge]) = (&primary[..], &hedge[..]) {
        return Ok(columns(vec![*primary, *hedge], header, width, ""));
    }
    // The plainer the word, the later.
    for words in [
        &["latency"][..],
        &["duration", "elapsed", "response", "took", "rtt"],
        &["time"],
    ] {
        match with(words)[..] {
            [] => {}
            [only] => return Ok(columns(vec![only], header, width, "")),
            _ => break,
        }
    }
    let numbers: Vec<usize> = (0..width).filter(numbers).collect();
    match numbers[..] {
        [only] => Ok(columns(vec![only], header, width, "")),
        _ => Err(format!(
            "of the columns {}, which holds latencies? Say so with `--column NAME`",
            header.join(", ")
        )),
    }
}

fn is_a_time_of_day(name: &str) -> bool {
    ["timestamp", "date", "epoch", "start", "end_time", "time_of"]
        .iter()
        .any(|word| name.contains(word))
        || matches!(name, "ts" | "time" | "at")
}

/// The columns of a file without a header: one, or two that belong together, or a time and a latency.
pub(super) fn bare(lines: &[Vec<&str>]) -> Result<Columns, String> {
    let first = lines.first().map(Vec::as_slice).unwrap_or_default();
    let width = first.len();
    let text = |cell: &str| !cell.is_empty() && !is_number(cell);
    let mut places: Vec<usize> = (0..width).filter(|place| !text(first[*place])).collect();
    let mut reason = "";
    if places.is_empty() {
        // The error is about the cell.
        places.push(0);
    }
    if let [time, _] = places[..]
        && are_times_of_day(lines, time)
    {
        places.remove(0);
        reason = "the one before it counts up: times of day";
    }
    if places.len() > 2 {
        let line = first.join(",");
        return Err(format!(
            "more than two latencies in `{line}`; say which column with `--column NUMBER`"
        ));
    }
    Ok(columns(places, &[], width, reason))
}

/// Whether a column counts up from the first line to the last, by far more than a latency is.
fn are_times_of_day(lines: &[Vec<&str>], place: usize) -> bool {
    let times: Vec<f64> = lines
        .iter()
        .filter_map(|line| line.get(place)?.parse().ok())
        .collect();
    lines.len() > 1
        && times.len() == lines.len()
        && times.is_sorted()
        && times.first().is_some_and(|first| *first >= 1e8)
}

fn columns(places: Vec<usize>, header: &[&str], width: usize, why: &str) -> Columns {
    let name = |place: &usize| match header.get(*place) {
        Some(name) => format!("`{name}`"),
        None => (place + 1).to_string(),
    };
    let names: Vec<String> = places.iter().map(name).collect();
    let some = places.len() < width || !header.is_empty();
    let mut reason = String::new();
    if some {
        let plural = if names.len() > 1 { "s" } else { "" };
        reason = format!("column{plural} {} of {width}", names.join(" and "));
        if !why.is_empty() {
            reason += &format!(" ({why})");
        }
    }
    Columns {
        name: places
            .first()
            .and_then(|place| header.get(*place))
            .map(|name| (*name).to_owned()),
        places,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(header: &str, first: &str) -> Result<Vec<usize>, String> {
        named(&cells(header), &cells(first)).map(|columns| columns.places)
    }

    #[test]
    fn a_header_says_which_column_it_is() {
        for (header, first, places) in [
            ("timestamp,service,latency_us", "1,a,2", &[2][..]),
            ("time;duration", "1;2", &[1]),
            ("start_time\telapsed_ms\tbytes", "1\t2\t3", &[1]),
            ("primary_ms,hedge_ms", "1,2", &[0, 1]),
            ("value", "7", &[0]),
            ("response_time,status", "3,200", &[0]),
        ] {
            assert_eq!(chosen(header, first).unwrap(), places, "{header}");
        }
        let error = chosen("connect_latency,total_latency", "1,2").unwrap_err();
        assert!(error.contains("`--column NAME`"), "{error}");
        assert!(chosen("a,b", "1,2").is_err());
    }

    #[test]
    fn without_a_header_what_counts_up_is_a_time() {
        let lines = |text: &'static str| text.lines().map(cells).collect::<Vec<_>>();
        let places = |text| bare(&lines(text)).unwrap().places;
        assert_eq!(places("1700000000,12\n1700000001,9"), [1]);
        assert_eq!(places("12,9\n13,8"), [0, 1]);
        assert_eq!(places("GET,12\nPUT,9"), [1]);
        assert!(bare(&lines("1,2,3")).is_err());
    }

    #[test]
    fn a_column_that_is_asked_for_has_to_be_there() {
        let wanted = |text: &str| [text.to_owned()];
        assert_eq!(asked(&wanted("b"), &["a", "b"], 2).unwrap().places, [1]);
        assert_eq!(asked(&wanted("2"), &[], 3).unwrap().places, [1]);
        assert!(
            asked(&wanted("c"), &["a", "b"], 2)
                .unwrap_err()
                .contains("a, b")
        );
        assert!(asked(&wanted("4"), &[], 3).unwrap_err().contains("1 to 3"));
    }
}
