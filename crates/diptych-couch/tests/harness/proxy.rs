//! What stands between a store and its server: passes requests on, counts them, and does something at one of
//! them. Changes nothing that it passes on.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What is done with the request that was waited for, and with all later ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtRequest {
    /// It never arrives.
    Withheld,
    /// It arrives, and nobody waits for the answer.
    Delivered,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

type Action = Box<dyn FnOnce() + Send>;

struct State {
    /// Method and path of every request since it was armed.
    requests: Vec<String>,
    /// At which of them something is done.
    nth: usize,
    at: AtRequest,
    action: Option<Action>,
    done: bool,
}

impl Proxy {
    /// A proxy before a port of this machine.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let idle = State {
            requests: Vec::new(),
            nth: usize::MAX,
            at: AtRequest::Withheld,
            action: None,
            done: false,
        };
        let state = Arc::new(Mutex::new(idle));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || pass(&client, server, &state));
            }
        });
        Self { port, state }
    }

    /// Where it is, with a prefix for databases.
    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("http://127.0.0.1:{}/{prefix}", self.port)
    }

    /// Has something done at the nth request from now on; nothing is passed on after it.
    pub(crate) fn arm(&self, nth: usize, at: AtRequest, action: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        *state = State { requests: Vec::new(), nth, at, action: Some(Box::new(action)), done: false };
    }

    /// The requests since it was armed.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Whether what it was armed with was done.
    pub(crate) fn is_done(&self) -> bool {
        self.lock().done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics under the lock")
    }
}

/// Passes one connection on until either side ends it.
fn pass(client: &TcpStream, server: u16, state: &Mutex<State>) {
    let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { return };
    let (Ok(mut answers), Ok(mut back)) = (upstream.try_clone(), client.try_clone()) else { return };
    std::thread::spawn(move || {
        // Either end may be gone.
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (client, &upstream);
    while let Some(request) = request(&mut from) {
        let mut held = state.lock().expect("nobody panics under the lock");
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        held.requests.push(String::from_utf8_lossy(line).into_owned());
        let reached = held.requests.len() >= held.nth;
        if reached && held.action.is_some() {
            if held.at == AtRequest::Delivered {
                let _ = to.write_all(&request);
            }
            held.action.take().into_iter().for_each(|action| action());
            held.done = true;
        }
        drop(held);
        if reached || to.write_all(&request).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
}

/// One whole request; none when the connection ends.
fn request(from: &mut impl Read) -> Option<Vec<u8>> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).ok()?;
        bytes.extend(byte);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    bytes.extend(body);
    Some(bytes)
}
