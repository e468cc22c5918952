//! Derives for Diptych: Event, EventSet, Command, Rejection, Id, Scalar, Data, ReadModel.
