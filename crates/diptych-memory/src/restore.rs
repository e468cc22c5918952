//! Filling an empty store with a log that was recorded elsewhere.

use crate::MemoryStore;
use diptych_command::{LogRestore, RestoreSource};
use diptych_core::{BoxFuture, Code, Epoch, Fault, Position};

impl LogRestore for MemoryStore {
    fn restore(&self, epoch: Epoch, mut source: Box<dyn RestoreSource>) -> BoxFuture<'_, Result<u64, Fault>> {
        const BLOCK_EVENTS: usize = 1_000;
        Box::pin(async move {
            let mut held = self.lock();
            let ((events, commands), models) = (held.log.counts(), held.groups.len());
            if (events, commands, models) != (0, 0, 0) {
                let message = format!(
                    "the store holds {events} events, {commands} commands and {models} read models; only \
                     one that was never used is filled"
                );
                return Err(Fault::permanent(Code::StoreNotEmpty, message));
            }
            let mut all = Vec::new();
            loop {
                let block = source.next(BLOCK_EVENTS)?;
                if block.is_empty() {
                    break;
                }
                all.extend(block);
            }
            let count = all.len() as u64;
            held.log = held.log.filled(epoch, all);
            drop(held);
            self.head.send_replace(Position(count));
            Ok(count)
        })
    }
}
