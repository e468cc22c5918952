//! Putting rows right that are not what the log says, and taking a read model out of service meanwhile.

use crate::trouble::TroubleError;
use crate::{Differs, Incident, Projector, RowName};
use diptych_core::Position;
use diptych_query::Order;

/// What is to be repaired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// What an incident is about.
    Incident(String),
    /// A row, whether or not anything is known to be wrong with it.
    Row(RowName),
}

/// What a repair has done.
#[derive(Clone, PartialEq, Debug)]
pub struct Repaired {
    /// Where the model stood.
    pub position: Position,
    /// In what the row differed from the log; nothing where it did not.
    pub differences: Vec<Differs>,
    /// The buckets whose digest was written anew, because it was not that of their rows.
    pub recounted: Vec<u8>,
    /// Whether the model had stopped, and moves on now.
    pub resumed: bool,
    /// The incidents that are over by this, with everything that was done.
    pub incidents: Vec<Incident>,
}

impl Projector {
    /// The incidents, the last changed first.
    ///
    /// # Errors
    /// A fault.
    pub async fn incidents(&self, most: usize) -> Result<Vec<Incident>, TroubleError> {
        todo!()
    }

    /// An incident.
    ///
    /// # Errors
    /// An unknown id, or a fault.
    pub async fn incident(&self, id: &str) -> Result<Incident, TroubleError> {
        todo!()
    }

    /// Closes an incident without a repair, with a reason.
    ///
    /// # Errors
    /// An unknown id, or a fault.
    pub async fn close_incident(&self, id: &str, order: &Order) -> Result<Incident, TroubleError> {
        todo!()
    }

    /// Folds a row again from the log, exactly up to where its model stands, and writes it if it differs; writes
    /// the digest of its bucket anew if that is not the sum of the rows; lets a model go on that had stopped at
    /// the row.
    ///
    /// # Errors
    /// An unknown group, row or incident, a model that moves on too fast, a fact that cannot be folded, or a
    /// fault.
    pub async fn repair(&self, name: &str, what: &Repair, order: &Order) -> Result<Repaired, TroubleError> {
        todo!()
    }

    /// Has a group answer no questions until [`Projector::resume_serving`]. It goes on following the log.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn suspend(&self, name: &str, order: &Order) -> Result<(), TroubleError> {
        todo!()
    }

    /// Has a group answer again. Answers whether it did not.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn resume_serving(&self, name: &str, order: &Order) -> Result<bool, TroubleError> {
        todo!()
    }

    /// Looks which keys are parked, which incidents are open and what is suspended, so that this process
    /// answers accordingly. Every process does so once a second, whatever its roles.
    ///
    /// # Errors
    /// A fault.
    pub async fn look(&self) -> Result<(), diptych_core::Fault> {
        todo!()
    }
}
