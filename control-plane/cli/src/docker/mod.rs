//! `weft docker`: the mesh for containers of one machine.
//!
//! [`init`] puts sidecars beside the services of a compose project, [`check`] looks at those that run; [`engine`] is the only
//! place that runs `docker`.

pub mod check;
pub mod init;

mod advice;
mod containers;
mod engine;
mod findings;
mod mesh;
mod names;
mod plan;
mod ports;
mod project;
mod reach;
mod rules;
mod summary;
mod write;
mod yaml;

use clap::Subcommand;

pub use engine::DockerError;

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
};

#[derive(Debug, Subcommand)]
pub enum Docker {
    /// Put sidecars beside the services of a compose project, in a file of their own
    #[command(after_help = init::EXAMPLES)]
    Init(init::Init),
}

impl Docker {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        match self {
            Self::Init(init) => init.execute(flags).await,
        }
    }
}
