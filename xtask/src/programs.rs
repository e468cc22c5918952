//! Test programs side by side. Cargo builds them and would run one after another; most of them wait for a
//! server half of their time. So cargo is given this program as their runner, which only notes how each
//! would be run, and then as many are run at once as there are processors. Knows no single program.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{available_parallelism, scope};

use crate::environment::Environment;
use crate::process::cargo;

/// Every target of the workspace that has tests; none runs, see `NOTE`.
const BUILD: &[&str] = &["test", "--workspace", "--locked", "--no-fail-fast", "--tests"];

/// The tests in the documentation: rustdoc builds and runs them itself.
const DOCUMENTATION: &[&str] = &["test", "--workspace", "--locked", "--no-fail-fast", "--doc"];

/// What cargo says when it calls a runner, where nothing runs yet.
const RUNNING: &str = "     Running ";

/// The subcommand that cargo calls as a runner: `NOTE FILE PROGRAM ARGUMENTS`.
pub(crate) const NOTE: &str = "note-test-program";

/// A command that runs tests, and what it is called.
pub(crate) struct Program {
    name: String,
    command: Command,
}

/// A folder that is taken away with all there is in it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("diptych-xtask-{}-{number}", std::process::id()));
        let failed = |error| format!("cannot make `{}`: {error}", path.display());
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays lies in the system's folder for what may be taken away.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds all that has tests. `None` when something did not compile, which cargo has told.
pub(crate) fn build(root: &Path, environment: &Environment) -> Result<Option<Vec<Program>>, String> {
    let failed = |error: std::io::Error| format!("cannot build the tests: {error}");
    let folder = Folder::make()?;
    let notes = folder.0.join("notes");
    File::create(&notes).map_err(failed)?;
    let this = std::env::current_exe().map_err(failed)?;
    let mut command = uncoloured(root, BUILD);
    command.arg("--config").arg(format!("target.'cfg(all())'.runner = [{this:?}, {NOTE:?}, {notes:?}]"));
    environment.tell(&mut command);
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    for line in child.stderr.take().into_iter().flat_map(|told| BufReader::new(told).lines()) {
        let line = line.map_err(failed)?;
        if !line.starts_with(RUNNING) {
            eprintln!("{line}");
        }
    }
    if !child.wait().map_err(failed)?.success() {
        return Ok(None);
    }
    let noted = std::fs::read_to_string(&notes).map_err(failed)?;
    let mut programs = noted.lines().map(Program::noted).collect::<Result<Vec<_>, _>>()?;
    let mut documentation = uncoloured(root, DOCUMENTATION);
    environment.tell(&mut documentation);
    programs.push(Program { name: "documentation".to_owned(), command: documentation });
    // Cargo begins with the libraries. The services run longest, and none should be alone at the end.
    programs.reverse();
    Ok(Some(programs))
}

/// A command of cargo whose lines begin with words that can be compared.
fn uncoloured(root: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(root, arguments);
    command.env("CARGO_TERM_COLOR", "never");
    command
}

/// How cargo runs a program: where, by which words, with which variables.
type Noted = (PathBuf, Vec<String>, BTreeMap<String, String>);

/// Adds a line to the notes, as the runner of one program.
pub(crate) fn note(arguments: &[String]) -> Result<bool, String> {
    let [notes, words @ ..] = arguments else {
        return Err(format!("`{NOTE}` is what `cargo xtask test` has cargo call: run that"));
    };
    let failed = |error: std::io::Error| format!("cannot note a test program in `{notes}`: {error}");
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let noted: Noted = (std::env::current_dir().map_err(failed)?, words.to_vec(), variables.collect());
    let line = serde_json::to_string(&noted).map_err(|error| failed(error.into()))?;
    let mut notes = OpenOptions::new().append(true).open(notes).map_err(failed)?;
    writeln!(notes, "{line}").map_err(failed)?;
    Ok(true)
}

impl Program {
    fn noted(line: &str) -> Result<Self, String> {
        let noted = serde_json::from_str::<Noted>(line).map_err(|error| error.to_string());
        let (folder, words, variables) = noted.map_err(|error| format!("a note is broken: {error}"))?;
        let (program, arguments) = words.split_first().ok_or("cargo named no test program")?;
        let package = variables.get("CARGO_PKG_NAME").map_or("", String::as_str);
        let name = format!("{package} {}", without_hash(program)).trim_start().to_owned();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear().envs(variables).stdin(Stdio::null());
        Ok(Self { name, command })
    }

    /// Runs to its end. What it says goes into a file: something that it leaves running may hold that open,
    /// and keeps nobody waiting.
    fn run(mut self, said: &Path) -> std::io::Result<(File, Option<String>)> {
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(said)?;
        writeln!(file, "{RUNNING}{}", self.name)?;
        let status = self.command.stdout(file.try_clone()?).stderr(file.try_clone()?).status()?;
        file.rewind()?;
        let failed = (!status.success()).then(|| format!("`{}` ended with {status}", self.name));
        Ok((file, failed))
    }
}

