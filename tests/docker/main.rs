//! The mesh in containers, with a real Docker engine: the example, projects of one's own, and what goes wrong.
//!
//! They need the image of weft and those that the example begins with: see `.ci/run`. Each test has a Compose project of
//! its own, on networks and ports that nobody else has, and takes it down at its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

mod bad_input;
mod example;
mod init;
mod project;
