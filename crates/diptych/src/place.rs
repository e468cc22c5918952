//! Where a store is: a folder of this machine, or a schema of a database. Values only; opens nothing.

use diptych_core::{Code, Fault};
use diptych_postgres::Notify;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of the embedded store.
    Directory(PathBuf),
    /// A database of the production store.
    Postgres(Database),
}

/// A schema of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    /// Where commands and migrations go, such as `postgres://service@host/database`.
    pub url: String,
    /// Where reads go: a role without the privilege to write. None is the same role, in transactions that
    /// PostgreSQL keeps read-only.
    pub reader_url: Option<String>,
    /// How appends of other processes are noticed.
    pub notify: Notify,
    /// Certificates that TLS trusts, a PEM file; none is what the system trusts.
    pub root_certificates: Option<PathBuf>,
    /// The schema that holds the store.
    pub schema: String,
}

impl Database {
    /// The schema `diptych` of a database.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reader_url: None,
            notify: Notify::default(),
            root_certificates: None,
            schema: "diptych".to_owned(),
        }
    }
}

impl Place {
    /// What `--store` says: the URL of a database, or else a folder. The URL may name the schema as a
    /// parameter, `postgres://service@host/database?schema=orders`.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Self::Directory(PathBuf::from(text));
        }
        let (base, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut schema, mut others) = (None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.strip_prefix("schema=") {
                Some(name) => schema = Some(name.to_owned()),
                None => others.push(parameter),
            }
        }
        let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let database = Database::at(url);
        Self::Postgres(match schema {
            Some(schema) => Database { schema, ..database },
            None => database,
        })
    }
}

/// Refuses a folder that is meant as the URL of a store that there is none of: it would be made, empty, and
/// the service would look as if it had lost everything.
///
/// # Errors
///
/// `Code::ServiceInvalid`, without what stands behind the scheme, which may hold a password.
pub(crate) fn check_folder(directory: &Path) -> Result<(), Fault> {
    let text = directory.to_string_lossy();
    let Some((scheme, _)) = text.split_once(':') else { return Ok(()) };
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    // One letter is a drive (RFC 3986, section 3.1, for what a scheme is).
    let is_scheme = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    if !is_scheme || !scheme.chars().all(is_letter) {
        return Ok(());
    }
    let message = format!(
        "`{scheme}:…` is no store: name a folder, for the embedded store, or `postgres://…`; a folder with \
         such a name is `./{scheme}:…`"
    );
    Err(Fault::permanent(Code::ServiceInvalid, message))
}

impl From<&Path> for Place {
    fn from(directory: &Path) -> Self {
        Self::Directory(directory.to_owned())
    }
}

impl From<PathBuf> for Place {
    fn from(directory: PathBuf) -> Self {
        Self::Directory(directory)
    }
}

impl From<&PathBuf> for Place {
    fn from(directory: &PathBuf) -> Self {
        Self::Directory(directory.clone())
    }
}

impl From<&str> for Place {
    fn from(text: &str) -> Self {
        Self::from_text(text)
    }
}

impl From<Database> for Place {
    fn from(database: Database) -> Self {
        Self::Postgres(database)
    }
}

/// For people and logs: never with a password.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(out),
            Self::Postgres(database) => {
                let (scheme, rest) = database.url.split_once("://").unwrap_or(("postgres", ""));
                let rest = rest.split('?').next().unwrap_or_default();
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(out, "{scheme}://{host} (schema {})", database.schema)
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Place({self})")
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Database({})", Place::Postgres(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_no_store_is_not_taken_for_a_folder() {
        for url in
            ["mysql://me:secret@host/log", "sqlite:var/log.db", "file:///var/log", "Postgres://host/log"]
        {
            let refused = check_folder(Path::new(url)).expect_err(url).to_string();
            assert!(refused.contains("postgres://") && refused.contains("DP0040"), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        for folder in ["var", "/var/lib/log", "./sqlite:log", "a b:c", "c:log", "2026:log", "../x:y"] {
            assert!(check_folder(Path::new(folder)).is_ok(), "{folder}");
        }
    }

    #[test]
    fn a_url_may_name_the_schema() {
        let place = Place::from_text("postgres://host/log?schema=orders&sslmode=require");
        let expected =
            Database { schema: "orders".to_owned(), ..Database::at("postgres://host/log?sslmode=require") };
        assert_eq!(place, Place::Postgres(expected));
    }

    #[test]
    fn a_url_is_a_database_and_anything_else_a_folder() {
        assert_eq!(Place::from_text("var"), Place::Directory(PathBuf::from("var")));
        let url = "postgres://me:secret@host:5432/log?sslmode=require";
        let place = Place::from_text(url);
        assert_eq!(place, Place::Postgres(Database::at(url)));
        for told in [place.to_string(), format!("{place:?}")] {
            assert!(told.contains("postgres://host:5432/log") && !told.contains("secret"), "{told}");
        }
    }
}