/// The name in `target/debug/deps/name-hash`.
fn without_hash(program: &str) -> &str {
    let file = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program);
    file.rsplit_once('-').map_or(file, |(name, _)| name)
}

/// Runs all of them, in their order, as many at once as there are processors. `heard` is given what each has
/// said when it has ended, one at a time. Answers which have failed.
pub(crate) fn run(
    programs: Vec<Program>,
    heard: impl FnMut(&mut File) -> std::io::Result<()> + Send,
) -> Result<Vec<String>, String> {
    let folder = Folder::make()?;
    let count = programs.len();
    let rest = Mutex::new(programs.into_iter().enumerate());
    let ended = Mutex::new((heard, Vec::new()));
    let lane = || -> Result<(), String> {
        loop {
            let next = locked(&rest).next();
            let Some((number, program)) = next else { return Ok(()) };
            let name = program.name.clone();
            println!("test: {} of {count}: {name}", number + 1);
            let said = folder.0.join(number.to_string());
            let told = program.run(&said).and_then(|(mut file, complaint)| {
                let (heard, failed) = &mut *locked(&ended);
                failed.extend(complaint);
                heard(&mut file)
            });
            told.map_err(|error| format!("cannot run `{name}`: {error}"))?;
        }
    };
    let lanes = available_parallelism().map_or(1, usize::from);
    scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err("panicked".to_owned())));
        ended.collect::<Vec<_>>().into_iter().collect::<Result<(), String>>()
    })?;
    Ok(ended.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

/// A lane that panicked has left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that does one line, under a name.
    fn shell(name: &str, line: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        Program { name: name.to_owned(), command }
    }

    /// Runs them; answers all that was said, and what failed.
    fn ran(programs: Vec<Program>) -> (String, Vec<String>) {
        let mut said = String::new();
        let failed = run(programs, |file| std::io::Read::read_to_string(file, &mut said).map(drop));
        (said, failed.expect("a shell can be run"))
    }

    #[test]
    fn what_each_says_stays_together_and_failures_are_named() {
        let speaking = "for word in a b c; do echo $word; echo $word >&2; done";
        let programs = (0..8).map(|number| shell(&format!("speaker {number}"), speaking));
        let failing = shell("the failing one", "echo before; kill -9 $$");
        let (said, failed) = ran(programs.chain([failing]).collect());
        for number in 0..8 {
            let expected = format!("     Running speaker {number}\na\na\nb\nb\nc\nc\n");
            assert!(said.contains(&expected), "{said}");
        }
        assert!(said.contains("     Running the failing one\nbefore\n"), "{said}");
        assert!(failed.len() == 1 && failed[0].starts_with("`the failing one` ended with signal: 9"));
    }

    #[test]
    fn a_program_is_run_as_cargo_would_have_run_it() {
        let folder = Folder::make().expect("a folder");
        let notes = folder.0.join("notes of a test");
        File::create(&notes).expect("a file");
        let words = ["sh", "-c", "pwd; echo $CARGO_PKG_NAME $1", "-", "word"].map(str::to_owned);
        let arguments: Vec<String> = [notes.display().to_string()].into_iter().chain(words).collect();
        assert_eq!(note(&arguments), Ok(true));
        let noted = std::fs::read_to_string(&notes).expect("a note");
        let program = Program::noted(noted.trim_end()).expect("what was noted");
        assert_eq!(program.name, "xtask sh");
        let here = std::env::current_dir().expect("a folder").display().to_string();
        let (said, failed) = ran(vec![program]);
        assert_eq!((said, failed), (format!("     Running xtask sh\n{here}\nxtask word\n"), Vec::new()));
        assert!(note(&[]).expect_err("no file").contains("cargo xtask test"));
        assert_eq!(without_hash("/target/debug/deps/crash_later-0a1b"), "crash_later");
    }

    #[test]
    fn as_many_run_at_once_as_there_are_processors() {
        let lanes = available_parallelism().map_or(1, usize::from);
        let folder = Folder::make().expect("a folder");
        // Each waits until all have come, which they do only if all run, and gives up after a minute.
        let meet = format!(
            "cd {} && touch $1 && for look in $(seq 6000); do \
             [ $(ls | wc -l) -ge {lanes} ] && exit 0; sleep 0.01; done; exit 1",
            folder.0.display()
        );
        let programs = (0..lanes).map(|number| {
            let mut program = shell(&format!("{number}"), &meet);
            program.command.args(["-", &number.to_string()]);
            program
        });
        assert_eq!(ran(programs.collect()).1, Vec::<String>::new());
    }
}
