//! The whole mesh as its users meet it: real processes on loopback, a theme in each file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

mod bad_input;
mod canary;
mod circuit;
mod control_plane_loss;
mod demo;
mod grpc;
mod identity;
mod leaving;
mod real_software;
mod renewal;
mod rules;
mod run;
mod smuggling;
mod websocket;
