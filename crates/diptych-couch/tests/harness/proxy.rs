//! What stands between a store and its server: passes requests on, counts them and the documents that come
//! back, and does something at one of them. Changes nothing that it passes on.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::VecDeque;
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
    /// It arrives when what is done is over, and so do all later ones.
    Late,
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
    /// How many documents of rows the server has sent since it was armed.
    documents: usize,
    /// What is answered in place of the server, as it goes over the wire.
    answers: VecDeque<&'static str>,
}

/// How the name of a row's document begins where the document itself is sent.
const OF_A_ROW: &[u8] = b"\"_id\":\"t";

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
            documents: 0,
            answers: VecDeque::new(),
        };
        let state = Arc::new(Mutex::new(idle));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || pass(&client, server, state));
            }
        });
        Self { port, state }
    }

    /// Where it is, with a prefix for databases.
    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("http://127.0.0.1:{}/{prefix}", self.port)
    }

    /// Has something done at the nth request from now on.
    pub(crate) fn arm(&self, nth: usize, at: AtRequest, action: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        let action = Some(Box::new(action) as Action);
        let answers = VecDeque::new();
        *state = State { requests: Vec::new(), nth, at, action, done: false, documents: 0, answers };
    }

    /// Answers requests from the nth one on in place of the server, which never hears of them; everything
    /// after them is passed on. Each answer ends its connection.
    pub(crate) fn answer(&self, nth: usize, answers: impl IntoIterator<Item = &'static str>) {
        self.disarm();
        let mut state = self.lock();
        (state.nth, state.action) = (nth, None);
        state.answers = answers.into_iter().collect();
    }

    /// Has everything passed on from now on, and counts anew.
    pub(crate) fn disarm(&self) {
        self.arm(usize::MAX, AtRequest::Withheld, || {});
    }

    /// How many documents of rows the server has sent since it was armed.
    pub(crate) fn documents(&self) -> usize {
        self.lock().documents
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
fn pass(client: &TcpStream, server: u16, state: Arc<Mutex<State>>) {
    let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { return };
    let (Ok(mut answers), Ok(mut back)) = (upstream.try_clone(), client.try_clone()) else { return };
    let counted = Arc::clone(&state);
    std::thread::spawn(move || {
        // Either end may be gone.
        let _ = pass_back(&mut answers, &mut back, &counted);
        let _ = back.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (client, &upstream);
    while let Some(request) = request(&mut from) {
        let mut held = state.lock().expect("nobody panics under the lock");
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        held.requests.push(String::from_utf8_lossy(line).into_owned());
        let reached = held.requests.len() >= held.nth;
        if reached && let Some(answer) = held.answers.pop_front() {
            if held.answers.is_empty() {
                (held.nth, held.done) = (usize::MAX, true);
            }
            drop(held);
            let _ = (&mut &*client).write_all(answer.as_bytes());
            break;
        }
        let (at, action) = (held.at, if reached { held.action.take() } else { None });
        if at == AtRequest::Late {
            // What is done may ask through here, too.
            drop(held);
            action.into_iter().for_each(|action| action());
            state.lock().expect("nobody panics under the lock").done |= reached;
            if to.write_all(&request).is_err() {
                break;
            }
            continue;
        }
        if let Some(action) = action {
            if at == AtRequest::Delivered {
                let _ = to.write_all(&request);
            }
            action();
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

/// Passes answers back and counts the documents in them.
fn pass_back(from: &mut impl Read, to: &mut impl Write, state: &Mutex<State>) -> std::io::Result<()> {
    let (mut bytes, mut tail) = ([0; 1 << 14], Vec::new());
    loop {
        let length = from.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        // A name may begin in one piece and end in the next.
        tail.extend_from_slice(&bytes[..length]);
        let found = tail.windows(OF_A_ROW.len()).filter(|window| *window == OF_A_ROW).count();
        state.lock().expect("nobody panics under the lock").documents += found;
        tail.drain(..tail.len().saturating_sub(OF_A_ROW.len() - 1));
        to.write_all(&bytes[..length])?;
    }
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
