//! Wake-ups inside one process: which queued command has changed. Nothing depends on one: whoever waits looks
//! for itself once in a while.

use super::CommandRef;
use std::future::pending;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many changes are kept for whoever is slow to hear; who missed some looks at everything.
const CHANGES_MAX: usize = 1_024;

/// Tells changes of the queue to whoever waits. A store holds one.
#[derive(Debug)]
pub struct QueueSignal(broadcast::Sender<CommandRef>);

/// Hears the changes of the queue.
#[derive(Debug)]
pub struct QueueChanges(broadcast::Receiver<CommandRef>);

impl Default for QueueSignal {
    fn default() -> Self {
        Self(broadcast::Sender::new(CHANGES_MAX))
    }
}

impl QueueSignal {
    /// Tells that a command has changed.
    pub fn tell(&self, command: CommandRef) {
        // Nobody may be waiting.
        let _ = self.0.send(command);
    }

    /// Hears changes from now on.
    #[must_use]
    pub fn changes(&self) -> QueueChanges {
        QueueChanges(self.0.subscribe())
    }
}

impl QueueChanges {
    /// Waits for any change, and takes those that have come with it.
    pub async fn any(&mut self) {
        if let Err(RecvError::Closed) = self.0.recv().await {
            pending::<()>().await;
        }
        while !matches!(
            self.0.try_recv(),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
        ) {}
    }

    /// Waits for a change of one command, or for having missed some.
    pub async fn of(&mut self, command: &CommandRef) {
        loop {
            match self.0.recv().await {
                Ok(changed) if changed != *command => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => pending::<()>().await,
            }
        }
    }
}
