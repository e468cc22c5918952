//! Questions to a server that speaks the CouchDB protocol: JSON over HTTP/1.1, each with a deadline. Knows no
//! read model, and tries nothing twice but what met a connection that had ended while it waited.

use crate::Address;
use bytes::Bytes;
use diptych_core::{Code, Fault};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a connection may wait for its next question: servers end those that wait for longer, some after
/// five seconds.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// How many connections wait for a question at most.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// How the path ends of a question that is not one: it writes.
const WRITING: &str = "/_bulk_docs";

/// How far questions may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long an answer may take, from the connection on.
    pub(crate) request_wait_max: Duration,
    /// How large an answer may be.
    pub(crate) answer_bytes_max: usize,
}

/// A server, with the connections to it that wait.
pub(crate) struct Client {
    address: Address,
    bounds: Bounds,
    idle: Mutex<Vec<(Instant, SendRequest<Full<Bytes>>)>>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status of HTTP: below 500, and neither 401 nor 403.
    pub(crate) status: u16,
    /// What it says.
    pub(crate) body: Json,
}

/// A question without an answer.
struct Lost {
    fault: Fault,
    /// Whether any of it may have left.
    sent: bool,
}

impl Reply {
    /// Whether it is what was asked for.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Client {
    pub(crate) fn new(address: Address, bounds: Bounds) -> Self {
        Self { address, bounds, idle: Mutex::default() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.address.prefix
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// No answer in time, one that says that the server failed, or none of the protocol: all of it may pass.
    /// Who asks is refused: that stays.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Reply, Fault> {
        let asked = tokio::time::timeout(self.bounds.request_wait_max, self.exchange(method, path, body));
        let (status, bytes) = match asked.await {
            Ok(answered) => answered?,
            Err(_) => {
                let waited = self.bounds.request_wait_max.as_millis();
                return Err(self.unavailable(&format!("does not answer within {waited} ms")));
            }
        };
        if status == 401 || status == 403 {
            let message = format!(
                "the document store at {} refuses who asks (status {status}): mend the name and password in \
                 its address, or what they may do there",
                self.address
            );
            return Err(Fault::permanent(Code::DocumentsUnavailable, message));
        }
        if status >= 500 {
            return Err(self.unavailable(&format!("failed: status {status}")));
        }
        let garbage = |error| self.unavailable("answers with something that is no JSON").because(error);
        Ok(Reply { status, body: serde_json::from_slice(&bytes).map_err(garbage)? })
    }

    /// The fault of an answer that is not of the protocol.
    pub(crate) fn unexpected(&self, what: &str, reply: &Reply) -> Fault {
        let reason = ["error", "reason"].map(|name| reply.body[name].as_str().unwrap_or("-"));
        let [error, reason] = reason;
        self.unavailable(&format!("answers {what} with status {}: {error}, {reason}", reply.status))
    }

    fn unavailable(&self, what: &str) -> Fault {
        Fault::transient(Code::DocumentsUnavailable, format!("the document store at {} {what}", self.address))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Json>) -> Result<(u16, Bytes), Fault> {
        let only_asks = method == Method::GET || (method == Method::POST && !path.ends_with(WRITING));
        let text = Bytes::from(body.map(Json::to_string).unwrap_or_default());
        let request = || self.request(&method, path, text.clone());
        if let Some(connection) = self.waiting() {
            match self.send(connection, request()?).await {
                // It was ended while it waited. What only asks, or never left, may be sent once more.
                Err(Lost { sent, .. }) if only_asks || !sent => {}
                sent => return sent.map_err(|lost| lost.fault),
            }
        }
        let connection = self.connect().await?;
        self.send(connection, request()?).await.map_err(|lost| lost.fault)
    }

    fn request(&self, method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Fault> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, format!("{}:{}", self.address.host, self.address.port));
        request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.address.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| {
            Fault::permanent(Code::Internal, "a question to the document store is none").because(error)
        })
    }

    async fn send(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, Bytes), Lost> {
        let lost = |error, sent| Lost { fault: self.unavailable("does not answer").because(error), sent };
        connection.ready().await.map_err(|error| lost(error, false))?;
        let response = connection.try_send_request(request).await.map_err(|failed| {
            let sent = failed.message().is_none();
            lost(failed.into_error(), sent)
        })?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), self.bounds.answer_bytes_max).collect().await;
        let body = body.map_err(|error| {
            let fault = self.unavailable("does not end its answer").because(error);
            Lost { fault, sent: true }
        })?;
        self.keep(connection);
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let place = (self.address.host.as_str(), self.address.port);
        let refused = |error| self.unavailable("does not answer").because(error);
        let stream = TcpStream::connect(place).await.map_err(refused)?;
        // A question is one small write, which must not wait for the answer to the one before.
        stream.set_nodelay(true).map_err(refused)?;
        let failed = |error| self.unavailable("does not speak HTTP").because(error);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends with its sender; what goes wrong is told to whoever asks.
        drop(tokio::spawn(async move { drop(connection.await) }));
        Ok(sender)
    }

    fn waiting(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, connection)| since.elapsed() < IDLE_MAX && !connection.is_closed());
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push((Instant::now(), connection));
        }
    }
}
