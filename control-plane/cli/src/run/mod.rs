//! `weft run`: any program becomes a workload of the mesh.
//!
//! Decides the order of things: a join token, the sidecar, the program; and at the end drain, the program, the
//! sidecar. What a sidecar does is `weft proxy`'s; this starts it as a process of its own, so that a crash of either
//! side never takes the other with it.

mod log;
mod program;
mod ready;
mod restarts;
mod sidecar;
mod state;
mod supervise;
mod token;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use weft_proxy_api::name::is_label;

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    signals::Signals,
};
use log::Log;
use program::Program;
use sidecar::{Sidecar, Start};
use state::State;

pub const EXAMPLES: &str = "\
Examples:
  weft run --service orders --port 8080 -- ./orders --listen 127.0.0.1:8080
  weft run --service orders --port 8080 --label version=v2 -n shop -- python3 -m http.server 8080 --bind 127.0.0.1

The program finds the mesh in HTTP_PROXY, http_proxy and WEFT_OUTBOUND (http://IP:PORT): a request \
through that proxy to http://orders/ reaches the service orders, over mutual TLS. Others reach the \
program as soon as it answers on its port.

SIGTERM, SIGINT and SIGHUP drain first (no new requests come, those in flight finish), then go to \
the program. A second signal ends everything at once. At a terminal, Ctrl-C reaches the program at \
the same time, as it would without weft.";

#[derive(Debug, Args)]
pub struct Run {
    /// The service that the program serves
    #[arg(long, value_name = "NAME", value_parser = label_name)]
    pub service: String,

    /// The port on which the program answers, on 127.0.0.1
    #[arg(long, value_name = "APP_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,

    /// The service account that the workload runs as [default: the service's name]
    #[arg(long, value_name = "NAME", value_parser = label_name)]
    pub service_account: Option<String>,

    /// The port under which others reach the service
    #[arg(long, value_name = "PORT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
    pub service_port: u16,

    /// A label of the workload, by which MeshServices select (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<String>,

    /// The address of this machine at which other sidecars reach this one
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub advertise: IpAddr,

    /// A folder that keeps the identity and the last configuration, so that a restart needs no control plane
    /// [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// How long the drain, and then the program, may take to end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// Where the sidecar's log goes [default: standard error, each line marked]
    #[arg(long, value_name = "FILE")]
    pub sidecar_log: Option<PathBuf>,

    /// Keep the sidecar in this process group: for a caller that ends the group as a whole
    #[arg(long, hide = true)]
    pub one_group: bool,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl Run {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let admin = flags.admin()?;
        let state = State::open(self.state_dir.as_deref())?;
        let token = token::mint(&self, flags.namespace(), &admin, &state).await?;
        let files = state.write(&admin.credentials().trust_anchor, token.as_deref())?;
        let log = Log::open(self.sidecar_log.as_deref())?;
        let start = Start::new(&self, flags.namespace(), &admin.credentials().grpc_address, &files, state.path())?;

        let mut sidecar = tokio::select! {
            started = Sidecar::start(start, log) => started?,
            signal = signals.next() => return Ok(Exit::Program(signal.exit_code())),
        };
        files.forget_token()?;
        let mut program = match Program::start(&self.command, sidecar.outbound()) {
            Ok(program) => program,
            Err(error) => {
                sidecar.kill().await?;
                return Err(error.into());
            }
        };
        let code = supervise::until_the_end(&mut sidecar, &mut program, &mut signals, self.grace).await?;
        Ok(Exit::Program(code))
    }

    fn service_account(&self) -> &str {
        self.service_account.as_deref().unwrap_or(&self.service)
    }
}

fn label_name(text: &str) -> Result<String, &'static str> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("expected lower-case letters, digits and '-', at most 63"),
    }
}

/// Checked here, and passed on to the sidecar as it is.
fn key_value(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("expected KEY=VALUE"),
    }
}
