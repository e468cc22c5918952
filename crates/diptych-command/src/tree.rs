//! What caused what: from a command to its events and the commands that they caused, and up to where it all
//! began. Knows no rows: who shows the tree asks the right panel for them.

use crate::{AuditEntry, AuditFilter, AuditQuery, Commands, Outcome, RawError, Refusal};
use diptych_core::{
    Action, BoxFuture, CausationId, CommandId, Metadata, Principal, RawFact, StreamId, StreamRef, Version,
    event_id,
};
use std::sync::Arc;

/// How much of a tree is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeLimits {
    /// How many commands, with all that they caused.
    pub tree_nodes_max: usize,
    /// How many events of one command.
    pub node_events_max: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { tree_nodes_max: 200, node_events_max: 200 }
    }
}

/// A command with what it caused.
#[derive(Clone, PartialEq, Debug)]
pub struct CauseNode {
    /// The command.
    pub entry: AuditEntry,
    /// Its events.
    pub events: Vec<Arc<RawFact>>,
    /// Commands that it, or one of its events, caused, oldest first.
    pub caused: Vec<CauseNode>,
}

/// What caused what.
#[derive(Clone, PartialEq, Debug)]
pub struct CauseTree {
    /// The commands before, the nearest first; the last of them began it all.
    pub causes: Vec<AuditEntry>,
    /// The cause of the first of all, where it is no command or event that is known here.
    pub outside: Option<CausationId>,
    /// The command that was asked for.
    pub root: CauseNode,
    /// Whether there is more than the limits allow.
    pub cut_short: bool,
}

/// What is left of the limits while a tree grows.
struct Growth {
    nodes_left: usize,
    limits: TreeLimits,
    cut_short: bool,
    seen: Vec<CommandId>,
}

impl Commands {
    /// What a command caused, and what caused it. `id` is a command's, or an event's such as `order-42@3`,
    /// which stands for the command behind it. `None` when nothing is known under it.
    ///
    /// # Errors
    /// A refusal (not allowed) or a fault.
    pub async fn tree(
        &self,
        principal: &Principal,
        id: &str,
        limits: TreeLimits,
    ) -> Result<Option<CauseTree>, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadAudit);
        allowed.map_err(Refusal::Forbidden)?;
        let Some(entry) = self.behind(principal, id).await? else {
            return Ok(None);
        };
        let (causes, outside, mut cut_short) = self.causes(principal, &entry, limits).await?;
        let mut growth =
            Growth { nodes_left: limits.tree_nodes_max.max(1), limits, cut_short: false, seen: Vec::new() };
        let root = self.grow(principal, entry, &mut growth).await?;
        cut_short |= growth.cut_short;
        Ok(Some(CauseTree { causes, outside, root, cut_short }))
    }

    /// The command of an id, or the one behind an event.
    async fn behind(&self, principal: &Principal, id: &str) -> Result<Option<AuditEntry>, RawError> {
        let command = CommandId::new(id).map_err(Refusal::Text)?;
        if let Some(entry) = self.entry(principal, &command).await? {
            return Ok(Some(entry));
        }
        let Some((stream, version)) = event_of(id) else { return Ok(None) };
        let stream = StreamRef { tenant: principal.tenant.clone(), stream };
        let events = self.store.load(&stream, Version(version.0 - 1), 1).await?;
        let metadata = events.first().and_then(|event| Metadata::decode(&event.metadata).ok());
        match metadata {
            Some(metadata) => self.entry(principal, &metadata.command).await,
            None => Ok(None),
        }
    }

    /// What the ledger knows of a command, or, when its key has expired, the audit.
    async fn entry(&self, principal: &Principal, id: &CommandId) -> Result<Option<AuditEntry>, RawError> {
        if let Some(record) = self.store.recorded(&principal.tenant, id).await? {
            return Ok(Some(record.into()));
        }
        let filter = AuditFilter { id: Some(id.clone()), ..AuditFilter::default() };
        let (tenant, rows_max) = (principal.tenant.clone(), crate::AUDIT_ROWS_MAX);
        let query = AuditQuery { tenant, filter, before: None, rows_max };
        let entries = self.store.audited(&query).await?.entries;
        let settled = entries.iter().find(|entry| !matches!(entry.outcome, Outcome::Refused(_)));
        Ok(settled.or(entries.first()).cloned())
    }

    /// Upwards, until there is no cause or none that is known here.
    async fn causes(
        &self,
        principal: &Principal,
        entry: &AuditEntry,
        limits: TreeLimits,
    ) -> Result<(Vec<AuditEntry>, Option<CausationId>, bool), RawError> {
        let mut causes: Vec<AuditEntry> = Vec::new();
        let mut above = entry.causation.clone();
        while let Some(cause) = above {
            if causes.len() == limits.tree_nodes_max {
                return Ok((causes, None, true));
            }
            let Some(found) = self.behind(principal, cause.as_str()).await? else {
                return Ok((causes, Some(cause), false));
            };
            // Whoever names causes may name them in a circle.
            let known = found.id == entry.id || causes.iter().any(|held| held.id == found.id);
            if known {
                return Ok((causes, Some(cause), false));
            }
            above = found.causation.clone();
            causes.push(found);
        }
        Ok((causes, None, false))
    }

    fn grow<'a>(
        &'a self,
        principal: &'a Principal,
        entry: AuditEntry,
        growth: &'a mut Growth,
    ) -> BoxFuture<'a, Result<CauseNode, RawError>> {
        Box::pin(async move {
            growth.nodes_left -= 1;
            growth.seen.push(entry.id.clone());
            let events = match entry.outcome {
                Outcome::Accepted { base } => {
                    let count = usize::try_from(entry.version.0.saturating_sub(base.0)).unwrap_or(usize::MAX);
                    let last = base.plus(count.min(growth.limits.node_events_max));
                    growth.cut_short |= last < entry.version;
                    self.events(&entry.stream, base, last).await?
                }
                Outcome::Rejected { .. } | Outcome::Refused(_) => Vec::new(),
            };
            let mut ids: Vec<_> = CausationId::new(entry.id.as_str()).into_iter().collect();
            ids.extend(events.iter().filter_map(|event| event_id(&event.stream.stream, event.version)));
            let filter = AuditFilter { causation: ids, ..AuditFilter::default() };
            // One more than may be shown tells that there are more.
            let rows_max = growth.nodes_left.saturating_add(1);
            let query = AuditQuery { tenant: principal.tenant.clone(), filter, before: None, rows_max };
            let mut children = self.store.audited(&query).await?.entries;
            children.reverse();
            let mut caused = Vec::new();
            for child in children {
                if growth.nodes_left == 0 {
                    growth.cut_short = true;
                    break;
                }
                if !growth.seen.contains(&child.id) {
                    caused.push(self.grow(principal, child, growth).await?);
                }
            }
            Ok(CauseNode { entry, events, caused })
        })
    }
}

/// The stream and version of an event's id.
fn event_of(id: &str) -> Option<(StreamId, Version)> {
    let (stream, version) = id.rsplit_once('@')?;
    let version = version.parse().ok().filter(|version| *version > 0)?;
    Some((StreamId::parse(stream).ok()?, Version(version)))
}
