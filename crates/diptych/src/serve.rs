//! Listening: on this machine only while callers do not prove who they are, and until a signal says stop.

use crate::Running;
use diptych_core::{Code, Fault};
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

impl Running {
    /// Serves on an address until `stop` completes, then lets open requests finish.
    ///
    /// # Errors
    /// An address that others can reach, one that cannot be listened on, or addresses that clash.
    pub async fn serve(
        &self,
        address: SocketAddr,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fault> {
        let listener = listen(address, self.authenticate().is_proof()).await?;
        self.serve_on(listener, stop).await
    }

    /// Serves on a listener until `stop` completes, then lets open requests finish, as long as a request
    /// may take: a caller that never sends the rest of its request must not hold up the end.
    ///
    /// # Errors
    /// Addresses that clash, or a failing listener.
    pub async fn serve_on(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fault> {
        let router = self.router()?;
        let (stopping, stopped) = oneshot::channel();
        let ending = self.stopping.clone();
        let stop = async move {
            stop.await;
            // Event streams are open for as long as they may be, and would hold up the end.
            ending.send_replace(true);
            // Nobody listens any more when the listener has failed.
            let _ = stopping.send(());
        };
        let grace = self.config.http.request_duration_max;
        let grace_over = async move {
            match stopped.await {
                Ok(()) => tokio::time::sleep(grace).await,
                Err(_) => std::future::pending().await,
            }
        };
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop).into_future();
        tokio::select! {
            served = serving => served
                .map_err(|error| Fault::transient(Code::CannotListen, "the listener failed").because(error)),
            () = grace_over => {
                tracing::warn!(?grace, "requests that were never finished are cut off");
                Ok(())
            }
        }
    }
}

/// Listens on an address: without proof of who calls, on one that only this machine can reach.
///
/// # Errors
/// [`Code::NotLoopback`] for any other, [`Code::CannotListen`] when it is taken.
pub(crate) async fn listen(address: SocketAddr, proven: bool) -> Result<TcpListener, Fault> {
    if !proven && !address.ip().is_loopback() {
        let message = format!(
            "`{address}` can be reached from other machines and callers of this service do not prove who \
             they are; name keys of tokens, such as `--jwks FILE`, or listen on 127.0.0.1 or [::1]"
        );
        return Err(Fault::permanent(Code::NotLoopback, message));
    }
    let cannot = |error| {
        let message = format!("cannot listen on `{address}`; choose another with `--listen`");
        Fault::permanent(Code::CannotListen, message).because(error)
    };
    TcpListener::bind(address).await.map_err(cannot)
}

/// Has the process be asked to stop instead of ended, by interrupt or by termination, from this call on; what
/// it answers completes once the process has been asked. Called before anybody is told that the process is
/// there, so that nobody can ask too early.
pub(crate) fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    #[cfg(unix)]
    let interrupt = handled(tokio::signal::unix::SignalKind::interrupt());
    #[cfg(unix)]
    let terminate = handled(tokio::signal::unix::SignalKind::terminate());
    #[cfg(not(unix))]
    let (interrupt, terminate) = (tokio::signal::ctrl_c(), std::future::pending::<()>());
    async move {
        tokio::select! {
            _ = interrupt => {}
            _ = terminate => {}
        }
    }
}

/// Completes with the first signal of a kind after this call. Without a handler the process ends by the
/// signal, which loses nothing acknowledged.
#[cfg(unix)]
fn handled(kind: tokio::signal::unix::SignalKind) -> impl Future<Output = ()> + Send + 'static {
    let signal = tokio::signal::unix::signal(kind);
    async move {
        match signal {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    }
}
