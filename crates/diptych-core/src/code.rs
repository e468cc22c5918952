//! The codes of everything that can go wrong, each with a page of its own under docs/errors.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal;)+) => {
        /// A stable code. Its page says what happened, why, and what to do.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[doc = concat!("`", $number, "`: ", $title, ".")] $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable form, such as `DP0003`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $number),+ }
            }

            /// A short title that never changes with the occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    Malformed = "DP0001", "the body is not the JSON that was expected";
    Invalid = "DP0002", "fields of the body failed validation";
    StaleVersion = "DP0003", "the stream is at another version than expected";
    Conflict = "DP0004", "the command lost too many races";
    KeyMissing = "DP0005", "this command needs an Idempotency-Key";
    KeyReused = "DP0006", "the idempotency key was used for another command";
    Overloaded = "DP0007", "the service has more to do than it accepts";
    Forbidden = "DP0008", "not allowed";
    NotFound = "DP0009", "there is nothing here";
    Rejected = "DP0010", "the domain said no";
    Internal = "DP0011", "the service failed";
    Indeterminate = "DP0012", "the outcome is not known yet";
    OlderCode = "DP0013", "stored data is newer than this code";
    TooLarge = "DP0014", "the request is larger than allowed";
    MediaType = "DP0015", "the body is not JSON";
    BadHeader = "DP0016", "a header cannot be understood";
    WeakIfMatch = "DP0017", "If-Match needs a strong version tag";
    BadKey = "DP0018", "an id in the path is not valid";
    MethodNotAllowed = "DP0019", "this address does not take this method";
    BadParameter = "DP0020", "a query parameter cannot be understood";
    BadPageToken = "DP0021", "the page token is not valid here";
    PageTokenExpired = "DP0022", "the page token outlived its read model";
    BadToken = "DP0023", "minPosition is not a position token";
    EpochChanged = "DP0024", "the token is from another life of the log";
    NotFreshEnough = "DP0025", "the answer is staler than its contract allows";
    ModelStopped = "DP0026", "the read model has stopped";
    TimedOut = "DP0027", "the request took longer than allowed";
    OtherRole = "DP0028", "another process of the service answers here";
    Storage = "DP0030", "the store failed";
    StorageFull = "DP0031", "the store has no room left";
    StoreVersion = "DP0032", "the store was written by other software";
    ShapeChanged = "DP0033", "a read model changed its shape without a new revision";
    LogDiffers = "DP0034", "the log is not the one a checkpoint came from";
    FoldFailed = "DP0035", "a projection failed at a fact";
    Undecodable = "DP0036", "a stored event cannot be read";
    InlineFailed = "DP0037", "an inline read model refused the event";
    ProjectionLimit = "DP0038", "a projection went past a limit";
    ServiceInvalid = "DP0040", "the service is put together wrongly";
    NotLoopback = "DP0041", "the service has no authentication and may not listen there";
    CannotListen = "DP0042", "the service cannot listen there";
    FactsInvalid = "DP0052", "facts cannot be recorded as they are";
    IntakeStopped = "DP0053", "facts from elsewhere cannot be taken into the log";
    ImportFailed = "DP0043", "the import met data it cannot take";
    StatesInUse = "DP0044", "the stored states are in use";
    BoundaryLimit = "DP0045", "a command's boundary holds too many facts";
    BadQuery = "DP0046", "a tag or a query over tags breaks a rule";
    QueueFull = "DP0047", "the queue of commands is full";
    OtherActor = "DP0048", "the command names another actor than the one who asks";
    CatalogDiffers = "DP0049", "the event catalog and the code differ";
    ExportDamaged = "DP0050", "the export file cannot be taken";
    StoreNotEmpty = "DP0051", "the store already holds something";
    ModelRetired = "DP0054", "the read model is retired";
    ModelSuspended = "DP0055", "the read model is suspended";
    ModelDegraded = "DP0056", "the read model is degraded and refuses to answer";
    MoveRefused = "DP0057", "the read model cannot be moved like that";
    BuildsDiffer = "DP0058", "the new build differs in ways that were not declared";
    RowDiffers = "DP0059", "a row is not what the log says";
    CorrectionRefused = "DP0060", "the row cannot be corrected like that";
    ParkedMany = "DP0061", "more keys are parked than may be";
    Unauthenticated = "DP0062", "the caller does not prove who it is";
    PolicyInvalid = "DP0063", "the policies cannot be used";
    FieldWithheld = "DP0064", "a field may not be asked by";
    Unbounded = "DP0065", "the question is for more than an answer holds";
    AuthenticationInvalid = "DP0066", "the authentication is set up wrongly";
    ExportCut = "DP0067", "an export could not be finished";
    DocumentsUnavailable = "DP0068", "the document store does not answer as it should";
    MoneyRefused = "DP0069", "a money field does not hold validated money";
    JobRefused = "DP0070", "a job cannot be run like that";
    JobFailed = "DP0071", "a run of a job failed";
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
