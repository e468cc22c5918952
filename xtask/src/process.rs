//! Starts cargo as a child process. Knows nothing of what the subcommands mean by it.

use std::path::Path;
use std::process::{Command, Stdio};

/// A cargo command at the root of the workspace, without standard input: nothing here may wait for a person.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root).args(arguments).stdin(Stdio::null());
    // `cargo run` tells xtask about its own package; a child that saw this would build some dependencies
    // again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Runs a command to its end with its output passed through, and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot start `{program}`: {error}"))?;
    Ok(status.success())
}
