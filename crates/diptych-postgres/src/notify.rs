//! Wake-ups between processes: one task that listens, tells, and looks for itself once in a while. Nothing
//! depends on a notification: one that is lost costs time, never a fact.

use crate::connection::{Connector, Talking, must_be_direct};
use crate::fault::OrFault;
use crate::log;
use crate::shared::{Shared, quoted};
use crate::writer::WriterHandle;
use diptych_core::{Fault, Position};
use std::future::{pending, poll_fn};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client};

/// Begins the name of the channel; the schema follows.
const CHANNEL: &str = "diptych_";
const SELECT_PROCESS: &str = "SELECT pg_backend_pid()";
const NOTIFY: &str = "SELECT pg_notify($1, '')";

/// The task that follows what other processes append; it ends when this is dropped.
pub(crate) struct Listener {
    task: AbortHandle,
}

/// A connection that listens, and through which this process tells the others.
struct Line {
    client: Client,
    heard: mpsc::Receiver<()>,
    talking: AbortHandle,
}

/// What the task was woken by.
enum Woken {
    /// Another process has appended, or may have.
    Foreign,
    /// This process has: the others are told.
    Own,
    /// Nobody listens any more.
    Down,
}

impl Listener {
    /// Starts the task. Without a way to listen it only looks.
    pub(crate) fn start(shared: Arc<Shared>, writer: Weak<WriterHandle>, listen: Option<Connector>) -> Self {
        let own = shared.appended.subscribe();
        let task = tokio::spawn(async move { follow(&shared, &writer, listen.as_ref(), own).await });
        Self { task: task.abort_handle() }
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Line {
    async fn open(connector: &Connector, channel: &str) -> Result<Self, Fault> {
        let (client, talking) = connector.open_talking().await?;
        // All wake-ups say the same, so that one that waits to be heard is enough.
        let (told, heard) = mpsc::channel(1);
        let own = Arc::new(std::sync::atomic::AtomicI32::new(0));
        let task = tokio::spawn(hear(talking, told, Arc::clone(&own)));
        let line = Self { client, heard, talking: task.abort_handle() };
        let process = line.client.query_typed_one(SELECT_PROCESS, &[]).await.or_fault()?;
        must_be_direct(&line.client).await?;
        own.store(process.try_get(0).or_fault()?, std::sync::atomic::Ordering::Relaxed);
        line.client.batch_execute(&format!("LISTEN {}", quoted(channel))).await.or_fault()?;
        Ok(line)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.talking.abort();
    }
}

/// Passes on that another process has told something.
async fn hear(mut talking: Box<dyn Talking>, told: mpsc::Sender<()>, own: Arc<std::sync::atomic::AtomicI32>) {
    while let Some(said) = poll_fn(|context| talking.poll_said(context)).await {
        match said {
            Ok(AsyncMessage::Notification(notification)) => {
                if notification.process_id() != own.load(std::sync::atomic::Ordering::Relaxed) {
                    // One that waits already says the same.
                    let _ = told.try_send(());
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the connection that listens has ended");
                return;
            }
        }
    }
}

async fn follow(
    shared: &Shared,
    writer: &Weak<WriterHandle>,
    listen: Option<&Connector>,
    mut own: watch::Receiver<Position>,
) {
    let channel = format!("{CHANNEL}{}", shared.schema.name());
    let mut line: Option<Line> = None;
    // Said once for each time that it ends, not ten times a second until it is back.
    let mut deaf = false;
    loop {
        if let (Some(connector), None) = (listen, &line) {
            match Line::open(connector, &channel).await {
                Ok(opened) => {
                    if std::mem::take(&mut deaf) {
                        tracing::info!("appends of other processes are listened for again");
                    }
                    line = Some(opened);
                }
                Err(error) if deaf => tracing::debug!(%error, "the database cannot be listened to"),
                Err(error) => {
                    deaf = true;
                    let every = shared.limits.foreign_poll;
                    tracing::warn!(%error, ?every, "the database cannot be listened to; looking instead");
                }
            }
            // What happened while nobody listened is looked for at once.
            look(shared, writer).await;
        }
        match woken(shared, line.as_mut(), &mut own).await {
            Woken::Foreign => look(shared, writer).await,
            Woken::Own => {
                if let Some(line) = &line
                    && let Err(error) = tell(&line.client, &channel).await
                {
                    tracing::debug!(%error, "could not tell other processes");
                }
                // Appends come in quick succession: one wake-up serves those of a moment.
                rest(shared.limits.notify_interval).await;
            }
            Woken::Down => line = None,
        }
    }
}

async fn woken(shared: &Shared, line: Option<&mut Line>, own: &mut watch::Receiver<Position>) -> Woken {
    let Some(line) = line else {
        rest(shared.limits.foreign_poll).await;
        return Woken::Foreign;
    };
    let first = async {
        tokio::select! {
            heard = line.heard.recv() => if heard.is_some() { Woken::Foreign } else { Woken::Down },
            // The sender lives as long as the store.
            _ = own.changed() => Woken::Own,
        }
    };
    timeout(shared.limits.foreign_check, first).await.unwrap_or(Woken::Foreign)
}

/// Looks whether the head has moved without this process, and if so brings everything here along.
async fn look(shared: &Shared, writer: &Weak<WriterHandle>) {
    if let Err(error) = follow_head(shared, writer).await {
        tracing::debug!(%error, "could not look for foreign appends");
    }
}

async fn follow_head(shared: &Shared, writer: &Weak<WriterHandle>) -> Result<(), Fault> {
    let head = log::head(&*shared.reader().await?, shared).await?;
    if head.position() <= *shared.head.borrow() {
        return Ok(());
    }
    match writer.upgrade().filter(|writer| writer.folds_inline()) {
        Some(writer) => writer.refresh().await,
        None => {
            shared.see_head(head);
            Ok(())
        }
    }
}

async fn tell(client: &Client, channel: &str) -> Result<(), Fault> {
    client.execute_typed(NOTIFY, &[(&channel, Type::TEXT)]).await.or_fault().map(drop)
}

async fn rest(duration: Duration) {
    // Nothing can end it but the time.
    let _ = timeout(duration, pending::<()>()).await;
}
