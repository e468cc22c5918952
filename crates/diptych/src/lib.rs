//! The front door: build a service from deciders and read models, and get one binary.
