//! Looking up rows of earlier tables of a group, as they stood at a fact.

use crate::fold::{Earlier, Looked, TypedTable};
use crate::{JoinedProjection, ReadModel};
use diptych_core::{Position, Tenant};
use std::fmt;
use std::marker::PhantomData;

/// Says that a read model may look up rows of `S`. Derived for each name in
/// `#[read_model(.., reads(CaseTitle, PartyName))]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare that it reads `{S}`",
    note = "name it in the declaration: `#[read_model(.., reads({S}))]`"
)]
pub trait Reads<S: ReadModel> {}

/// Says that no read model that this one looks rows up in looks rows up in it, directly or not. Derived, on
/// the condition that it holds for each of them: in a circle none can begin, and the compiler names its
/// members.
#[diagnostic::on_unimplemented(
    message = "nothing says that `{Self}` looks rows up in no circle",
    note = "it is derived with `ReadModel`; by hand: `impl NoCircularReads for {Self} {{}}`"
)]
pub trait NoCircularReads {}

/// The earlier tables of a group, as `project` may look at them: each row as it stood at the fact at hand,
/// that fact included, in the fact's tenant.
///
/// ```
/// # use diptych_query::{Reads, ReadModel, JoinedProjection, Siblings};
/// fn title<M: Reads<S>, S: JoinedProjection>(siblings: &Siblings<'_, M>, key: &S::Key) -> Option<S> {
///     siblings.get::<S>(key).cloned()
/// }
/// ```
pub struct Siblings<'a, M> {
    earlier: Earlier<'a>,
    tenant: &'a Tenant,
    at: Position,
    model: PhantomData<fn() -> M>,
}

impl<'a, M> Siblings<'a, M> {
    pub(crate) fn new(earlier: Earlier<'a>, tenant: &'a Tenant, at: Position) -> Self {
        Self { earlier, tenant, at, model: PhantomData }
    }

    /// The row of a key; `None` where there is none.
    ///
    /// A row that is not in memory is noted, loaded, and the facts are folded again: so never count calls,
    /// and take a `None` as it is meant.
    #[must_use]
    pub fn get<S: JoinedProjection>(&self, key: &S::Key) -> Option<&'a S>
    where
        M: Reads<S>,
    {
        for (index, table) in self.earlier.tables().iter().enumerate() {
            let Some(table) = table.as_any().downcast_ref::<TypedTable<S>>() else { continue };
            return match table.look(self.tenant, key, self.at) {
                Looked::Known(row) => row,
                Looked::Missing(row) => {
                    self.earlier.miss(index, row);
                    None
                }
            };
        }
        // INVARIANT: a group in which a table reads another that does not come before it is refused.
        None
    }
}

impl<M> fmt::Debug for Siblings<'_, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Siblings({} tables at {})", self.earlier.tables().len(), self.at)
    }
}
