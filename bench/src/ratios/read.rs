//! Ratio 8: one row over HTTP against the same address that answers the same bytes without asking a store.

use super::say;
use crate::Outcome;
use crate::client::{Connection, rate};
use crate::measure::{Line, Sample, Target};
use crate::options::Options;
use crate::reference::http;
use crate::stores::Place;
use crate::workload::{Workload, account_key};
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use diptych::Running;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const CONNECTIONS: usize = 8;
const PATHS: usize = 20_000;

/// Headers that the server writes by itself.
const OWN_HEADERS: &[&str] = &["content-length", "date", "connection"];

/// Serves all three on ports of their own and asks them in turns.
pub(crate) async fn measure(options: &Options, place: &Place, running: &Running) -> Outcome<Vec<Line>> {
    let mut workload = Workload::new(options.rows, 12);
    let path = |account| format!("/account-summary/{}", account_key(account));
    let paths: Vec<String> = (0..PATHS).map(|_| path(workload.account())).collect();
    let (product, product_task) = serve(running.router()?).await?;
    let (reference, reference_task) = serve(http::with_query(place.path())?).await?;
    let (headers, body) = sample(product, paths[0].clone()).await?;
    let (reference_headers, reference_body) = sample(reference, paths[0].clone()).await?;
    let (plain, plain_task) = serve(http::without_query(headers, body)).await?;
    let constant = http::without_query(reference_headers, reference_body);
    let (reference_plain, reference_plain_task) = serve(constant).await?;
    let mut line =
        Line::new("8", "HTTP GET of a row / the same without a query", "requests/s", Target::AtLeast(0.6));
    for number in 0..options.runs {
        say(format!("8: reading over HTTP, run {} of {}", number + 1, options.runs));
        let baseline = ask(options, plain, &paths).await?;
        let with_query = ask(options, product, &paths).await?;
        let reference_plain = ask(options, reference_plain, &paths).await?;
        let reference_ratio = ask(options, reference, &paths).await? / reference_plain;
        line.samples.push(Sample::of(with_query, baseline).reference(reference_ratio));
    }
    for task in [product_task, reference_task, plain_task, reference_plain_task] {
        task.abort();
    }
    Ok(vec![line])
}

async fn serve(router: Router) -> Outcome<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((address, tokio::spawn(async move { axum::serve(listener, router).await })))
}

/// What the measured endpoint answers, to be answered again without a query.
async fn sample(address: SocketAddr, path: String) -> Outcome<(HeaderMap, Vec<u8>)> {
    let response = tokio::task::spawn_blocking(move || Connection::open(address)?.get(&path)).await??;
    if response.status != 200 {
        let body = String::from_utf8_lossy(&response.body);
        return Err(format!("the server answered {}: {body}", response.status).into());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(&name.as_str())) {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok((headers, response.body))
}

/// The clients have threads of their own; the servers share the runtime's.
async fn ask(options: &Options, address: SocketAddr, paths: &[String]) -> Outcome<f64> {
    let (paths, time) = (paths.to_vec(), options.slice);
    tokio::task::spawn_blocking(move || rate(address, &paths, CONNECTIONS, time)).await?
}
