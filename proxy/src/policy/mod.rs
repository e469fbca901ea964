//! Policies toward a backend: pure state machines that get their clock and randomness as arguments.
//!
//! They decide whether a request may be tried and learn from how it ended. When to ask them, and what a refusal is
//! answered with, is decided by the outbound path; endpoints use the same circuit breaker for ejection.

pub mod circuit_breaker;
pub mod outcome;

pub use circuit_breaker::CircuitBreaker;
pub use outcome::{Cause, Outcome};
