//! Waiting for a store that cannot take a command now. Knows no command: it is told how to give it.

use crate::HandleError;
use std::time::Duration;
use tokio::time::Instant;

/// The longest pause after the first attempt; each one after it may be twice as long.
const PAUSE_FIRST_MAX: Duration = Duration::from_millis(50);

/// The longest pause of all.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Gives a command, and gives it again after a pause while the answer is a fault that passes: the store is
/// overloaded, or was lost for a while. For whoever has time, as an import has; a person at a screen is
/// better told at once.
///
/// Each attempt must give the same command under the same id: of one whose answer was lost nobody knows
/// whether it was done, and the id sees to it that it is not done twice.
///
/// # Errors
/// What the last attempt was told; a passing fault only when `patience` is over. An attempt that is under way
/// by then is not cut off.
///
/// ```
/// # use diptych_command::{HandleError, patiently};
/// # use diptych_core::{Code, Fault};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut attempts = 0;
/// let done = patiently(Duration::from_secs(120), || {
///     attempts += 1;
///     // In earnest: commands.handle::<Account>(request.command_id(id))
///     let busy = Fault::transient(Code::Overloaded, "too many queries are running");
///     let told = if attempts < 3 { Err(HandleError::<()>::Fault(busy)) } else { Ok("done") };
///     async { told }
/// });
/// assert_eq!(done.await.ok(), Some("done"));
/// # }
/// ```
pub async fn patiently<T, R, F>(
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, HandleError<R>>
where
    F: Future<Output = Result<T, HandleError<R>>>,
{
    let until = Instant::now() + patience;
    let mut bound = PAUSE_FIRST_MAX;
    loop {
        match attempt().await {
            Err(HandleError::Fault(fault)) if fault.is_transient() && Instant::now() < until => {
                pause_below(bound).await;
                bound = (bound * 2).min(PAUSE_MAX);
            }
            told => return told,
        }
    }
}

/// Waits a random time below a bound: of many that were told the same, not all come again at once.
pub(crate) async fn pause_below(bound: Duration) {
    tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{Code, Fault};

    type Told = Result<u32, HandleError<&'static str>>;

    /// How often it was tried, and what was told in the end, when attempts are told these one after another.
    async fn tried(patience: Duration, told: Vec<Told>) -> (usize, Told) {
        let (mut count, mut told) = (0, told.into_iter());
        let last = patiently(patience, || {
            count += 1;
            std::future::ready(told.next().expect("no more attempts than expected"))
        });
        let last = last.await;
        (count, last)
    }

    fn fault(transient: bool) -> Told {
        let fault = if transient { Fault::transient } else { Fault::permanent };
        Err(HandleError::Fault(fault(Code::Storage, "it is not there")))
    }

    #[tokio::test]
    async fn what_passes_is_waited_for_and_nothing_else() {
        let long = Duration::from_secs(3_600);
        assert!(matches!(tried(long, vec![fault(true), fault(true), Ok(7)]).await, (3, Ok(7))));
        assert!(matches!(tried(long, vec![Ok(7)]).await, (1, Ok(7))));
        assert!(matches!(
            tried(long, vec![fault(true), fault(false)]).await,
            (2, Err(HandleError::Fault(_)))
        ));
        let rejected = || Err(HandleError::Rejected("closed"));
        assert!(matches!(tried(long, vec![rejected()]).await, (1, Err(HandleError::Rejected("closed")))));
    }

    #[tokio::test]
    async fn patience_ends() {
        let (count, told) = tried(Duration::ZERO, vec![fault(true)]).await;
        assert!(count == 1 && matches!(told, Err(HandleError::Fault(fault)) if fault.is_transient()));
    }
}
