//! A small HTTP/1.1 client for loopback: keep-alive, GET only, one thread for each connection.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// One answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: Vec::with_capacity(16_384) })
    }

    /// Asks and answers everything.
    pub(crate) fn get(&mut self, path: &str) -> Outcome<Response> {
        let (end, total) = self.exchange(request(path).as_bytes())?;
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let mut lines = head.split("\r\n");
        let status = status(lines.next().unwrap_or_default())?;
        let pairs = lines.filter_map(|line| line.split_once(": "));
        let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Ok(Response { status, headers, body: self.buffer[end + 4..total].to_vec() })
    }

    /// Asks and looks at nothing but the status.
    fn ask(&mut self, request: &[u8]) -> Outcome<()> {
        let (end, _) = self.exchange(request)?;
        let line = self.buffer[..end].split(|byte| *byte == b'\r').next().unwrap_or_default();
        match status(std::str::from_utf8(line)?)? {
            200 => Ok(()),
            other => Err(format!("the server answered {other}").into()),
        }
    }

    /// Sends a request and reads its whole answer. Answers where its head ends and where all of it does.
    fn exchange(&mut self, request: &[u8]) -> Outcome<(usize, usize)> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut expected = None;
        let mut chunk = [0; 8_192];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&chunk[..count]);
            if expected.is_none()
                && let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")
            {
                expected = Some((end, end + 4 + content_length(&self.buffer[..end])?));
            }
            if let Some((end, total)) = expected
                && self.buffer.len() >= total
            {
                return Ok((end, total));
            }
        }
    }
}

/// Asks paths one after the other on several connections for a time. Answers requests per second.
pub(crate) fn rate(
    address: SocketAddr,
    paths: &[String],
    connections: usize,
    time: Duration,
) -> Outcome<f64> {
    let requests: Vec<String> = paths.iter().map(|path| request(path)).collect();
    std::thread::scope(|scope| {
        let started = Instant::now();
        let mut threads = Vec::new();
        for number in 0..connections {
            let requests = &requests;
            threads.push(scope.spawn(move || {
                let mut connection = Connection::open(address)?;
                let mut asked = 0_u64;
                let mine = requests.iter().skip(number * requests.len() / connections);
                for request in mine.chain(requests.iter().cycle()) {
                    if started.elapsed() >= time {
                        break;
                    }
                    connection.ask(request.as_bytes())?;
                    asked += 1;
                }
                Outcome::Ok(asked)
            }));
        }
        let mut asked = 0;
        for thread in threads {
            asked += thread.join().map_err(|_| "a client panicked")??;
        }
        Outcome::Ok(asked as f64 / started.elapsed().as_secs_f64())
    })
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
}

fn status(line: &str) -> Outcome<u16> {
    let code = line.split(' ').nth(1).ok_or("the server's answer has no status")?;
    Ok(code.parse()?)
}

fn content_length(head: &[u8]) -> Outcome<usize> {
    for line in std::str::from_utf8(head)?.split("\r\n") {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(value.trim().parse()?);
        }
    }
    Err("the server's answer has no length".into())
}
