//! Questions to a server that speaks the CouchDB protocol: JSON over HTTP/1.1, each with a deadline. Knows no
//! read model and tries nothing twice.

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
            let message = format!("the document store at {} refuses who asks: status {status}", self.address);
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
        let text = body.map(Json::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, format!("{}:{}", self.address.host, self.address.port));
        request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.address.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(text))).map_err(|error| {
            Fault::permanent(Code::Internal, "a question to the document store is none").because(error)
        })?;
        let lost = |error| self.unavailable("does not answer").because(error);
        let mut connection = match self.waiting() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await.map_err(lost)?;
        let response = connection.send_request(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), self.bounds.answer_bytes_max).collect().await;
        let body = body.map_err(|error| self.unavailable("does not end its answer").because(error))?;
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
