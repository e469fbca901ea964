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
mod echo;
mod faulty;
pub mod figure;
mod folder;
mod load;
mod name_server;
mod place;
pub mod pods;
mod ports;
mod process;
mod require;
mod rules;
mod runner;
mod seen;
mod sidecar;
mod statistics;
mod tls;
mod wait;

pub use app::{App, Behaviour, HEALTH};
pub use binary::use_weft;
pub use client::{Answer, Connection, get, get_h2, request, send, send_raw};
pub use control_plane::ControlPlane;
pub use echo::{echo, open_tunnel};
pub use faulty::{CALL_ID, Fault, Faults, FaultyApp};
pub use folder::Folder;
pub use load::{Load, Outcome};
pub use name_server::NameServer;
pub use place::Place;
pub use ports::free_port;
pub use process::{Finished, Process, command_lines_with};
pub use require::{require, require_python, require_root};
pub use rules::{service, split, versions};
pub use runner::Runner;
pub use seen::{Seen, calls};
pub use sidecar::{Sidecar, SidecarBuilder, Workload};
pub use statistics::binomial_interval;
pub use tls::{Impostor, connect, identity, leaf_serial};
pub use wait::{PATIENCE, eventually, within};

/// A `weft` command line that knows of no control plane.
pub fn weft(args: &[&str]) -> std::process::Command {
    let mut command = Place::Machine.command(binary::weft());
    command.args(args);
    command
}

/// A file of `fixtures/`, by its path.
pub fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}
