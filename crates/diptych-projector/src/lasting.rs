//! Folding ahead of what is written: while a batch is written, the next ones are read and folded on the rows
//! that those before have left in memory. What was folded is thrown away when a batch before it cannot be
//! written; nothing here writes.

use crate::ahead::gone;
use diptych_core::{Position, RawFact, StreamRef, Timestamp};
use diptych_query::{AdvanceError, Batch, Feed, Fold, Group, Mark, RawBlock, RowsAhead};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many facts are decoded and folded before they are freed: few enough that they stay near the processor,
/// enough that the store is not asked too often.
const FACTS_AT_ONCE: usize = 128;

/// Up to how many positions are folded by whoever follows; more are left to a thread that may block.
const POSITIONS_IN_PLACE_MAX: u64 = 64;

/// How many folded batches wait to be written, beside the one that is written and the one that is folded: one
/// that takes longer, as when a store tidies up, must not stop the folding.
const BATCHES_MAX: usize = 1;

/// A fold whose rows stay in memory from one batch to the next, and the rows that it may ask for. Everything
/// that it has folded is written.
pub(crate) struct Lasting {
    pub(crate) fold: Fold,
    pub(crate) rows: Arc<dyn RowsAhead>,
}

/// A batch to be written.
pub(crate) struct Folded {
    pub(crate) batch: Batch,
    /// Where the store looks whether it may be written.
    pub(crate) rows: Arc<dyn RowsAhead>,
    /// The young ones of its facts.
    pub(crate) seen: Vec<Seen>,
}

impl Folded {
    /// Whether it begins where a partition stands and goes no further than it may.
    pub(crate) fn follows(&self, at: Position, reach: Reach) -> bool {
        self.batch.from == at && reach.holds(self.batch.through.position())
    }
}

/// What is remembered of a fact until its rows are visible.
pub(crate) struct Seen {
    pub(crate) stream: Arc<StreamRef>,
    pub(crate) event: Arc<str>,
    pub(crate) recorded_at: Timestamp,
}

/// How far a fold may go.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// Not beyond this, if it says so.
    pub(crate) until: Option<Position>,
    /// Nor further at once.
    pub(crate) positions_max: usize,
}

impl Reach {
    /// How many positions a batch after one may have.
    pub(crate) fn room(self, after: Position) -> usize {
        let left = self.until.map_or(u64::MAX, |until| after.lag_to(until));
        usize::try_from(left).unwrap_or(usize::MAX).min(self.positions_max)
    }

    /// Whether it goes so far.
    pub(crate) fn holds(self, position: Position) -> bool {
        self.until.is_none_or(|until| position <= until)
    }
}

/// What a group has folded ahead.
#[derive(Default)]
pub(crate) enum Ahead {
    /// Nothing; the store has yet to be asked.
    #[default]
    Unasked,
    /// Nothing, ever: the store has it not.
    Never,
    /// Nothing more than was handed out.
    Rests(Lasting),
    /// Batches on their way, from a fold that goes on until it has caught up or must make room.
    Goes { batches: mpsc::Receiver<Folded>, task: JoinHandle<Result<Lasting, AdvanceError>> },
}

impl Ahead {
    /// Takes what is folded; what the store has said of itself stays.
    pub(crate) fn take(&mut self) -> Self {
        let left = if matches!(self, Self::Never) { Self::Never } else { Self::Unasked };
        std::mem::replace(self, left)
    }

