//! The weft sidecar: the data plane beside every workload.
//!
//! A request's way out is `outbound::forward`, its way in is `inbound::forward`; both are straight lines that name
//! everything that can happen to it. Modules import only from those listed before them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod config;
pub mod drain;
pub mod error;
pub mod telemetry;

pub mod net;
pub mod tls;

pub mod policy;

pub mod http;

pub mod balance;
pub mod route;

pub mod mesh;

pub mod dns;

pub mod discovery;

pub mod inbound;
pub mod outbound;

pub mod lifecycle;

pub mod admin;
pub mod doors;

pub mod app;

pub mod redirect;

/// The version of this build, with its commit where that is known.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
