//! The memory of what has been imported, kept where everything else is: in the log.

use crate::facts::DataImportEvent;
use diptych::prelude::*;

/// What may be asked of a data import.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum DataImportCommand {
    /// Notes that every row is in the log.
    Complete {
        /// Of the file.
        checksum: String,
        /// How many rows it had.
        rows: i64,
        /// How many invoices they formed.
        invoices: i64,
    },
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum DataImportRejection {
    /// Another file was imported under the same name.
    #[reject("another file with the checksum {checksum} was imported under this name")]
    DataImportDiffers {
        /// Of the file that was imported.
        checksum: String,
    },
}

/// A data set on its way into the log.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct DataImport {
    /// Of the file, once every row is in the log.
    pub checksum: Option<String>,
}

impl Decider for DataImport {
    type Command = DataImportCommand;
    type Event = DataImportEvent;
    type Rejection = DataImportRejection;

    fn decide(
        &self,
        command: DataImportCommand,
        _: &Context,
    ) -> Result<Vec<DataImportEvent>, DataImportRejection> {
        let DataImportCommand::Complete { checksum, rows, invoices } = command;
        match &self.checksum {
            None => Ok(vec![DataImportEvent::DataImported { checksum, rows, invoices }]),
            Some(known) if *known == checksum => Ok(Vec::new()),
            Some(known) => Err(DataImportRejection::DataImportDiffers { checksum: known.clone() }),
        }
    }

    fn evolve(self, event: &DataImportEvent) -> Self {
        let DataImportEvent::DataImported { checksum, .. } = event;
        Self { checksum: Some(checksum.clone()) }
    }
}
