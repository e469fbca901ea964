//! The harness of the end-to-end suites: a whole mesh on loopback, made of the real binary.
//!
//! Every actor is a value. A [`ControlPlane`] and the [`Sidecar`]s and [`Runner`]s that belong to it are processes of
//! their own, started on free ports; [`App`]s and [`Load`] live in the test itself, so that a test can tell them what to
//! do and ask what they saw. When a value is dropped, its process group is killed and reaped. When a test fails, the
//! logs of all its processes are printed.
//!
//! Nothing here waits for a while and hopes: [`eventually`] asks until a condition holds, and says which one did not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

mod app;
mod binary;
mod client;
mod control_plane;
mod folder;
mod load;
mod ports;
mod process;
mod require;
mod rules;
mod runner;
mod sidecar;
mod statistics;
mod tls;
mod wait;

pub use app::{App, Behaviour};
pub use binary::use_weft;
pub use client::{Answer, Connection, get, get_h2, request, send, send_raw};
pub use control_plane::{ControlPlane, Finished};
pub use folder::Folder;
pub use load::{Load, Outcome};
pub use ports::free_port;
pub use process::{Process, command_lines_with};
pub use require::{require, require_python};
pub use rules::{service, split, versions};
pub use runner::Runner;
pub use sidecar::{Sidecar, SidecarBuilder, Workload};
pub use statistics::binomial_interval;
pub use tls::{Impostor, connect, identity, leaf_serial};
pub use wait::{PATIENCE, eventually, within};

/// A `weft` command line that knows of no control plane.
pub fn weft(args: &[&str]) -> std::process::Command {
    let mut command = control_plane::clean(binary::weft());
    command.args(args);
    command
}

/// A file of `fixtures/`, by its path.
pub fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}
