//! `GET /exports/{model}`: every row that fits and that the caller may carry away, all of one moment, as they
//! come, as NDJSON or as CSV. What it holds is said before, how much it was and its checksum after: an export
//! that breaks has no end, and cannot be taken for a whole one.

use crate::app::{Framed, framed};
use crate::export_text::{Format, end, head, lineage, rows as rows_text};
use crate::json::typed;
use crate::model::{Endpoint, ask_of, freshness_headers, pairs};
use crate::problem::Problem;
use crate::rows::withheld;
use crate::sse::stopped;
use crate::{announced, error, headers};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_core::Code;
use diptych_query::{Answer, Freshness, QueryError, RowStream};
use http_body::Frame;
use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// How many pieces of an export wait for a client that takes them slowly.
const PIECES_AHEAD: usize = 2;

const EXPORT_MODEL: HeaderName = HeaderName::from_static("export-model");
const EXPORT_REVISION: HeaderName = HeaderName::from_static("export-revision");
const EXPORT_GENERATION: HeaderName = HeaderName::from_static("export-generation");
const EXPORT_SCHEMA: HeaderName = HeaderName::from_static("export-schema");
const EXPORT_AS_OF: HeaderName = HeaderName::from_static("export-as-of");
const EXPORT_POLICY: HeaderName = HeaderName::from_static("export-policy");
const EXPORT_ROWS: HeaderName = HeaderName::from_static("export-rows");
const EXPORT_CHECKSUM: HeaderName = HeaderName::from_static("export-checksum");

/// The export could not be finished: the connection is broken, so that nobody takes it for whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an export could not be finished ({})", Code::ExportCut)
    }
}

impl std::error::Error for Broken {}

type Piece = Result<Frame<Bytes>, Broken>;

/// The body of an export.
struct Pieces(mpsc::Receiver<Piece>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(context)
    }
}

/// An export of one model.
pub(crate) async fn read(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (Endpoint { app, group, .. }, framed) = (&*endpoint, framed(&request));
    announced::told(app, group, &framed.prefix, answer(&endpoint, &framed, request)).await
}

async fn answer(endpoint: &Endpoint, framed: &Framed, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let Endpoint { app, schema, latency, .. } = endpoint;
    let principal = framed.principal()?;
    let mut asked = pairs(request.uri())?;
    let format = format(&mut asked, request.headers())?;
    let ask = ask_of(app, framed, schema, &asked, request.headers())?;
    let answer = app.wire.queries.export(&principal, schema.name, &ask).await;
    latency.observe(started.elapsed());
    let Answer { value: stream, freshness, .. } = answer.map_err(error::of_query)?;
    let mut response_headers = HeaderMap::new();
    mark(&mut response_headers, &stream, &freshness, format);
    if let Some(applied) = ask.wait.and_then(headers::wait_applied) {
        response_headers.insert(headers::PREFERENCE_APPLIED, applied);
    }
    let (pieces, body) = mpsc::channel(PIECES_AHEAD);
    let pump = Pump { stream, format, pieces, stopping: app.wire.stopping.clone() };
    tokio::spawn(pump.run(lineage(&app.wire.service, schema, &freshness)));
    let mut response = typed(StatusCode::OK, format.media_type(), Body::new(Pieces(body)));
    response.headers_mut().extend(response_headers);
    Ok(response)
}

/// Which form is asked for: `format` says it, or else `Accept`, or else it is NDJSON.
fn format(asked: &mut Vec<(String, String)>, headers: &HeaderMap) -> Result<Format, Problem> {
    let named = asked.iter().find(|(name, _)| name == "format").map(|(_, text)| text.clone());
    asked.retain(|(name, _)| name != "format");
    match named.as_deref() {
        Some("ndjson") => Ok(Format::Ndjson),
        Some("csv") => Ok(Format::Csv),
        Some(_) => {
            let (name, reason) = ("format".to_owned(), "must be one of: ndjson, csv".to_owned());
            Err(error::of_query(QueryError::Parameter { name, reason }))
        }
        None => {
            let lines = headers.get_all(header::ACCEPT);
            let mut types =
                lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
            let is_csv = |kind: &str| kind.split(';').next().unwrap_or_default().trim() == "text/csv";
            Ok(if types.any(is_csv) { Format::Csv } else { Format::Ndjson })
        }
    }
}

