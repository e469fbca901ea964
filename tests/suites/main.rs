//! The whole mesh as its users meet it: real processes on loopback, a theme in each file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

mod affinity;
mod bad_input;
mod bulkhead;
mod canary;
mod circuit;
mod control_plane_loss;
mod demo;
mod faults;
mod floods;
mod grpc;
mod h2spec;
mod health;
mod identity;
mod leaving;
mod pods;
mod rate_limit;
mod real_software;
#[cfg(target_os = "linux")]
mod redirect;
mod renewal;
mod retries;
mod rules;
mod run;
mod shaping;
mod smuggling;
mod websocket;
