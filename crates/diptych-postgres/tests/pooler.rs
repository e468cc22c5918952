//! The published suites through a pooler of connections in transaction mode, with and without a direct URL
//! beside it.

mod harness;

/// Wake-ups and migrations have a way of their own.
mod beside_a_direct_url {
    use crate::harness::{PostgresHarness, Way};
    use diptych_conformance::{conformance_suite, sharing_suite};

    conformance_suite!(PostgresHarness::by(Way::PoolerAndDirect));
    sharing_suite!(PostgresHarness::by(Way::PoolerAndDirect));
}

/// Everything goes through the pooler; what others append is looked for.
mod alone {
    use crate::harness::{PostgresHarness, Way};
    use diptych_conformance::{conformance_suite, sharing_suite};

    conformance_suite!(PostgresHarness::by(Way::PoolerOnly));
    sharing_suite!(PostgresHarness::by(Way::PoolerOnly));
}
