//! Who may do and see what. Absent on purpose: SQL, HTTP, and what a command means.

mod jwt;

pub use jwt::{ClaimNames, Jwt, TOKEN_BYTES_MAX, TOKEN_LIFE_MAX, write_secret};
