//! What a test's own store passes on to the one behind it: everything but the port that it is about.

#[doc(hidden)]
pub use diptych_command::{
    AuditLog, AuditPage, AuditQuery, StateColumn, StateRow, StateStore, StreamStanding,
};
#[doc(hidden)]
pub use diptych_core::{BoxFuture, Fault, StreamRef};

/// Passes audit and stored states of a wrapper on to the store in one of its fields:
/// `pass_on!(Counting, inner);`.
#[macro_export]
macro_rules! pass_on {
    ($wrapper:ty, $inner:ident) => {
        impl $crate::passing::AuditLog for $wrapper {
            fn audited<'a>(
                &'a self,
                query: &'a $crate::passing::AuditQuery,
            ) -> $crate::passing::BoxFuture<'a, Result<$crate::passing::AuditPage, $crate::passing::Fault>>
            {
                self.$inner.audited(query)
            }
        }

        impl $crate::passing::StateStore for $wrapper {
            fn load_state<'a>(
                &'a self,
                stream: &'a $crate::passing::StreamRef,
            ) -> $crate::passing::BoxFuture<
                'a,
                Result<Option<$crate::passing::StateRow>, $crate::passing::Fault>,
            > {
                self.$inner.load_state(stream)
            }

            fn streams_of<'a>(
                &'a self,
                category: &'a str,
                after: Option<&'a $crate::passing::StreamRef>,
                streams_max: usize,
            ) -> $crate::passing::BoxFuture<
                'a,
                Result<Vec<$crate::passing::StreamStanding>, $crate::passing::Fault>,
            > {
                self.$inner.streams_of(category, after, streams_max)
            }

            fn write_state<'a>(
                &'a self,
                stream: &'a $crate::passing::StreamRef,
                row: $crate::passing::StateRow,
            ) -> $crate::passing::BoxFuture<'a, Result<bool, $crate::passing::Fault>> {
                self.$inner.write_state(stream, row)
            }

            fn drop_states<'a>(
                &'a self,
                category: &'a str,
                rows_max: usize,
            ) -> $crate::passing::BoxFuture<'a, Result<usize, $crate::passing::Fault>> {
                self.$inner.drop_states(category, rows_max)
            }

            fn show_states<'a>(
                &'a self,
                category: &'a str,
                columns: &'static [$crate::passing::StateColumn],
            ) -> $crate::passing::BoxFuture<'a, Result<(), $crate::passing::Fault>> {
                self.$inner.show_states(category, columns)
            }

            fn hide_states<'a>(
                &'a self,
                category: &'a str,
            ) -> $crate::passing::BoxFuture<'a, Result<(), $crate::passing::Fault>> {
                self.$inner.hide_states(category)
            }
        }
    };
}
