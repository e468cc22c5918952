//! What a change of code does to golden bytes, each change as a language of its own.

use super::*;
use diptych::{Data, Event, Id, Scalar};
use diptych_core::{Money, Timestamp};

/// Names a customer.
#[derive(Id)]
pub(super) struct CustomerId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub(super) enum Speed {
    Slow,
    Fast,
}

#[derive(Clone, Debug, PartialEq, Data)]
pub(super) enum Payment {
    Open,
    Paid { amount: Money },
}

macro_rules! language {
    ($module:ident, $($language:tt)*) => {
        mod $module {
            use super::*;

            #[derive(Clone, Debug, PartialEq, Event)]
            $($language)*
        }
    };
}

language!(
    first,
    #[event(category = "parcel", owner = "post")]
    pub(super) enum Parcel {
        Sent {
            to: CustomerId,
            speed: Speed,
            payment: Payment,
            at: Timestamp,
            notes: Vec<String>,
            gift: Option<bool>,
        },
        #[event(name = "Got/lost")]
        Lost,
    }
);
language!(
    renamed,
    #[event(category = "parcel", owner = "post")]
    pub(super) enum Parcel {
        Sent {
            receiver: CustomerId,
        },
        #[event(name = "Got/lost")]
        Lost,
    }
);
language!(
    reordered,
    #[event(category = "parcel", owner = "post")]
    pub(super) enum Parcel {
        Sent {
            speed: Speed,
            to: CustomerId,
            payment: Payment,
            at: Timestamp,
            notes: Vec<String>,
            gift: Option<bool>,
        },
        #[event(name = "Got/lost")]
        Lost,
    }
);
language!(
    second,
    #[event(category = "parcel", owner = "post", retired = "Got/lost")]
    pub(super) enum Parcel {
        #[event(version = 2, v1 = SentV1)]
        Sent { to: CustomerId },
    }
);
language!(
    forgetful,
    #[event(category = "parcel", owner = "post", unknown = "ignore")]
    pub(super) enum Parcel {
        Sent { to: CustomerId },
    }
);

#[derive(Data)]
pub(super) struct SentV1 {
    to: CustomerId,
}

impl From<SentV1> for second::Parcel {
    fn from(old: SentV1) -> Self {
        Self::Sent { to: old.to }
    }
}

struct Folder(PathBuf);

impl Folder {
    /// A folder with the examples of the first language.
    fn new(name: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("diptych-{name}-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        assert_eq!(findings::<first::Parcel>(&folder.0, Missing::Write), Vec::<String>::new());
        folder
    }

    #[track_caller]
    fn check<E: Event>(&self, expected: &[&str]) {
        let found = findings::<E>(&self.0, Missing::Tell);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "`{expected}` is not in `{found}`");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn missing_examples_are_made_from_the_types_and_hold() {
    let folder = Folder::new("golden-made");
    folder.check::<first::Parcel>(&[]);
    let sent = fs::read_to_string(folder.0.join("Sent.v1.jsonl")).unwrap();
    for part in ["SLOW", "FAST", "OPEN", "PAID", "gift", "\"notes\":[]"] {
        assert!(sent.contains(part), "{sent}");
    }
    assert_eq!(fs::read_to_string(folder.0.join("Got%2flost.v1.jsonl")).unwrap(), "{}\n");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let folder = Folder::new("golden-kept");
    let path = folder.0.join("Sent.v1.jsonl");
    fs::write(&path, "{\"mine\":1}\n").unwrap();
    let found = findings::<first::Parcel>(&folder.0, Missing::Write);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"mine\":1}\n");
}

#[test]
fn old_bytes_that_are_not_read_any_more_are_told() {
    let folder = Folder::new("golden-renamed");
    let found = findings::<renamed::Parcel>(&folder.0, Missing::Tell);
    assert!(found.iter().all(|found| found.contains("missing field `receiver`")), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn bytes_that_would_be_written_otherwise_are_told() {
    let folder = Folder::new("golden-reordered");
    let found = findings::<reordered::Parcel>(&folder.0, Missing::Tell);
    assert!(found.iter().all(|found| found.contains("would be written otherwise today")), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn a_new_version_needs_a_file_and_keeps_the_old_one() {
    let folder = Folder::new("golden-second");
    folder.check::<second::Parcel>(&["Sent.v2.jsonl` is missing: nothing holds version 2 of `Sent`"]);
    fs::remove_file(folder.0.join("Sent.v1.jsonl")).unwrap();
    let found = findings::<second::Parcel>(&folder.0, Missing::Write);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("bring back the file from when version 1 was the newest"), "{found:?}");
}

#[test]
fn a_file_that_nobody_reads_is_told() {
    let folder = Folder::new("golden-stray");
    let found = findings::<forgetful::Parcel>(&folder.0, Missing::Tell);
    let stray = found.iter().find(|found| found.contains("Got%2flost.v1.jsonl"));
    assert!(stray.is_some_and(|stray| stray.contains("does not read")), "{found:?}");
    fs::write(folder.0.join("Sent.v1.jsonl"), " \n").unwrap();
    folder.check::<first::Parcel>(&["holds no example"]);
}
