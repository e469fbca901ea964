//! The mesh: clients with their sidecars, endpoints as queues, faults between them, and a clock that jumps from one
//! event to the next.

mod client;
mod event;
mod fault;
mod policies;
mod random;
mod run;
mod sending;
mod server;
mod setup;
mod world;

pub use fault::{Fault, Kind};
pub use policies::{NO_BUDGET, Policies};
pub use run::{Attempt, Request, Run};
pub use setup::{Backend, ENDPOINTS, Setup};
pub use world::run;
