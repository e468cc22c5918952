//! Builds of a model, switched and removed while others append, fold and read.
