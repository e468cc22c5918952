//! The report: a table for people, or one JSON document.

use crate::measure::{Line, Target};
use crate::options::Options;
use serde_json::{Value, json};

/// Prints all lines.
pub(crate) fn print(options: &Options, lines: &[Line]) {
    if options.json {
        println!("{:#}", document(options, lines));
        return;
    }
    println!();
    println!(
        "{:<8} {:<58} {:>11} {:>11} {:>7} {:>13} {:>8} {:>4} {:>9}  fdatasync/s",
        "#", "what", "product", "baseline", "ratio", "min..max", "target", "met", "reference"
    );
    for line in lines {
        let (low, high) = line.spread();
        println!(
            "{:<8} {:<58} {:>11} {:>11} {:>7.2} {:>13} {:>8} {:>4} {:>9}  {}",
            line.number,
            format!("{}, {}", line.what, line.unit),
            figure(line.product()),
            figure(line.baseline()),
            line.ratio(),
            format!("{low:.2}..{high:.2}"),
            target(line.target),
            line.met().map_or("", |met| if met { "yes" } else { "NO" }),
            line.reference().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            line.probe()
                .map_or_else(|| "-".to_owned(), |(before, after)| format!("{before:.0} / {after:.0}")),
        );
    }
    println!(
        "\nmedians of {} run(s); {} events on {} rows; `reference` is the hand-written program's own ratio",
        options.runs, options.events, options.rows
    );
}

fn document(options: &Options, lines: &[Line]) -> Value {
    let lines: Vec<Value> = lines.iter().map(entry).collect();
    json!({ "runs": options.runs, "events": options.events, "rows": options.rows, "ratios": lines })
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

    #[test]
    fn figures_are_grouped_by_three() {
        for (number, text) in
            [(1.234, "1.23"), (999.0, "999.00"), (1_000.0, "1,000"), (1_234_567.8, "1,234,568")]
        {
            assert_eq!(figure(number), text);
        }
    }
}
