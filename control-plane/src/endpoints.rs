//! Where endpoints come from: workloads that register themselves, and DNS. Static addresses need no adapter.
//!
//! Each part says what is there now; what callers are told about it is compiled by `snapshot`. Called by `mesh`.

pub mod dns;
pub mod registration;
