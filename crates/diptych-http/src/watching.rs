//! `Accept: text/event-stream` at `GET /{model}` and `GET /{model}/{key...}`: first what is there, then
//! what changes of it. A stream is woken when its model moves and asks again, under the policies as they
//! are then; it sends what looks different from what it sent, and nothing else.
//!
//! An event's id is the position's token and, after a `-`, a fingerprint of what was shown: a client that
//! comes again with it in `Last-Event-ID` is sent nothing that it has.

use crate::answers::{self, Given, PageAnswer, RowAnswer, key_of};
use crate::app::{App, Framed};
use crate::json::{Node, Object};
use crate::problem::Problem;
use crate::rows::{Item, withheld};
use crate::sse::{self, Closed, Outlet, Woken};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::QueueChanges;
use diptych_core::{Code, Principal, Token};
use diptych_query::{Ask, Freshness, Health, Moves, Schema};
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two looks of one stream at its model.
const PAUSE: Duration = Duration::from_millis(100);

/// What separates the token in an event's id from the fingerprint of what was shown.
const SEPARATOR: char = '-';

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 8;

/// What is followed.
pub(crate) enum Subject {
    /// A page.
    Page,
    /// The row of a key, by the segments of its address.
    Row(Vec<String>),
}

/// A stream under way.
struct Stream {
    app: Arc<App>,
    principal: Principal,
    schema: &'static Schema,
    prefix: String,
    /// The address that was asked, for problems.
    instance: String,
    subject: Subject,
    ask: Ask,
    outlet: Outlet,
    moves: Moves,
    /// The changes of commands that wait, where the model tells of them.
    queue: Option<QueueChanges>,
    shown: Shown,
}

/// What the client has.
#[derive(Default)]
struct Shown {
    /// The fingerprint of each row, by its key.
    rows: BTreeMap<String, [u8; FINGERPRINT_BYTES]>,
    /// The fingerprint of everything; none where nothing is known of what the client has.
    whole: Option<String>,
}

/// What there is now, to be held against what the client has.
struct Now {
    freshness: Freshness,
    health: Health,
    /// The whole answer.
    text: String,
    /// The rows in their order: key, fingerprint, text.
    rows: Vec<(String, [u8; FINGERPRINT_BYTES], Node)>,
    /// What else changes: what is under way, what is withheld, where the next page begins.
    besides: Object,
    /// Whether there is anything: a row may be missing.
    is_there: bool,
    whole: String,
}

/// Follows a page or a row.
pub(crate) async fn follow(
    app: &Arc<App>,
    framed: &Framed,
    schema: &'static Schema,
    (subject, mut ask): (Subject, Ask),
    (instance, last): (String, Option<String>),
) -> Result<Response, Problem> {
    let principal = framed.principal()?;
    let queries = &app.wire.queries;
    // Before the first look, so that no change falls between.
    let moves = queries.watch(&principal, schema.name).map_err(crate::error::of_query)?;
    let queue = if schema.pending { app.wire.commands.queue_changes() } else { None };
    let last = last.as_deref().and_then(read_id);
    let mut epoch_changed = None;
    if let Some((token, _)) = &last {
        match queries.is_of_this_log(*token).await.map_err(crate::error::of_query)? {
            // Nobody is shown what is older than what he has seen.
            true => ask.at_least = ask.at_least.or(Some(*token)),
            false => epoch_changed = Some(*token),
        }
    }
    ask.wait = ask.wait.or(Some(queries.limits().query_max));
    let whole = last.filter(|_| epoch_changed.is_none()).map(|(_, fingerprint)| fingerprint);
    let first = now(app, &principal, schema, &subject, &ask).await?;
    let (outlet, response) = sse::open(app, framed)?;
    let (app, prefix) = (Arc::clone(app), framed.prefix.clone());
    // What was waited for has been waited for.
    (ask.at_least, ask.wait) = (None, None);
    let shown = Shown { rows: BTreeMap::new(), whole };
    let stream =
        Stream { app, principal, schema, prefix, instance, subject, ask, outlet, moves, queue, shown };
    tokio::spawn(stream.run(first, epoch_changed));
    Ok(response)
}

