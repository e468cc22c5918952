//! HTTP/1.1 over one connection that is kept open: just what these tests send and what the service answers.

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

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Reply> {
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
    let start = line(connection).await?;
    let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken(&format!("`{start}` is no status line")))?;
    let mut headers = Vec::new();
    loop {
        let line = line(connection).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken(&format!("`{line}` is no header")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, text: String::new() };
    if matches!(status, 204 | 304) {
        return Ok(reply);
    }
    let length = reply.header("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or_else(|| broken("an answer without a length"))?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    reply.text = String::from_utf8(body).map_err(|_| broken("a body that is not UTF-8"))?;
    Ok(reply)
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
