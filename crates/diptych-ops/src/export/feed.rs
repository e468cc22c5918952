//! Feeds over export files: read models are folded from them as from the log. What they hold is held against
//! the log that they must be of; where each entry stands is known to the log.

use super::files::{ExportFile, Places, Stamp, damaged, in_order, listed};
use diptych_core::{BoxFuture, Code, Fault, Position, RawFact, StreamRef, Token, Version};
use diptych_query::{Block, Categories, Feed, JobBoard, Mark};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// How often files are looked for that others join meanwhile.
const LOOKS_MAX: usize = 5;

/// The files of an export, as far as they are whole and follow each other.
pub(crate) struct ExportFeed {
    log: Arc<dyn Feed>,
    files: Arc<Files>,
    /// Where it is said how far a scheduled export reaches, with its name.
    told: Option<(Arc<JobBoard>, String)>,
    head: watch::Sender<Position>,
    /// Why the last look failed, as it was told.
    failure: Mutex<Option<String>>,
    /// The ends of files that were found in the log.
    matched: Mutex<HashMap<PathBuf, Token>>,
}

/// Where the files are, and what is known of those that were looked at.
struct Files {
    place: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    chain: Vec<Arc<ExportFile>>,
    verified: HashMap<PathBuf, (Stamp, SystemTime, Arc<Places>)>,
}

impl Files {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks which files there are, and opens those that are new. What is found wrong counts only if the same
    /// files are there still: others may join some of them meanwhile.
    fn look(&self) -> Result<Vec<Arc<ExportFile>>, Fault> {
        let mut paths = self.paths()?;
        let mut looks = 1;
        loop {
            let fault = match self.open(&paths) {
                Ok(chain) => return Ok(chain),
                Err(fault) => fault,
            };
            let again = self.paths()?;
            if again == paths || looks == LOOKS_MAX {
                return Err(fault);
            }
            (paths, looks) = (again, looks + 1);
        }
    }

    fn paths(&self) -> Result<Vec<PathBuf>, Fault> {
        if self.place.is_file() { Ok(vec![self.place.clone()]) } else { listed(&self.place) }
    }

    fn open(&self, paths: &[PathBuf]) -> Result<Vec<Arc<ExportFile>>, Fault> {
        let held = self.known().chain.clone();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let stamp = Stamp::of(path)?;
            match held.iter().find(|file| file.path == *path && file.stamp == stamp) {
                Some(file) => files.push(Arc::clone(file)),
                None => files.push(Arc::new(ExportFile::open(path)?)),
            }
        }
        let chain = in_order(files)?;
        let mut known = self.known();
        known.verified.retain(|path, _| chain.iter().any(|file| file.path == *path));
        known.chain.clone_from(&chain);
        Ok(chain)
    }

    /// Where the events stand in a file, every byte of which has been looked at.
    fn verified(&self, file: &ExportFile) -> Result<Arc<Places>, Fault> {
        let stamp = Stamp::of(&file.path)?;
        if stamp != file.stamp {
            return Err(damaged(&file.path, "has been changed since it was written"));
        }
        if let Some((held, looked_at, places)) = self.known().verified.get(&file.path)
            && *held == stamp
            && stamp.had_settled(*looked_at)
        {
            return Ok(Arc::clone(places));
        }
        let looked_at = SystemTime::now();
        let places = Arc::new(file.verify()?);
        self.known().verified.insert(file.path.clone(), (stamp, looked_at, Arc::clone(&places)));
        Ok(places)
    }

    /// Reads on after a position, from file to file.
    fn read(&self, after: Position, categories: &Categories, positions_max: usize) -> Taken {
        let chain = self.known().chain.clone();
        let end = Position(after.0.saturating_add(positions_max as u64));
        let mut taken = Taken { facts: Vec::new(), through: after, fault: None };
        for file in chain.iter().filter(|file| file.through() > after) {
            let range = (taken.through, end.min(file.through()));
            if range.0 == end || range.0 < file.from() {
                break;
            }
            match self.verified(file).and_then(|places| file.read(&places, range, categories)) {
                Ok(facts) => taken.facts.extend(facts),
                Err(fault) => {
                    taken.fault = Some(fault);
                    break;
                }
            }
            taken.through = range.1;
        }
        taken
    }
}

/// What was read from files.
struct Taken {
    /// The wanted events.
    facts: Vec<Arc<RawFact>>,
    /// Up to where they are all there.
    through: Position,
    /// Why it is not further, where a file could not be read.
    fault: Option<Fault>,
}

async fn on_its_thread<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|error| Fault::transient(Code::Internal, "the reading thread ended").because(error))?
}

impl ExportFeed {
    fn over(log: Arc<dyn Feed>, place: PathBuf, told: Option<(Arc<JobBoard>, String)>) -> Self {
        Self {
            log,
            files: Arc::new(Files { place, known: Mutex::default() }),
            told,
            head: watch::Sender::new(Position::START),
            failure: Mutex::default(),
            matched: Mutex::default(),
        }
    }

    /// The files of a scheduled export, which goes on.
    pub(crate) fn scheduled(log: Arc<dyn Feed>, folder: PathBuf, board: Arc<JobBoard>, export: &str) -> Self {
        Self::over(log, folder, Some((board, export.to_owned())))
    }

    /// One file or a folder, every byte of which is looked at.
    pub(crate) async fn opened(log: Arc<dyn Feed>, path: &Path) -> Result<Self, Fault> {
        if !path.exists() {
            return Err(damaged(path, "is not there"));
        }
        let feed = Self::over(log, path.to_owned(), None);
        let chain = feed.look().await?;
        if chain.is_empty() {
            return Err(damaged(path, "is a folder without any export file"));
        }
        let files = Arc::clone(&feed.files);
        on_its_thread(move || chain.iter().try_for_each(|file| files.verified(file).map(drop))).await?;
        Ok(feed)
    }