/// The lineage as headers, which both forms have: CSV has no other place for it.
fn mark(headers: &mut HeaderMap, stream: &RowStream, freshness: &Freshness, format: Format) {
    headers.extend(freshness_headers(freshness));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Accept"));
    let name = format!("attachment; filename=\"{}.{}\"", stream.schema.segment(), format.extension());
    let texts = [
        (header::CONTENT_DISPOSITION, Some(name)),
        (EXPORT_MODEL, Some(stream.schema.name.to_owned())),
        (EXPORT_REVISION, Some(stream.build.revision.to_string())),
        (EXPORT_GENERATION, Some(stream.build.generation.to_string())),
        (EXPORT_SCHEMA, Some(stream.schema.shape())),
        (EXPORT_AS_OF, freshness.as_of.map(|time| time.to_string())),
        (EXPORT_POLICY, stream.policy.as_ref().map(|policy| policy.0.to_string())),
        (header::TRAILER, (format == Format::Csv).then(|| "Export-Rows, Export-Checksum".to_owned())),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| crate::headers::value(&text)) {
            headers.insert(name, value);
        }
    }
}

/// Carries rows from the store to the client.
struct Pump {
    stream: RowStream,
    format: Format,
    pieces: mpsc::Sender<Piece>,
    stopping: watch::Receiver<bool>,
}

impl Pump {
    async fn run(mut self, lineage: crate::json::Object) {
        let mut masked = BTreeSet::new();
        let first = head(self.format, &self.stream, lineage);
        if self.send(Ok(Frame::data(first.into()))).await.is_err() {
            return;
        }
        loop {
            let next = tokio::select! {
                next = self.stream.next() => Some(next),
                () = self.pieces.closed() => return,
                () = stopped(&mut self.stopping) => None,
            };
            let Some(next) = next else {
                self.break_off("the service stops").await;
                return;
            };
            match next {
                Ok(Some(rows)) => {
                    masked.extend(withheld(self.stream.schema, &rows));
                    let text = rows_text(self.format, self.stream.schema, &rows);
                    if self.send(Ok(Frame::data(text.into()))).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.break_off(&error.to_string()).await;
                    return;
                }
            }
        }
        self.finish(&masked.into_iter().collect::<Vec<_>>()).await;
    }

    async fn finish(&mut self, masked: &[&'static str]) {
        let Some(totals) = self.stream.totals().cloned() else { return };
        let last = match self.format {
            Format::Ndjson => Frame::data(end(&totals, masked).into()),
            Format::Csv => {
                let mut trailers = HeaderMap::new();
                trailers.insert(EXPORT_ROWS, HeaderValue::from(totals.rows));
                if let Some(checksum) = crate::headers::value(&format!("blake3:{}", totals.checksum)) {
                    trailers.insert(EXPORT_CHECKSUM, checksum);
                }
                Frame::trailers(trailers)
            }
        };
        // A client that has gone needs no end.
        let _ = self.send(Ok(last)).await;
    }

    async fn send(&self, piece: Piece) -> Result<(), mpsc::error::SendError<Piece>> {
        self.pieces.send(piece).await
    }

    async fn break_off(&self, reason: &str) {
        let (code, model) = (Code::ExportCut, self.stream.schema.name);
        tracing::error!(code = code.as_str(), model, "an export could not be finished: {reason}");
        // A client that has gone knows that it has no end.
        let _ = self.send(Err(Broken)).await;
    }
}
