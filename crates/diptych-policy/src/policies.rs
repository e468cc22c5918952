//! Policies as they are written: texts, the names of the policies in them, their version. Not yet held
//! against anything that a service declares.

use crate::PolicyError;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use diptych_core::PolicyVersion;
use std::collections::BTreeMap;
use std::path::Path;

/// How many policies a service may have; each is looked at for each new principal and model.
pub const POLICIES_MAX: usize = 1_000;

/// How long the text of one file of policies may be.
pub const POLICY_TEXT_BYTES_MAX: usize = 1 << 20;

/// What is so in every service: columns that are declared public, and keys, are seen by whoever sees the row,
/// and may be asked by. A policy that forbids may say otherwise of one.
const PUBLIC_FIELDS: &str = r#"
@id("public-fields")
permit (principal, action in [Action::"viewField", Action::"searchBy"], resource)
when { context.sensitivityRank == 0 };
"#;

/// The name of that policy.
pub(crate) const PUBLIC_FIELDS_ID: &str = "public-fields";

/// How many digits of the fingerprint stand in a version.
const VERSION_DIGITS: usize = 12;

/// Cedar policies, read and named.
///
/// ```
/// # use diptych_policy::Policies;
/// let policies = Policies::from_text(
///     r#"@id("own-team") @version("2026-11")
///        permit (principal, action == Action::"viewRow", resource is WorkQueueView)
///        when { principal.teams.contains(resource.teamId) };"#,
/// )?;
/// assert_eq!(policies.ids().collect::<Vec<_>>(), ["own-team"]);
/// assert!(policies.version().0.starts_with("2026-11+"));
/// # Ok::<(), diptych_policy::PolicyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policies {
    pub(crate) set: PolicySet,
    /// The texts by the name of their file.
    texts: BTreeMap<String, String>,
    rules: Vec<PolicyText>,
    version: PolicyVersion,
    fingerprint: [u8; 32],
}

/// One policy, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyText {
    /// Its name, from `@id`.
    pub id: String,
    /// Whether it forbids.
    pub forbids: bool,
    /// As it is written.
    pub text: String,
}

impl Policies {
    /// Reads one text, as of a file.
    ///
    /// # Errors
    /// A text that cannot be parsed, and policies without a name or with the name of another.
    pub fn from_text(text: &str) -> Result<Self, PolicyError> {
        Self::from_texts([("policies.cedar", text)])
    }

    /// Reads several texts, each with the name of its file.
    ///
    /// # Errors
    /// As [`Policies::from_text`], for every text.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, PolicyError> {
        let mut reading = Reading::default();
        reading.take("", PUBLIC_FIELDS);
        let mut kept = BTreeMap::new();
        for (name, text) in texts {
            reading.take(name, text);
            kept.insert(name.to_owned(), text.to_owned());
        }
        reading.finish(kept)
    }

    /// Reads files; the name of a folder stands for every `.cedar` file in it.
    ///
    /// # Errors
    /// As [`Policies::from_texts`], and files that cannot be read.
    pub fn from_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PolicyError> {
        let mut texts = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let unreadable =
                |error: std::io::Error| PolicyError::one(format!("`{}`: {error}", path.display()));
            let mut files = vec![path.to_path_buf()];
            if path.is_dir() {
                let entries = std::fs::read_dir(path).map_err(unreadable)?;
                files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
                files.retain(|file| file.extension().is_some_and(|extension| extension == "cedar"));
                files.sort();
            }
            for file in files {
                let text = std::fs::read_to_string(&file).map_err(unreadable)?;
                texts.push((file.display().to_string(), text));
            }
        }
        Self::from_texts(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// The version that stands on what was decided by these policies: what `@version` says, if any policy
    /// says it, and a short fingerprint of all of them. Layout and comments do not count.
    #[must_use]
    pub fn version(&self) -> PolicyVersion {
        self.version.clone()
    }

    /// The policies, sorted by name, without the one that every service has.
    #[must_use]
    pub fn rules(&self) -> &[PolicyText] {
        &self.rules
    }

    /// The names of the policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.id.as_str())
    }

    /// The texts, by the name of their file.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// Policies while they are read.
