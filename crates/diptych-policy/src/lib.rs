//! Who may do and see what. Absent on purpose: SQL, HTTP, and what a command means.