impl Stream {
    async fn run(mut self, first: Now, epoch_changed: Option<Token>) -> Result<(), Closed> {
        if let Some(token) = epoch_changed {
            let told = Object::new().with("token", token.to_string());
            let told = told.with("code", Code::EpochChanged.as_str());
            self.outlet.send(None, "epoch-changed", &told.to_text()).await?;
        }
        self.begin(first).await?;
        loop {
            match self.rest().await? {
                Woken::Changed => self.outlet.pause(PAUSE).await?,
                // Whoever moves the model may be another one than before.
                Woken::Silence => {
                    let moves = self.app.wire.queries.watch(&self.principal, self.schema.name);
                    if let Ok(moves) = moves {
                        self.moves = moves;
                    }
                    self.outlet.beat().await?;
                }
            }
            match now(&self.app, &self.principal, self.schema, &self.subject, &self.ask).await {
                Ok(now) => self.tell(now).await?,
                Err(problem) => {
                    if let Some(line) = problem.log_line() {
                        tracing::error!(code = problem.code().as_str(), path = self.instance, "{line}");
                    }
                    let passes = problem.status() == StatusCode::SERVICE_UNAVAILABLE;
                    let document = problem.document(&self.instance, &self.prefix);
                    self.outlet.send(None, "problem", &document).await?;
                    if !passes {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn rest(&mut self) -> Result<Woken, Closed> {
        let (moves, queue) = (&mut self.moves, &mut self.queue);
        let woken = async {
            let queue = async {
                match queue {
                    Some(queue) => queue.any().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = moves.changed() => {}
                () = queue => {}
            }
        };
        self.outlet.rest(woken).await
    }

    /// Tells everything, unless the client has it from an earlier stream.
    async fn begin(&mut self, now: Now) -> Result<(), Closed> {
        let held = self.shown.whole.as_ref() == Some(&now.whole);
        if !held {
            let event = if now.is_there { "snapshot" } else { "gone" };
            self.outlet.send(Some(&now.id()), event, &now.text).await?;
        }
        self.shown.take(now);
        Ok(())
    }

    /// Tells what is different from what was told.
    async fn tell(&mut self, mut now: Now) -> Result<(), Closed> {
        if self.shown.whole.as_ref() == Some(&now.whole) {
            return Ok(());
        }
        let id = now.id();
        match &self.subject {
            Subject::Row(_) => {
                let event = if now.is_there { "changed" } else { "gone" };
                self.outlet.send(Some(&id), event, &now.text).await?;
            }
            Subject::Page => {
                let document = self.shown.difference(&mut now);
                self.outlet.send(Some(&id), "changed", &document).await?;
            }
        }
        self.shown.take(now);
        Ok(())
    }
}

impl Now {
    fn id(&self) -> String {
        format!("{}{SEPARATOR}{}", self.freshness.token, self.whole)
    }
}

impl Shown {
    fn take(&mut self, now: Now) {
        self.rows = now.rows.into_iter().map(|(key, fingerprint, _)| (key, fingerprint)).collect();
        self.whole = Some(now.whole);
    }

    /// The rows that are new or other than before, the keys that are gone, and the keys in their order.
    fn difference(&self, now: &mut Now) -> String {
        let besides = std::mem::take(&mut now.besides);
        let is_new = |(key, fingerprint, _): &&(String, [u8; FINGERPRINT_BYTES], Node)| {
            self.rows.get(key) != Some(fingerprint)
        };
        let items: Vec<&Node> = now.rows.iter().filter(is_new).map(|(_, _, row)| row).collect();
        let is_gone = |key: &&String| !now.rows.iter().any(|(held, _, _)| held == *key);
        let gone: Vec<_> = self.rows.keys().filter(is_gone).map(|key| Node::verbatim(key)).collect();
        let order: Vec<_> = now.rows.iter().map(|(key, _, _)| Node::verbatim(key)).collect();
        Object::new()
            .with("items", Node::written(&items))
            .with("gone", Node::List(gone))
            .with("keys", Node::List(order))
            .with_all(besides)
            .with("freshness", Node::written(&now.freshness))
            .with("health", Node::of(&now.health))
            .to_text()
    }
}

/// What there is now.
async fn now(
    app: &App,
    principal: &Principal,
    schema: &'static Schema,
    subject: &Subject,
    ask: &Ask,
) -> Result<Now, Problem> {
    let held = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "an answer without a body");
    match subject {
        Subject::Page => match answers::page(app, principal, schema, ask, &[]).await? {
            Given::Fresh(answer, _) => Ok(of_page(answer)),
            Given::Held(..) => Err(held()),
        },
        Subject::Row(key) => {
            let segments: Vec<_> = key.iter().map(String::as_str).collect();
            match answers::row(app, principal, schema, (&segments, ask), &[]).await? {
                Given::Fresh(answer, _) => Ok(of_row(&answer)),
                Given::Held(..) => Err(held()),
            }
        }
    }
}

fn of_page(answer: PageAnswer) -> Now {
    let text = String::from_utf8_lossy(&answer.text()).into_owned();
    let PageAnswer { page, pending, freshness, health } = answer;
    let schema = page.schema;
    let rows = page.rows.iter().map(|row| {
        let columns = schema.key.iter().filter_map(|column| schema.columns.get(*column));
        let key = columns.zip(key_of(schema, row));
        let key = key.fold(Object::new(), |key, (column, value)| key.with(column.public, value.to_json()));
        let shown = Node::written(&Item { schema, row });
        (key.to_text(), fingerprint(&shown), shown)
    });
    let rows: Vec<_> = rows.collect();
    let masked: Vec<_> = withheld(schema, &page.rows).into_iter().map(str::to_owned).collect();
    let besides = Object::new()
        .with_some("pending", pending.as_ref().map(Node::written))
        .with("withheld", masked)
        .with("page", Object::new().with("nextPageToken", page.next_page_token.as_deref()));
    let mut hasher = blake(&health);
    rows.iter().for_each(|(key, fingerprint, _)| {
        hasher.update(key.as_bytes());
        hasher.update(fingerprint);
    });
    hasher.update(besides.to_text().as_bytes());
    let whole = hex(&hasher);
    Now { freshness, health, text, rows, besides, is_there: true, whole }
}

fn of_row(answer: &RowAnswer) -> Now {
    let text = answer.event();
    let RowAnswer { schema, row, pending, freshness, health } = answer;
    let mut hasher = blake(health);
    if let Some(row) = row {
        hasher.update(&fingerprint(&Node::written(&Item { schema, row })));
    }
    let pending = Object::new().with_some("pending", pending.as_ref().map(Node::written));
    hasher.update(pending.to_text().as_bytes());
    let (freshness, health) = (freshness.clone(), health.clone());
    let (rows, whole, is_there) = (Vec::new(), hex(&hasher), row.is_some());
    Now { freshness, health, text, rows, besides: Object::new(), is_there, whole }
}

fn blake(health: &Health) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{health:?}").as_bytes());
    hasher
}

fn hex(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..2 * FINGERPRINT_BYTES].to_owned()
}

fn fingerprint(node: &Node) -> [u8; FINGERPRINT_BYTES] {
    let text = Object::new().with("row", Node::written(node)).to_text();
    let mut bytes = [0; FINGERPRINT_BYTES];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..FINGERPRINT_BYTES]);
    bytes
}

/// The token and the fingerprint of an event's id; none where it is not one of ours.
fn read_id(id: &str) -> Option<(Token, String)> {
    let (token, fingerprint) = id.rsplit_once(SEPARATOR)?;
    Some((token.parse().ok()?, fingerprint.to_owned()))
}