#[derive(Default)]
struct Reading {
    policies: BTreeMap<String, Policy>,
    version: Option<String>,
    problems: Vec<String>,
}

impl Reading {
    fn take(&mut self, file: &str, text: &str) {
        if text.len() > POLICY_TEXT_BYTES_MAX {
            return self.problem(format!("`{file}` is longer than {POLICY_TEXT_BYTES_MAX} bytes"));
        }
        let set = match text.parse::<PolicySet>() {
            Ok(set) => set,
            Err(error) => return self.problems.extend(located(file, text, &DetailedError::from(&error))),
        };
        if set.templates().next().is_some() {
            self.problem(format!(
                "`{file}` holds a template (`?principal` or `?resource`), which nothing links"
            ));
        }
        let mut numbered: Vec<_> = set.policies().collect();
        numbered.sort_by_key(|policy| number(policy.id()));
        for policy in numbered {
            self.add(file, policy);
        }
    }

    fn add(&mut self, file: &str, policy: &Policy) {
        let place = number(policy.id()) + 1;
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            return self
                .problem(format!("policy {place} of `{file}` has no name: write @id(\"…\") before it"));
        };
        if let Some(version) = policy.annotation("version") {
            match &self.version {
                Some(other) if other != version => {
                    self.problem(format!("policy `{id}` says @version(\"{version}\"), another `{other}`"));
                }
                _ => self.version = Some(version.to_owned()),
            }
        }
        let named = policy.new_id(PolicyId::new(id));
        if self.policies.insert(id.to_owned(), named).is_some() {
            self.problem(format!("two policies are called `{id}`"));
        }
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn finish(mut self, texts: BTreeMap<String, String>) -> Result<Policies, PolicyError> {
        if self.policies.len() > POLICIES_MAX {
            self.problem(format!("there are more than {POLICIES_MAX} policies"));
        }
        let mut hasher = blake3::Hasher::new();
        for (id, policy) in &self.policies {
            match policy.to_json() {
                Ok(json) => {
                    hasher.update(format!("{id}\n{json}\n").as_bytes());
                }
                Err(error) => self.problems.push(format!("policy `{id}`: {error}")),
            }
        }
        let set = PolicySet::from_policies(self.policies.values().cloned());
        let set = set.map_err(|error| PolicyError::one(error.to_string()))?;
        if !self.problems.is_empty() {
            return Err(PolicyError { problems: self.problems });
        }
        let fingerprint = hasher.finalize();
        let digits = &fingerprint.to_hex()[..VERSION_DIGITS];
        let version = match self.version {
            Some(version) => format!("{version}+{digits}"),
            None => digits.to_owned(),
        };
        let own = self.policies.iter().filter(|(id, _)| *id != PUBLIC_FIELDS_ID);
        let rules = own.map(|(id, policy)| PolicyText {
            id: id.clone(),
            forbids: policy.effect() == Effect::Forbid,
            text: policy.to_cedar().unwrap_or_else(|| policy.to_string()),
        });
        Ok(Policies {
            rules: rules.collect(),
            set,
            texts,
            version: PolicyVersion(version.into()),
            fingerprint: *fingerprint.as_bytes(),
        })
    }
}

/// Cedar names the policies of a text `policy0`, `policy1` and so on.
fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.strip_prefix("policy").and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// Each error with its line.
fn located(file: &str, text: &str, error: &DetailedError) -> Vec<String> {
    let one = |error: &DetailedError| {
        let line = error.source_locations.first().map(|label| {
            let before = text.as_bytes().iter().take(label.loc.start);
            1 + before.filter(|byte| **byte == b'\n').count()
        });
        let place = line.map_or_else(|| format!("`{file}`"), |line| format!("`{file}` line {line}"));
        let help = error.help.as_ref().map_or_else(String::new, |help| format!(": {help}"));
        format!("{place}: {}{help}", error.message)
    };
    std::iter::once(error).chain(&error.related).map(one).collect()
}