    /// The next batch, once every batch before it is written. None when it has caught up, or never begins.
    ///
    /// # Errors
    /// Whatever kept a batch from being folded; it must be folded from what the store holds.
    pub(crate) async fn next(self, going: Going) -> Result<(Self, Option<Folded>), AdvanceError> {
        let mut lasting = match self {
            Self::Unasked | Self::Never => return Ok((self, None)),
            Self::Rests(lasting) => lasting,
            Self::Goes { mut batches, task } => match batches.recv().await {
                Some(folded) => return Ok((Self::Goes { batches, task }, Some(folded))),
                None => task.await.map_err(gone)??,
            },
        };
        lasting.fold.make_room(lasting.rows.bytes_max());
        let Some(block) = going.read(lasting.fold.through()).await? else {
            return Ok((Self::Rests(lasting), None));
        };
        // Most often a batch is a few facts and nothing follows it: nobody else is woken for them.
        let more = block.through.position() < block.head;
        let (lasting, folded) = lasting.fold_block(block, going.young).await?;
        if !more || lasting.is_full() {
            return Ok((Self::Rests(lasting), Some(folded)));
        }
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let task = tokio::spawn(going.run(lasting, sender));
        Ok((Self::Goes { batches, task }, Some(folded)))
    }
}

impl Lasting {
    fn is_full(&self) -> bool {
        self.fold.bytes() > self.rows.bytes_max()
    }

    /// Folds a block and answers itself.
    async fn fold_block(mut self, block: RawBlock, young: Timestamp) -> Result<(Self, Folded), AdvanceError> {
        let positions = self.fold.through().position().lag_to(block.through.position());
        let fold = move || {
            let folded = self.fold_parts(block, young)?;
            Ok((self, folded))
        };
        if positions <= POSITIONS_IN_PLACE_MAX {
            return fold();
        }
        tokio::task::spawn_blocking(fold).await.map_err(gone)?
    }

    /// Folds a block, part after part.
    fn fold_parts(&mut self, mut block: RawBlock, young: Timestamp) -> Result<Folded, AdvanceError> {
        let mut facts: Vec<Arc<RawFact>> = Vec::with_capacity(FACTS_AT_ONCE);
        let mut seen = Vec::new();
        loop {
            block.facts.take(FACTS_AT_ONCE, &mut facts);
            if facts.is_empty() {
                break;
            }
            self.fold.plan_facts(&facts, self.fold.through())?;
            self.rows.drive(&mut self.fold)?;
            seen.extend(Seen::young(&facts, young));
        }
        self.fold.plan_facts(&[], block.through)?;
        Ok(Folded { batch: self.fold.take_batch()?, rows: Arc::clone(&self.rows), seen })
    }
}

/// What a fold goes on with.
pub(crate) struct Going {
    pub(crate) feed: Arc<dyn Feed>,
    pub(crate) group: Arc<Group>,
    pub(crate) reach: Reach,
    /// Since when facts are remembered until they are visible.
    pub(crate) young: Timestamp,
}

impl Going {
    /// Reads, folds and hands over batch after batch, and reads on while one is folded.
    async fn run(self, mut lasting: Lasting, batches: mpsc::Sender<Folded>) -> Result<Lasting, AdvanceError> {
        let mut next = self.read(lasting.fold.through()).await?;
        while let Some(block) = next {
            let through = block.through;
            let more = through.position() < block.head;
            let reading = async { if more { self.read(through).await } else { Ok(None) } };
            let (done, read) = tokio::join!(lasting.fold_block(block, self.young), reading);
            let folded;
            (lasting, folded) = done?;
            // Where nobody takes it any more, nothing that was folded is of use.
            let _ = batches.send(folded).await;
            next = if lasting.is_full() || batches.is_closed() { None } else { read? };
        }
        Ok(lasting)
    }

    /// The block after a mark, if there is anything to come.
    async fn read(&self, after: Mark) -> Result<Option<RawBlock>, AdvanceError> {
        let room = self.reach.room(after.position());
        if room == 0 {
            return Ok(None);
        }
        let block = self.feed.read_raw(after.position(), self.group.categories(), room).await?;
        Ok(Some(block).filter(|block| block.through.position() > after.position()))
    }
}

impl Seen {
    /// Those of some facts that were not recorded before a time.
    pub(crate) fn young(facts: &[Arc<RawFact>], since: Timestamp) -> impl Iterator<Item = Self> {
        facts.iter().filter(move |fact| fact.recorded_at >= since).map(|fact| Self {
            stream: Arc::clone(&fact.stream),
            event: Arc::clone(&fact.event.name),
            recorded_at: fact.recorded_at,
        })
    }
}
