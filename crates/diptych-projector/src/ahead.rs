//! Reading and planning ahead of what is being folded or written, so that both processors work at once. What
//! was prepared is thrown away when it turns out not to follow; nothing here writes.

use diptych_core::{Fault, Position, RawFact};
use diptych_query::fold::DecodedFacts;
use diptych_query::{AdvanceError, Block, Feed, Fold, Group, Mark, RawBlock};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many blocks wait between the reading and the folding thread of a build.
const BLOCKS_MAX: usize = 3;

/// How many facts a build puts together, decodes and folds before others are written over them: few enough
/// that their memory is near all the while, enough that tables need not take turns too often.
const FACTS_AT_ONCE: usize = 16;

/// How often so many facts are decoded, about 0.1 ms in all, before other tasks have their turn.
const DECODED_UNTIL_YIELD: usize = 16;

/// From how many facts on planning is left to a thread that may block.
const FACTS_IN_PLACE_MAX: usize = 256;

/// A block whose facts are decoded and routed; the fold has not seen a row yet.
pub(crate) struct Planned {
    /// Where it starts.
    pub(crate) from: Mark,
    pub(crate) block: Block,
    pub(crate) fold: Fold,
}

/// Plans a block in a fold that starts where the block does.
pub(crate) async fn plan(mut fold: Fold, from: Mark, block: Block) -> Result<Planned, AdvanceError> {
    if block.facts.len() <= FACTS_IN_PLACE_MAX {
        fold.plan(&block)?;
        return Ok(Planned { from, block, fold });
    }
    let planning = tokio::task::spawn_blocking(move || {
        fold.plan(&block)?;
        Ok(Planned { from, block, fold })
    });
    planning.await.map_err(gone)?
}

/// Reads and plans what follows a block. Answers nothing where there is none, and where it failed: it is then
/// done again in its turn, and fails where that can be judged.
pub(crate) async fn plan_next(
    feed: &dyn Feed,
    group: &Group,
    fold: Fold,
    from: Mark,
    positions_max: usize,
) -> Option<Planned> {
    let block = feed.read(from.position(), group.categories(), positions_max).await.ok()?;
    if block.through.position() == from.position() {
        return None;
    }
    plan(fold, from, block).await.ok()
}

/// Folds a first block and all that follow it, up to the head or the most rows that may be held.
pub(crate) async fn fold_through(
    feed: &Arc<dyn Feed>,
    group: &Arc<Group>,
    fold: Fold,
    first: Block,
    positions_max: usize,
    rows_max: usize,
) -> Result<Fold, AdvanceError> {
    let (sender, blocks) = mpsc::channel(BLOCKS_MAX);
    let (give_back, given_back) = mpsc::unbounded_channel();
    let after = first.through.position();
    let reading = Reading { feed: Arc::clone(feed), group: Arc::clone(group), positions_max };
    tokio::spawn(reading.run(after, sender, given_back));
    let folding = tokio::task::spawn_blocking(move || fold_blocks(fold, first, blocks, &give_back, rows_max));
    folding.await.map_err(gone)?
}

/// A block on its way from the reading to the folding thread, its first facts decoded as far as there was
/// time.
struct OnItsWay {
    block: RawBlock,
    decoded: Vec<DecodedFacts>,
}

/// The reading side of a build.
struct Reading {
    feed: Arc<dyn Feed>,
    group: Arc<Group>,
    positions_max: usize,
}

impl Reading {
    /// Reads block after block until the head, a fault, or until nobody takes them any more.
    async fn run(
        self,
        mut after: Position,
        blocks: mpsc::Sender<Result<OnItsWay, Fault>>,
        mut given_back: mpsc::UnboundedReceiver<OnItsWay>,
    ) {
        let mut rooms = Vec::new();
        loop {
            let block = match self.feed.read_raw(after, self.group.categories(), self.positions_max).await {
                Ok(block) => block,
                Err(fault) => {
                    let _ = blocks.send(Err(fault)).await;
                    return;
                }
            };
            let through = block.through.position();
            if through == after {
                return;
            }
            let last = through >= block.head;
            after = through;
            let block = self.help(block, &blocks, &mut rooms).await;
            if blocks.send(Ok(block)).await.is_err() || last {
                return;
            }
            // Blocks are freed on the side that makes them: what a store has put together already would have
            // the folding thread wait for memory and counters that the reading one is busy with.
            while let Ok(OnItsWay { mut decoded, .. }) = given_back.try_recv() {
                decoded.iter_mut().for_each(DecodedFacts::clear);
                rooms.append(&mut decoded);
            }
        }
    }

    /// Decodes facts of a block for as long as the folding thread has blocks enough.
    async fn help(
        &self,
        mut block: RawBlock,
        blocks: &mpsc::Sender<Result<OnItsWay, Fault>>,
        rooms: &mut Vec<DecodedFacts>,
    ) -> OnItsWay {
        let mut decoded = Vec::new();
        while blocks.capacity() == 0 {
            let mut room = rooms.pop().unwrap_or_default();
            if !room.take(&self.group, &mut *block.facts, FACTS_AT_ONCE) {
                break;
            }
            decoded.push(room);
            if decoded.len().is_multiple_of(DECODED_UNTIL_YIELD) {
                tokio::task::yield_now().await;
            }
        }
        OnItsWay { block, decoded }
    }
}

fn fold_blocks(
    mut fold: Fold,
    first: Block,
    mut blocks: mpsc::Receiver<Result<OnItsWay, Fault>>,
    give_back: &mpsc::UnboundedSender<OnItsWay>,
    rows_max: usize,
) -> Result<Fold, AdvanceError> {
    let mut facts = Vec::with_capacity(FACTS_AT_ONCE);
    let mut next = Some(Ok(OnItsWay { block: first.into(), decoded: Vec::new() }));
    while let Some(block) = next {
        let mut block = block?;
        block.decoded.iter_mut().try_for_each(|facts| fold.plan_decoded(facts))?;
        fold_block(&mut fold, &mut block.block, &mut facts)?;
        // When the reading side has ended, the block is freed here.
        let _ = give_back.send(block);
        next = if fold.rows_held() < rows_max { blocks.blocking_recv() } else { None };
    }
    Ok(fold)
}

/// Folds a block; `facts` is only room for some of its facts.
fn fold_block(
    fold: &mut Fold,
    block: &mut RawBlock,
    facts: &mut Vec<Arc<RawFact>>,
) -> Result<(), AdvanceError> {
    loop {
        block.facts.take(FACTS_AT_ONCE, facts);
        if facts.is_empty() {
            break;
        }
        fold.plan_facts(facts, fold.through())?;
    }
    fold.plan_facts(&[], block.through)?;
    fold.run()?;
    Ok(())
}

/// Folds a block into the partitions of one build.
pub(crate) fn fold_shared(mut folds: Vec<Fold>, mut block: RawBlock) -> Result<Vec<Fold>, AdvanceError> {
    let mut facts = Vec::with_capacity(FACTS_AT_ONCE);
    loop {
        block.facts.take(FACTS_AT_ONCE, &mut facts);
        if facts.is_empty() {
            break;
        }
        for fold in &mut folds {
            fold.plan_facts(&facts, fold.through())?;
        }
    }
    for fold in &mut folds {
        fold.plan_facts(&[], block.through)?;
        fold.run()?;
    }
    Ok(folds)
}

pub(crate) fn gone(error: tokio::task::JoinError) -> Fault {
    Fault::transient(diptych_core::Code::Internal, "the folding thread ended").because(error)
}
