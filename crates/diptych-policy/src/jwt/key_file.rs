//! A file of keys, read again when it changes. Knows nothing of tokens.

use super::keys::{self, Format, Key};
use diptych_core::{Code, Fault, Timestamp};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often the file is looked at while tokens are signed with keys that are known.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked at, at most, because of tokens whose key is not known: anybody can send such
/// tokens.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

/// The largest file of keys, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 256 * 1024;

/// What was read last.
struct Known {
    keys: Arc<[Arc<Key>]>,
    /// Of the file that the keys are from.
    digest: blake3::Hash,
    /// What is wrong with the file since.
    complaint: Option<String>,
}

/// A file of keys. One that has become unusable leaves the keys in force that were read last, loudly: a
/// provider that is slow to write must not lock everybody out.
pub(super) struct KeyFile {
    path: PathBuf,
    format: Format,
    known: RwLock<Known>,
    /// When it was looked at last, microseconds since 1970.
    looked: AtomicI64,
}

impl KeyFile {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, Fault> {
        let invalid = |why: String| {
            Fault::permanent(Code::AuthenticationInvalid, format!("`{}` {why}", path.display()))
        };
        let bytes = read(path).map_err(invalid)?;
        let known = Known {
            keys: load(path, &bytes, format).map_err(invalid)?,
            digest: blake3::hash(&bytes),
            complaint: None,
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            known: RwLock::new(known),
            looked: AtomicI64::new(i64::MIN),
        })
    }

    /// The keys as the file holds them, or held them a few seconds ago.
    pub(super) fn current(&self, now: Timestamp) -> Arc<[Arc<Key>]> {
        self.look(now, LOOK_INTERVAL)
    }

    /// The keys of the file as it is, unless somebody else has just looked.
    pub(super) fn look_again(&self, now: Timestamp) -> Arc<[Arc<Key>]> {
        self.look(now, LOOK_AGAIN_INTERVAL)
    }

    /// Looks when the last look was longer ago than `interval`. Of those who come at the same time one looks.
    fn look(&self, now: Timestamp, interval: Duration) -> Arc<[Arc<Key>]> {
        let (now, last) = (now.as_micros(), self.looked.load(Ordering::Acquire));
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        let due = last == i64::MIN || now < last || now.saturating_sub(last) >= interval;
        if due && self.looked.compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.read_again();
        }
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).keys)
    }

    fn read_again(&self) {
        let bytes = read(&self.path);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let digest = bytes.as_deref().map(blake3::hash);
        if digest.as_ref().is_ok_and(|digest| *digest == known.digest) {
            known.complaint = None;
            return;
        }
        let read = bytes.and_then(|bytes| Ok((load(&self.path, &bytes, self.format)?, blake3::hash(&bytes))));
        match read {
            Ok((keys, digest)) => {
                let file = self.path.display();
                tracing::info!(%file, keys = keys.len(), "keys of tokens were read again");
                *known = Known { keys, digest, complaint: None };
            }
            Err(why) if known.complaint.as_ref() != Some(&why) => {
                tracing::error!(
                    code = Code::AuthenticationInvalid.as_str(),
                    "`{}` {why}; the keys read last stay in force",
                    self.path.display()
                );
                known.complaint = Some(why);
            }
            Err(_) => {}
        }
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyFile({:?}, {})", self.format, self.path.display())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    // A pipe or a device may have no end.
    let read = file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    match read.map_err(|error| format!("cannot be read: {error}"))? {
        length if length as u64 > KEY_FILE_BYTES_MAX => {
            Err(format!("has more than {KEY_FILE_BYTES_MAX} bytes"))
        }
        _ => Ok(bytes),
    }
}

fn load(path: &Path, bytes: &[u8], format: Format) -> Result<Arc<[Arc<Key>]>, String> {
    let set = keys::parse(bytes, format)?;
    for why in &set.passed_over {
        tracing::warn!("`{}`: {why}; it is passed over", path.display());
    }
    Ok(set.keys.into())
}
