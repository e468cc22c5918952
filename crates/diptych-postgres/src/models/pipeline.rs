//! Statements that need no answer of each other, sent one after the other without waiting in between.

use super::rows::{Cells, Typed};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tokio_postgres::{Client, Error, Row};

/// A statement over many rows, with an array for each parameter.
pub(crate) struct Statement<'v> {
    pub(crate) sql: &'v str,
    pub(crate) cells: Vec<Cells<'v>>,
}

impl Statement<'_> {
    fn parameters(&self) -> Vec<Typed<'_>> {
        self.cells.iter().map(Cells::typed).collect()
    }

    /// Runs it and answers how many rows it changed.
    pub(crate) async fn execute(&self, client: &Client) -> Result<u64, Error> {
        client.execute_typed(self.sql, &self.parameters()).await
    }

    /// Runs it and answers the rows it found.
    pub(crate) async fn query(&self, client: &Client) -> Result<Vec<Row>, Error> {
        client.query_typed(self.sql, &self.parameters()).await
    }
}

/// Waits for all futures, each being polled first in the order given: a connection sends what it is asked to
/// in that order. All are sent before any answer is waited for, so that dropping this leaves nothing half
/// sent.
pub(crate) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut ready = true;
        for (future, output) in waiting.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => ready = false,
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Runs statements and answers how many rows each changed.
pub(crate) async fn execute_all(client: &Client, statements: &[Statement<'_>]) -> Result<Vec<u64>, Error> {
    together(statements.iter().map(|statement| statement.execute(client))).await.into_iter().collect()
}

/// Runs statements and answers the rows that each found.
pub(crate) async fn query_all(client: &Client, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, Error> {
    together(statements.iter().map(|statement| statement.query(client))).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn answers_keep_their_order_and_all_are_asked_before_any_answers() {
        let asked = RefCell::new(Vec::new());
        let one = |number: u32| {
            let asked = &asked;
            async move {
                asked.borrow_mut().push(number);
                for _ in number..3 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(asked.borrow().len(), 3);
                number
            }
        };
        assert_eq!(together([one(0), one(1), one(2)]).await, [0, 1, 2]);
        assert_eq!(*asked.borrow(), [0, 1, 2]);
    }
}
