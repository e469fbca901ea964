//! Policies toward a backend: pure state machines that get their clock and randomness as arguments.
//!
//! They decide whether a request may be tried, and tried again, and learn from how it ended. When to ask them, and what a
//! refusal is answered with, is decided by the outbound and the inbound path; endpoints use the same circuit breaker for
//! ejection.

pub mod adaptive;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod cors;
pub mod fault;
pub mod outcome;
pub mod rate_limit;
pub mod retry;
mod retry_budget;
pub mod session;

pub use bulkhead::Bulkhead;
pub use circuit_breaker::CircuitBreaker;
pub use cors::Cors;
pub use fault::Fault;
pub use outcome::{Cause, Outcome};
pub use retry_budget::RetryBudget;
