//! The ratios of docs/performance.md, each in a file of its own. Those that need the same large log share it.

mod codec;
mod commands;
mod large;
mod length;
mod read;
mod visible;

use crate::Outcome;
use crate::measure::Line;
use crate::options::Options;

/// Measures what is asked for, in the order of the numbers.
pub(crate) async fn run(options: &Options) -> Outcome<Vec<Line>> {
    std::fs::create_dir_all(&options.directory)?;
    let mut lines = Vec::new();
    if [3, 4, 5].iter().any(|number| options.wants(*number)) {
        lines.extend(commands::measure(options).await?);
    }
    if [1, 7, 8, 10].iter().any(|number| options.wants(*number)) {
        lines.extend(large::measure(options).await?);
    }
    if options.wants(9) {
        lines.push(codec::measure(options)?);
    }
    if options.wants(11) {
        lines.extend(length::measure(options).await?);
    }
    if options.wants(12) {
        lines.extend(visible::measure(options).await?);
    }
    lines.sort_by_key(|line| number(line.number));
    Ok(lines)
}

/// Tells whoever waits what is being done.
fn say(what: impl AsRef<str>) {
    eprintln!("bench: {}", what.as_ref());
}

/// The number before a line's variant.
fn number(text: &str) -> u32 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}
