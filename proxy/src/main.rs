//! `weft-proxy`: the sidecar as a program of its own. The same as `weft proxy`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use weft_proxy::{app, config::Config};

/// The weft sidecar: mutual TLS, load balancing, circuit breaking and routing beside one workload.
#[derive(Parser)]
#[command(name = "weft-proxy", version = weft_proxy::VERSION)]
struct Cli {
    /// YAML file with settings, named as the flags are
    #[arg(long, env = "WEFT_SETTINGS", value_name = "FILE")]
    settings: Option<std::path::PathBuf>,

    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let matches = weft_proxy_api::settings::from_process(Cli::command());
    let config = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).config;
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
