//! Every committed lock file fits its manifests, so that a build with `--locked` does not fail a change at
//! the very end. Asks no registry for anything newer.

use super::Finding;

/// Asks `misfit` about each manifest that has a lock file beside it.
pub(super) fn check(
    paths: &[String],
    misfit: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for lock in paths {
        let Some(folder) = lock.strip_suffix("Cargo.lock") else { continue };
        let manifest = format!("{folder}Cargo.toml");
        if let Some(reason) = misfit(&manifest)? {
            let mended_by = format!("cargo update --workspace --manifest-path {manifest}");
            // The index may be updated first, which cargo tells before the error.
            let reason = reason.lines().find(|line| line.starts_with("error")).unwrap_or(&reason);
            findings.push(Finding::whole(lock, format!("does not fit ({reason}): run `{mended_by}`")));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_does_not_fit_is_found_with_what_mends_it() {
        let paths = ["Cargo.lock", "bench/Cargo.lock", "bench/src/main.rs"].map(str::to_owned);
        let misfit = |manifest: &str| {
            let reason = "    Updating crates.io index\nerror: cannot update the lock file\nhelp: remove it";
            Ok((manifest == "bench/Cargo.toml").then(|| reason.to_owned()))
        };
        let found = check(&paths, misfit).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "bench/Cargo.lock");
        assert!(found[0].message.contains("cargo update --workspace --manifest-path bench/Cargo.toml"));
        assert!(found[0].message.contains("cannot update the lock file"));
        assert!(check(&paths, |_| Ok(None)).unwrap().is_empty());
    }
}