    /// Looks which files there are, holds them against the log, and wakes whoever waits for more.
    pub(crate) async fn look(&self) -> Result<Vec<Arc<ExportFile>>, Fault> {
        let looked = self.looked().await;
        match &looked {
            Ok(chain) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let through = chain.last().map_or(Position::START, |file| file.through());
                self.head.send_if_modified(|head| std::mem::replace(head, through) != through);
            }
            Err(fault) => {
                let told = Some(fault.to_string());
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                if *failure != told {
                    *failure = told;
                    // Whoever has read everything learns only so that something is wrong with it.
                    self.head.send_modify(|_| ());
                }
            }
        }
        looked
    }

    async fn looked(&self) -> Result<Vec<Arc<ExportFile>>, Fault> {
        // INVARIANT: read before the files are, so that a file that is told of has been there.
        let told = self.told.as_ref().and_then(|(board, export)| {
            let through = board.of(export)?.exported_through?;
            Some((export, through))
        });
        let files = Arc::clone(&self.files);
        let chain = on_its_thread(move || files.look()).await?;
        self.hold_against_log(&chain).await?;
        let through = chain.last().map_or(Position::START, |file| file.through());
        if let Some((export, told)) = told.filter(|(_, told)| *told > through) {
            let place = self.files.place.display();
            let message = format!(
                "the files of export `{export}` in `{place}` end at position {through} and one up to {told} \
                 was written: it is missing"
            );
            return Err(Fault::permanent(Code::ExportDamaged, message));
        }
        Ok(chain)
    }

    /// Whether the files are of this log as it is now.
    async fn hold_against_log(&self, chain: &[Arc<ExportFile>]) -> Result<(), Fault> {
        let Some(first) = chain.first() else { return Ok(()) };
        let start = self.log.mark(Position::START).await?;
        let epoch = self.log.head().await?.token.epoch;
        if first.lineage.epoch != epoch {
            let (theirs, ours) = (first.lineage.epoch.0, epoch.0);
            return Err(damaged(&first.path, format!("is of epoch {theirs} of the log, which is in {ours}")));
        }
        if start.is_none_or(|start| start.token != first.lineage.log) {
            return Err(damaged(&first.path, "is of another log"));
        }
        for file in chain {
            let through = file.lineage.through;
            let known = {
                let matched = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
                matched.get(&file.path) == Some(&through)
            };
            if known {
                continue;
            }
            let mark = self.log.mark(through.position).await?;
            if mark.is_none_or(|mark| mark.token != through) {
                return Err(damaged(&file.path, format!("ends at {through}, which is not in this log")));
            }
            let mut matched = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
            matched.insert(file.path.clone(), through);
        }
        Ok(())
    }

    /// The wanted events after a position, at most over so many positions, and where they end. Files that are
    /// gone may have been joined since the last look.
    async fn read_files(
        &self,
        after: Position,
        categories: &Categories,
        positions_max: usize,
    ) -> Result<(Vec<Arc<RawFact>>, Position), Fault> {
        let mut looks = 1;
        loop {
            let seen = self.files.known().chain.clone();
            let (files, wanted) = (Arc::clone(&self.files), categories.clone());
            let taken = on_its_thread(move || Ok(files.read(after, &wanted, positions_max))).await?;
            let Taken { facts, through, fault: Some(fault) } = taken else {
                return Ok((taken.facts, taken.through));
            };
            let same = |(a, b): (&Arc<ExportFile>, &Arc<ExportFile>)| a.path == b.path && a.stamp == b.stamp;
            let fault = match self.look().await {
                Ok(chain) if chain.len() == seen.len() && chain.iter().zip(&seen).all(same) => fault,
                Ok(_) if looks == LOOKS_MAX => fault,
                Ok(_) => {
                    looks += 1;
                    continue;
                }
                Err(fault) => fault,
            };
            // What comes before the file that is damaged is whole: who reads on is told then.
            return if through > after { Ok((facts, through)) } else { Err(fault) };
        }
    }

    async fn marked(&self, position: Position) -> Result<Mark, Fault> {
        let mark = self.log.mark(position).await?;
        mark.ok_or_else(|| {
            let message = format!("position {position} of an export is not in the log");
            Fault::permanent(Code::ExportDamaged, message)
        })
    }

    /// Where a reader stands who has read all files, or more of the log than is in them.
    async fn waits_at(&self, position: Position) -> Result<Mark, Fault> {
        let mark = self.log.mark(position).await?;
        mark.ok_or_else(|| {
            let message = format!("position {position} lies beyond the head of the log that is exported");
            Fault::permanent(Code::LogDiffers, message)
        })
    }
}

impl Feed for ExportFeed {
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        Box::pin(async move {
            if after >= *self.head.borrow() {
                self.look().await?;
            }
            let (facts, through) = self.read_files(after, categories, positions_max).await?;
            let mark =
                if through > after { self.marked(through).await? } else { self.waits_at(after).await? };
            let head = *self.head.borrow();
            Ok(Block { after, through: mark, facts, head: head.max(through) })
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        Box::pin(async move {
            let chain = self.look().await?;
            self.marked(chain.last().map_or(Position::START, |file| file.through())).await
        })
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        Box::pin(async move {
            if position > self.head().await?.position() {
                return Ok(None);
            }
            self.log.mark(position).await
        })
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move {
            let head = self.head().await?.position();
            let facts = self.log.stream(stream, after, events_max).await?;
            Ok(facts.into_iter().take_while(|fact| fact.position <= head).collect())
        })
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
