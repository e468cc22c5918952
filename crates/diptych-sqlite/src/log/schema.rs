//! The objects of `log.db`, one file each, and the migrations that made them. Text once released never
//! changes.

use crate::connection::schema_version;
use crate::fault::{OrFault, damaged};
use diptych_core::{Code, Epoch, Fault, Fingerprint, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

/// `Dipt`, in the header of `log.db`.
const APPLICATION: i32 = 0x4469_7074;

/// The migrations, oldest first; each is the texts it runs.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("../schema/migration.sql"),
        include_str!("../schema/log.sql"),
        include_str!("../schema/tenant.sql"),
        include_str!("../schema/category.sql"),
        include_str!("../schema/actor.sql"),
        include_str!("../schema/command_name.sql"),
        include_str!("../schema/policy.sql"),
        include_str!("../schema/event_type.sql"),
        include_str!("../schema/stream.sql"),
        include_str!("../schema/event.sql"),
        include_str!("../schema/event_stream.sql"),
        include_str!("../schema/command.sql"),
        include_str!("../schema/command_refused.sql"),
        include_str!("../schema/command_key.sql"),
        include_str!("../schema/generation.sql"),
        include_str!("../schema/checkpoint.sql"),
        include_str!("../schema/checkpoint_history.sql"),
        include_str!("../schema/digest.sql"),
        include_str!("../schema/projection_checkpoint.sql"),
        include_str!("../schema/fact.sql"),
        include_str!("../schema/audit.sql"),
    ],
    &[include_str!("../schema/state.sql"), include_str!("../schema/state_category.sql")],
    &[include_str!("../schema/event_tag.sql")],
    &[include_str!("../schema/source.sql")],
    &[include_str!("../schema/queued_command.sql"), include_str!("../schema/queued_command_open.sql")],
    &[include_str!("../schema/command_causation.sql"), include_str!("../schema/command_correlation.sql")],
    &[
        include_str!("../schema/build.sql"),
        include_str!("../schema/build_of_generation.sql"),
        include_str!("../schema/log_builds.sql"),
        include_str!("../schema/stage_move.sql"),
        include_str!("../schema/stage_move_group.sql"),
        include_str!("../schema/stage.sql"),
        include_str!("../schema/record.sql"),
        include_str!("../schema/checkpoint_of_build.sql"),
        include_str!("../schema/answering_checkpoint.sql"),
        include_str!("../schema/parked_key.sql"),
    ],
    &[include_str!("../schema/checkpoint_repairs.sql")],
    &[include_str!("../schema/queued_command_claims.sql")],
];

/// Which log this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogIdentity {
    /// The life of the log.
    pub(crate) epoch: Epoch,
    /// The fingerprint at position 0.
    pub(crate) fingerprint: Fingerprint,
}

const INSERT_MIGRATION: &str = "INSERT INTO migration (number, checksum, applied_at) VALUES (?1, ?2, ?3)";
const SELECT_MIGRATIONS: &str = "SELECT number, checksum FROM migration ORDER BY number";
const INSERT_LOG: &str =
    "INSERT INTO log (id, identity, epoch, created_at, keys_swept) VALUES (1, ?1, ?2, ?3, 0)";
const SELECT_LOG: &str = "SELECT identity, epoch FROM log WHERE id = 1";
const RANDOM_BYTES: &str = "SELECT randomblob(16)";

/// Makes a new log, brings an older one up to this code, and refuses a newer one.
pub(crate) fn migrate(connection: &mut Connection, now: Timestamp) -> Result<LogIdentity, Fault> {
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let version = schema_version(&transaction, APPLICATION, known)?;
    if version > 0 {
        check_applied(&transaction)?;
    }
    for number in version..known {
        let Some(texts) = MIGRATIONS.get(number.unsigned_abs() as usize) else {
            continue;
        };
        for text in *texts {
            transaction.execute_batch(text).or_fault()?;
        }
        let row = (number + 1, checksum(texts), now.as_micros());
        transaction.execute(INSERT_MIGRATION, row).or_fault()?;
    }
    if version == 0 {
        let identity = new_identity(&transaction)?;
        transaction.execute(INSERT_LOG, (identity, Epoch::FIRST.0, now.as_micros())).or_fault()?;
        transaction.pragma_update(None, "application_id", APPLICATION).or_fault()?;
    }
    transaction.pragma_update(None, "user_version", known).or_fault()?;
    let identity = transaction.query_row(SELECT_LOG, [], |row| {
        let text: String = row.get(0)?;
        Ok(LogIdentity { epoch: Epoch(row.get(1)?), fingerprint: Fingerprint::of_log(&text) })
    });
    let identity = identity.or_fault()?;
    transaction.commit().or_fault()?;
    Ok(identity)
}

/// What has been applied must be what this code would have applied.
fn check_applied(connection: &Connection) -> Result<(), Fault> {
    let mut statement = connection.prepare(SELECT_MIGRATIONS).or_fault()?;
    let applied = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    for row in applied.or_fault()? {
        let (number, stored) = row.or_fault()?;
        let texts = usize::try_from(number - 1).ok().and_then(|index| MIGRATIONS.get(index));
        if texts.map(|texts| checksum(texts)) != Some(stored) {
            let message = format!("migration {number} of the store is not the one this program knows");
            return Err(Fault::permanent(Code::StoreVersion, message));
        }
    }
    Ok(())
}

fn checksum(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A random UUID (RFC 9562, version 4) as text.
fn new_identity(connection: &Connection) -> Result<String, Fault> {
    let random: Vec<u8> = connection.query_row(RANDOM_BYTES, [], |row| row.get(0)).or_fault()?;
    let mut bytes: [u8; 16] = random.try_into().map_err(|_| damaged("SQLite gave no random bytes"))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Ok(crate::ledger::uuid_text(&bytes))
}
