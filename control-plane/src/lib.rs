//! The weft control plane: resources and endpoints in, snapshots out.
//!
//! From the ground up: `resources` (what users write), `snapshot` (pure: resources and endpoints to what sidecars are
//! told), `store` (where resources live), `endpoints` (who serves what, now), `fleet` (what the sidecars say about
//! themselves), `mesh` (the one owner of all of it, where every change is decided), `serve` (the network), `app`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod admin_api;
pub mod app;
pub mod config;
pub mod data_dir;
pub mod endpoints;
mod first_rules;
pub mod fleet;
pub mod mesh;
pub mod quotas;
pub mod resources;
pub mod serve;
pub mod snapshot;
pub mod store;
pub mod tasks;
pub mod telemetry;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
