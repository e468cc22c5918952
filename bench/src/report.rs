//! The report: a table for people, the same as Markdown, or one JSON document.

use crate::measure::{Line, Report, Store, Target};
use crate::options::{Form, Options};
use serde_json::{Value, json};

/// Prints everything.
pub(crate) fn print(options: &Options, report: &Report) {
    match options.form {
        Form::Json => println!("{:#}", document(options, report)),
        Form::Markdown => print!("\n{}", markdown(options, report)),
        Form::Table => {
            println!();
            table(report);
            println!("\n{}", conditions(options, report));
        }
    }
}

fn table(report: &Report) {
    println!(
        "{:<10} {:<8} {:<58} {:>11} {:>11} {:>7} {:>13} {:>8} {:>4} {:>9}  fdatasync/s",
        "store", "#", "what", "product", "baseline", "ratio", "min..max", "target", "met", "reference"
    );
    for line in &report.lines {
        let (low, high) = line.spread();
        println!(
            "{:<10} {:<8} {:<58} {:>11} {:>11} {:>7.2} {:>13} {:>8} {:>4} {:>9}  {}",
            line.store.name(),
            line.number,
            format!("{}, {}", line.what, line.unit),
            figure(line.product()),
            figure(line.baseline()),
            line.ratio(),
            format!("{low:.2}..{high:.2}"),
            target(line.target),
            line.met().map_or("", |met| if met { "yes" } else { "NO" }),
            line.reference().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            probes(line),
        );
    }
}

/// The table as docs/performance.md has it, one for each store.
fn markdown(options: &Options, report: &Report) -> String {
    let mut text = String::new();
    for store in [Store::Sqlite, Store::Postgres] {
        let lines: Vec<&Line> = report.lines.iter().filter(|line| line.store == store).collect();
        if lines.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "{}:\n\n| # | what | product | baseline | ratio | min..max | reference | target | met | \
             fdatasync/s |\n|---|---|---|---|---|---|---|---|---|---|\n",
            store.name()
        ));
        for line in lines {
            let (low, high) = line.spread();
            text.push_str(&format!(
                "| {} | {} | {} {} | {} | {:.2} | {low:.2}..{high:.2} | {} | {} | {} | {} |\n",
                line.number,
                line.what,
                figure(line.product()),
                line.unit,
                figure(line.baseline()),
                line.ratio(),
                line.reference().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                target(line.target),
                line.met().map_or("", |met| if met { "yes" } else { "**no**" }),
                probes(line),
            ));
        }
        text.push('\n');
    }
    text + &conditions(options, report) + "\n"
}

/// Under which conditions it was measured.
fn conditions(options: &Options, report: &Report) -> String {
    let Options { runs, events, rows, .. } = options;
    let mut text = format!(
        "medians of {runs} run(s); {events} events on {rows} rows; `reference` is the hand-written program's \
         own ratio"
    );
    for note in &report.notes {
        text.push('\n');
        text.push_str(note);
    }
    text
}

fn probes(line: &Line) -> String {
    line.probe().map_or_else(|| "-".to_owned(), |(before, after)| format!("{before:.0} / {after:.0}"))
}

fn document(options: &Options, report: &Report) -> Value {
    let lines: Vec<Value> = report.lines.iter().map(entry).collect();
    json!({
        "runs": options.runs,
        "events": options.events,
        "rows": options.rows,
        "notes": report.notes,
        "ratios": lines,
    })
}

fn entry(line: &Line) -> Value {
    let samples: Vec<Value> = line
        .samples
        .iter()
        .map(|sample| {
            json!({
                "product": sample.product,
                "baseline": sample.baseline,
                "referenceRatio": sample.reference,
                "fdatasyncPerSecond": sample.probe.map(|(before, after)| [before, after]),
            })
        })
        .collect();
    json!({
        "store": line.store.name(),
        "number": line.number,
        "what": line.what,
        "unit": line.unit,
        "product": line.product(),
        "baseline": line.baseline(),
        "ratio": line.ratio(),
        "target": target(line.target),
        "met": line.met(),
        "referenceRatio": line.reference(),
        "samples": samples,
    })
}

fn target(target: Target) -> String {
    match target {
        Target::AtLeast(least) => format!(">= {least}"),
        Target::AtMost(most) => format!("<= {most}"),
        Target::None => "-".to_owned(),
    }
}

/// A figure with groups of three digits, or with two decimals where it is small.
fn figure(number: f64) -> String {
    if number < 1_000.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

    #[test]
    fn markdown_has_a_row_for_each_line_under_its_store() {
        let options = crate::options::parse(&[]).expect("no argument is wrong").expect("no help");
        let mut line = Line::new("2", "build / copy", "events/s", Target::AtLeast(0.3)).on(Store::Postgres);
        line.samples.push(Sample::of(250_000.0, 1_000_000.0).reference(0.28));
        let text = markdown(&options, &Report { lines: vec![line], notes: vec!["fsync on".to_owned()] });
        let row = "| 2 | build / copy | 250,000 events/s | 1,000,000 | 0.25 | 0.25..0.25 | 0.28 \
                   | >= 0.3 | **no** | - |";
        assert!(text.starts_with("PostgreSQL:\n\n| # |") && text.contains(row), "{text}");
        assert!(text.ends_with("fsync on\n") && !text.contains("SQLite"), "{text}");
    }

    #[test]
    fn figures_are_grouped_by_three() {
        for (number, text) in
            [(1.234, "1.23"), (999.0, "999.00"), (1_000.0, "1,000"), (1_234_567.8, "1,234,568")]
        {
            assert_eq!(figure(number), text);
        }
    }
}
