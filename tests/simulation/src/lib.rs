//! The failure policies of weft in a simulated mesh: hundreds of sidecars, tens of endpoints, and things that go wrong.
//!
//! What decides is the product's own code: balancers, circuit breakers, retries and their budgets are the engines of
//! `weft-proxy`, one set for each client, as each sidecar has its own. What surrounds them is a model: endpoints are
//! queues with workers, the clock is virtual, and all randomness comes from a seed, so that a run is the same each time.
//!
//! - `model` is the mesh and what happens in it.
//! - `scenarios` says what goes wrong, which policies meet it, and what must hold for every seed.
//! - `report` is the section of `docs/resilience.md` and its pictures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a simulation may panic")]

pub mod model;
pub mod report;
pub mod scenarios;
