//! HTTP/1.1 over one connection that is kept open: just what these tests send and what the service answers,
//! be it whole, in pieces (RFC 9112, section 7.1), or a stream of server-sent events.

use serde_json::Value;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection to a server, opened when it is first needed and again when it broke.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// Asks for a page, an answer in JSON is expected.
    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        self.send("GET", path, headers, None).await
    }

    /// Gives a command.
    pub(crate) async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Reply> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send("POST", path, headers, Some(&body)).await
    }

    /// Opens a stream of server-sent events on a connection of its own.
    pub(crate) async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> Result<Events> {
        let headers = [&[("accept", "text/event-stream")], headers].concat();
        let mut connection = BufReader::new(TcpStream::connect(self.address).await?);
        let request = self.request("GET", path, &headers, None);
        connection.get_mut().write_all(request.as_bytes()).await?;
        let head = head(&mut connection).await?;
        if head.status != 200 || head.header("content-type") != Some("text/event-stream") {
            return Err(broken(&format!("no stream of events: {head:?}")));
        }
        Ok(Events { connection, text: String::new() })
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Reply> {
        let request = self.request(method, path, headers, body);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(self.address).await?),
        };
        connection.get_mut().write_all(request.as_bytes()).await?;
        let reply = read(&mut connection).await?;
        // A connection whose exchange failed is never used again: it was taken out above.
        let closing = reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = Some(connection).filter(|_| !closing);
        Ok(reply)
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> String {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            if !body.is_empty() {
                request.push_str("content-type: application/json\r\n");
            }
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        request
    }
}

/// A stream of events that is open.
pub(crate) struct Events {
    connection: BufReader<TcpStream>,
    text: String,
}

/// One of its events.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Event {
    /// What it tells.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Events {
    /// The next event, whenever it comes.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let member = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                    lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                let event = Event { name: member("event:"), data: member("data:") };
                self.text = rest.to_owned();
                // Comments and what is for browsers are no events.
                if !event.name.is_empty() {
                    return Ok(event);
                }
            }
            let Some(piece) = piece(&mut self.connection).await? else {
                return Err(broken("the stream of events is at its end"));
            };
            self.text.push_str(&text(piece)?);
        }
    }
}

impl Reply {
    /// The value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(held, _)| held == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

async fn read(connection: &mut BufReader<TcpStream>) -> Result<Reply> {
    let mut reply = head(connection).await?;
    if matches!(reply.status, 204 | 304) {
        return Ok(reply);
    }
    let mut body = Vec::new();
    if reply.header("transfer-encoding") == Some("chunked") {
        while let Some(piece) = piece(connection).await? {
            body.extend(piece);
        }
        // What is said after the body counts as what is said before.
        reply.headers.extend(fields(connection).await?);
    } else {
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        body.resize(length.ok_or_else(|| broken("an answer without a length"))?, 0);
        connection.read_exact(&mut body).await?;
    }
    reply.text = text(body)?;
    Ok(reply)
}

/// The status and the headers.
async fn head(connection: &mut BufReader<TcpStream>) -> Result<Reply> {
    let start = line(connection).await?;
    let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken(&format!("`{start}` is no status line")))?;
    Ok(Reply { status, headers: fields(connection).await?, text: String::new() })
}

/// Headers or trailers, to the empty line after them.
async fn fields(connection: &mut BufReader<TcpStream>) -> Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(connection).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken(&format!("`{line}` is no header")))?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// A piece of a body that comes in pieces; none after the last.
async fn piece(connection: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let size = line(connection).await?;
    let digits = size.split(';').next().unwrap_or_default().trim();
    let length = usize::from_str_radix(digits, 16);
    let length = length.map_err(|_| broken(&format!("`{size}` is no length of a piece")))?;
    if length == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; length + 2];
    connection.read_exact(&mut piece).await?;
    piece.truncate(length);
    Ok(Some(piece))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| broken("a body that is not UTF-8"))
}

/// One line without its end; the end of the connection is an error.
async fn line(connection: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 || !line.ends_with("\r\n") {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended within an answer"));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}
