//! Golden bytes: for every version of every event type an example is kept as it was stored, so that no change
//! of code makes old facts unreadable. Knows no domain.

use super::sample::samples;
use diptych_core::Event;
use schemars::SchemaGenerator;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable that lets [`golden`] write the files that are missing; it never changes one.
pub const WRITE_GOLDEN: &str = "DIPTYCH_WRITE_GOLDEN";

/// Holds an event language to the examples in a folder, one file for each type and version, such as
/// `OrderPlaced.v1.jsonl`, with a payload in each line, byte for byte as it was stored.
///
/// Every line must still be read. What the newest version's lines say must be written as the same bytes. A
/// version without a file, and a file of a version that the code does not read, fail. With
/// `DIPTYCH_WRITE_GOLDEN=1` examples of newest versions are made where a file is missing; nothing is ever
/// overwritten. When a type gets its next version, the file of the one before stays as it is.
///
/// ```
/// # use diptych::prelude::*;
/// use diptych::testing::golden;
/// # #[derive(Clone, Event)]
/// # #[event(category = "run", owner = "platform")]
/// # enum RunEvent { RunRecorded { status: String } }
/// # let folder = std::env::temp_dir().join(format!("diptych-golden-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # std::fs::write(folder.join("RunRecorded.v1.jsonl"), "{\"status\":\"ok\"}\n").unwrap();
/// golden::<RunEvent>(&folder);        // in a test: golden::<RunEvent>("tests/golden/run")
/// # std::fs::remove_dir_all(&folder).unwrap();
/// ```
#[track_caller]
pub fn golden<E: Event>(folder: impl AsRef<Path>) {
    let missing = if std::env::var_os(WRITE_GOLDEN).is_some() { Missing::Write } else { Missing::Tell };
    let findings = findings::<E>(folder.as_ref(), missing);
    assert!(findings.is_empty(), "the golden bytes of `{}` differ:\n{}", E::CATEGORY, findings.join("\n"));
}

/// What becomes of a file that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Tell,
    Write,
}

/// What a file holds examples of.
struct Held {
    name: &'static str,
    version: u32,
    age: Age,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    /// What is written today.
    Newest,
    /// What is read and brought up to today.
    Earlier,
}

fn findings<E: Event>(folder: &Path, missing: Missing) -> Vec<String> {
    let mut findings = Vec::new();
    let mut expected = BTreeMap::new();
    for kind in E::TYPES {
        for version in 1..=kind.version {
            let age = if version == kind.version { Age::Newest } else { Age::Earlier };
            expected.insert(file_name(kind.name, version), Held { name: kind.name, version, age });
        }
    }
    for (file, held) in &expected {
        let path = folder.join(file);
        if !path.exists() && held.age == Age::Newest && missing == Missing::Write {
            findings.extend(write_example::<E>(&path, held).err());
        }
        match fs::read_to_string(&path) {
            Ok(text) => findings.extend(judge::<E>(&path, held, &text)),
            Err(_) if !path.exists() => findings.push(missing_file(&path, held)),
            Err(error) => findings.push(format!("`{}` cannot be read: {error}", path.display())),
        }
    }
    findings.extend(files(folder).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let stray = !expected.contains_key(&name) && !is_retired::<E>(&name);
        stray.then(|| {
            format!(
                "`{}` is of a type or version that the code does not read: stored facts of it would stop \
                 every reader; read it again, or declare the type `retired`",
                path.display()
            )
        })
    }));
    findings
}

fn missing_file(path: &Path, held: &Held) -> String {
    let Held { name, version, age } = held;
    let mend = match age {
        Age::Newest => format!("`{WRITE_GOLDEN}=1` before the test command writes an example"),
        Age::Earlier => format!(
            "bring back the file from when version {version} was the newest, or put a payload into it as it \
             is stored"
        ),
    };
    format!("`{}` is missing: nothing holds version {version} of `{name}`; {mend}", path.display())
}

/// Every line of a file against the code.
fn judge<E: Event>(path: &Path, held: &Held, text: &str) -> Vec<String> {
    let at = |line: usize| format!("`{}`, line {}", path.display(), line + 1);
    if text.trim().is_empty() {
        return vec![format!("`{}` holds no example", path.display())];
    }
    let judged = text.lines().enumerate().filter_map(|(line, payload)| {
        match E::decode(held.name, held.version, payload) {
            Err(error) => Some(format!("{} is not read any more: {error}", at(line))),
            Ok(None) => Some(format!("{} is read as nothing", at(line))),
            Ok(Some(_)) if held.age == Age::Earlier => None,
            Ok(Some(event)) => match event.encode() {
                Ok(written) if written == payload => None,
                Ok(written) => Some(format!("{} would be written otherwise today: {written}", at(line))),
                Err(error) => Some(format!("{} would not be written today: {error}", at(line))),
            },
        }
    });
    judged.collect()
}

/// Makes examples from the type's schema and keeps those that come back as they were written.
fn write_example<E: Event>(path: &Path, held: &Held) -> Result<(), String> {
    let mut generator = SchemaGenerator::default();
    let schemas = E::schemas(&mut generator);
    let index = E::TYPES.iter().position(|kind| kind.name == held.name).unwrap_or_default();
    let schema = schemas.get(index).map(|schema| schema.as_value().clone()).unwrap_or_default();
    let definitions = generator.take_definitions(true);
    let mut lines: Vec<String> = Vec::new();
    let mut refused = String::new();
    for sample in samples(&schema, &definitions) {
        let read = E::decode(held.name, held.version, &sample.to_string());
        let written = read
            .map_err(|error| error.to_string())
            .and_then(|event| event.ok_or_else(|| "it is read as nothing".to_owned()))
            .and_then(|event| event.encode().map_err(|error| error.to_string()));
        match written {
            Ok(line) if !lines.contains(&line) => lines.push(line),
            Ok(_) => {}
            Err(reason) => refused = reason,
        }
    }
    if lines.is_empty() {
        let (name, file) = (held.name, path.display());
        return Err(format!("no example of `{name}` could be made ({refused}): write `{file}` by hand"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::File::create_new(path))
        .and_then(|mut file| std::io::Write::write_all(&mut file, (lines.join("\n") + "\n").as_bytes()));
    written.map_err(|error| format!("`{}` could not be written: {error}", path.display()))
}

/// The examples in a folder, in order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

/// A type's name as part of a file's: whatever is no letter or digit of ASCII stands as its number.
fn file_stem(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:02x}", c as u32) }).collect()
}

fn file_name(name: &str, version: u32) -> String {
    format!("{}.v{version}.jsonl", file_stem(name))
}

fn is_retired<E: Event>(file: &str) -> bool {
    let version = |name: &&str| {
        let rest = file.strip_prefix(&file_stem(name))?.strip_prefix(".v")?.strip_suffix(".jsonl")?;
        rest.parse::<u32>().ok()
    };
    E::RETIRED.iter().any(|name| version(name).is_some())
}

#[cfg(test)]
mod tests;
