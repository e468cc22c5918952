//! Tags of answers: whoever holds the tag of an answer may go on using it, and need not be sent it again.
//! What they are made of decides whether that is true, so everything that an answer depends on is in there.

use super::asking::{Meant, Of};
use super::{Ask, Queries, RawPage, RawRow};
use crate::text::key_from_text;
use crate::{Answer, Freshness, Health, QueryError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diptych_core::Principal;
use std::fmt;

/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// What separates the part of a tag that is known before rows are read from what the answer says of itself.
const MARK: char = '.';

/// Digits of the latter.
const MARK_DIGITS: usize = 8;

/// Names an answer to one principal's question as it is now: opaque, the same as long as the answer is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AnswerTag(String);

impl AnswerTag {
    /// A tag that somebody says to hold. Any text is one; most are held by nobody.
    pub fn held(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same answer is another one when it says something else of itself: that it is stale, or how its
    /// model is doing.
    fn marked(&self, freshness: &Freshness, health: &Health) -> Self {
        let said = blake3::hash(format!("{} {health:?}", freshness.stale).as_bytes());
        Self(format!("{}{MARK}{}", self.0, &said.to_hex()[..MARK_DIGITS]))
    }

    /// Whether it is this one, marked in whatever way.
    fn is_of(&self, base: &Self) -> bool {
        self.0.rsplit_once(MARK).is_some_and(|(held, _)| held == base.0)
    }
}

impl fmt::Display for AnswerTag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A value, unless whoever asks holds it already.
#[derive(Clone, PartialEq, Debug)]
pub enum Unless<T> {
    /// The value, with its tag; none where it may be another one without anything having changed.
    New(T, Option<AnswerTag>),
    /// What is held under this tag is the answer still. No row was read.
    Same(AnswerTag),
}

impl Queries {
    /// Asks for a page, unless it is held already under one of these tags.
    ///
    /// # Errors
    /// See [`QueryError`]: what an answer may not be given for, an unchanged one may not be used for either.
    pub async fn ask_unless(
        &self,
        principal: &Principal,
        model: &str,
        ask: &Ask,
        held: &[AnswerTag],
    ) -> Result<Answer<Unless<RawPage>>, QueryError> {
        let meant = self.page_meant(principal, model, ask).await?;
        let tag = match self.looked_up(&meant, held).await? {
            Held::Still(answer) => return Ok(answer.map(Unless::Same)),
            Held::Not(tag) => tag,
        };
        let answer = self.page(&meant).await?;
        let tag = tag.map(|tag| tag.marked(&answer.freshness, &answer.health));
        Ok(answer.map(|page| Unless::New(page, tag)))
    }

    /// Asks for one row by the text of its key, unless it is held already under one of these tags.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn get_text_unless(
        &self,
        principal: &Principal,
        model: &str,
        key: &[&str],
        ask: &Ask,
        held: &[AnswerTag],
    ) -> Result<Answer<Unless<Option<RawRow>>>, QueryError> {
        let key = key_from_text(self.known(principal, model)?.model.schema(), key)?;
        let meant = self.row_meant(principal, model, key, ask).await?;
        let tag = match self.looked_up(&meant, held).await? {
            Held::Still(answer) => return Ok(answer.map(Unless::Same)),
            Held::Not(tag) => tag,
        };
        let answer = self.row(&meant).await?;
        let tag = tag.map(|tag| tag.marked(&answer.freshness, &answer.health));
        Ok(answer.map(|row| Unless::New(row, tag)))
    }

    /// Whether the answer is held, before any row is read.
    async fn looked_up(&self, meant: &Meant<'_>, held: &[AnswerTag]) -> Result<Held, QueryError> {
        let schema = meant.schema();
        // A computed column reads the time, and what is under way changes without the rows.
        if meant.sight.reads_time || !schema.computed.is_empty() || schema.pending {
            return Ok(Held::Not(None));
        }
        // Before the stamp: what is held under it is then never said to be fresher than it is.
        let checkpoint =
            if held.is_empty() { None } else { Some(self.store.checkpoint(&meant.reading.group).await?) };
        // Before the rows: nobody holds them under a stamp that is newer than they are.
        let tag = self.tag(meant).await?;
        if let Some(checkpoint) = checkpoint.filter(|_| held.iter().any(|held| held.is_of(&tag))) {
            let (freshness, health) = self.finish(meant, &checkpoint).await?;
            let marked = tag.marked(&freshness, &health);
            if held.contains(&marked) {
                return Ok(Held::Still(Answer { value: marked, freshness, health }));
            }
        }
        Ok(Held::Not(Some(tag)))
    }

    async fn tag(&self, meant: &Meant<'_>) -> Result<AnswerTag, QueryError> {
        let Meant { principal, served, sight, ask, reading, .. } = meant;
        let stamp = self.store.stamp(&reading.group).await?;
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(meant.schema().name.as_bytes());
        part(&meant.schema().revision.to_le_bytes());
        part(format!("{:?} {:?}", reading.group.build(), served.entry.serving().own).as_bytes());
        part(stamp.as_bytes());
        part(&sight.stamp.to_le_bytes());
        part(format!("{:?}", sight.policy).as_bytes());
        part(format!("{principal:?}").as_bytes());
        // How long is waited changes nothing of the answer.
        part(format!("{:?}", Ask { wait: None, ..ask.clone() }).as_bytes());
        match &meant.of {
            Of::Page { rows, .. } => part(format!("page {rows}").as_bytes()),
            Of::Row { key } => part(format!("row {key:?}").as_bytes()),
        }
        Ok(AnswerTag(URL_SAFE_NO_PAD.encode(&hasher.finalize().as_bytes()[..TAG_BYTES])))
    }
}

/// Whether an answer is held.
enum Held {
    /// Under this tag.
    Still(Answer<AnswerTag>),
    /// It is not, and this is the tag to hold it under from now on.
    Not(Option<AnswerTag>),
}
