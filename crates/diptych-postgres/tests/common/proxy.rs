//! A proxy between a store and its server that reads along, and breaks the connection at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to the next commit that comes by, or to every connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The connection breaks before the server hears of it.
    BeforeCommit,
    /// The connection breaks after the server has answered, and before the client hears of it.
    AfterCommit,
    /// The client freezes before it commits: the connection stays.
    Freeze,
    /// Nothing breaks, but what the client sets at the beginning of a connection stays here, as with poolers
    /// that are told to ignore it.
    KeepSettings,
}

/// A way to the server that breaks when it is told.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    armed: AtomicBool,
    how: Break,
    broken: AtomicUsize,
    thawed: Notify,
}

impl Proxy {
    /// Starts a proxy before the server of a URL; answers it with the URL that leads through it.
    pub async fn before(url: &str, how: Break) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (user, rest) = url.rsplit_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let through = format!("{user}@127.0.0.1:{port}/{database}");
        let shared = Arc::new(Shared {
            armed: AtomicBool::new(false),
            how,
            broken: AtomicUsize::new(0),
            thawed: Notify::new(),
        });
        let (own, server) = (Arc::clone(&shared), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(serve(client, server, Arc::clone(&own)));
            }
        });
        (Self { port, shared }, through)
    }

    /// The next commit is broken.
    pub fn arm(&self) {
        self.shared.armed.store(true, Ordering::SeqCst);
    }

    /// How many commits were broken.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// A frozen client goes on.
    pub fn thaw(&self) {
        self.shared.thawed.notify_waiters();
    }
}

async fn serve(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let committing = Arc::new(AtomicBool::new(false));
    let answers = tokio::spawn(answers(from_server, to_client, Arc::clone(&committing)));
    questions(from_client, to_server, &committing, &shared).await;
    answers.abort();
}

/// Passes on what the client says, message by message; the first one of a connection has no type.
async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    committing: &AtomicBool,
    shared: &Shared,
) -> Option<()> {
    let mut first = true;
    loop {
        let mut message = Vec::new();
        let begins = std::mem::take(&mut first);
        if !begins {
            message.push(from.read_u8().await.ok()?);
        }
        let length = from.read_u32().await.ok()?;
        message.extend_from_slice(&length.to_be_bytes());
        let start = message.len();
        message.resize(start + usize::try_from(length).unwrap() - 4, 0);
        from.read_exact(&mut message[start..]).await.ok()?;
        if begins && shared.how == Break::KeepSettings {
            hide(&mut message, b"-c diptych.reach=direct");
        }
        let commits = message.starts_with(b"Q") && message.ends_with(b"COMMIT\0");
        if commits && shared.armed.swap(false, Ordering::SeqCst) {
            shared.broken.fetch_add(1, Ordering::SeqCst);
            match shared.how {
                Break::BeforeCommit => return None,
                Break::AfterCommit => {
                    committing.store(true, Ordering::SeqCst);
                    to.write_all(&message).await.ok()?;
                    // Until the other half has met the answer, and the client is gone.
                    let mut rest = Vec::new();
                    from.read_to_end(&mut rest).await.ok()?;
                    return None;
                }
                Break::Freeze => shared.thawed.notified().await,
                Break::KeepSettings => {}
            }
        }
        to.write_all(&message).await.ok()?;
    }
}

/// Blanks a text out, which must be there.
fn hide(message: &mut [u8], text: &[u8]) {
    let found = message.windows(text.len()).position(|window| window == text).unwrap();
    message[found..found + text.len()].fill(b' ');
}

/// Passes on what the server says, but for the answer to a commit that is to be lost.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, committing: Arc<AtomicBool>) -> Option<()> {
    let mut bytes = vec![0; 64 * 1_024];
    loop {
        let count = from.read(&mut bytes).await.ok()?;
        if count == 0 || committing.load(Ordering::SeqCst) {
            return None;
        }
        to.write_all(&bytes[..count]).await.ok()?;
    }
}
