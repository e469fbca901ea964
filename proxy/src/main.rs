//! `weft-proxy`: the sidecar as a program of its own. The same as `weft proxy` and `weft redirect`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, error::ErrorKind};
use weft_proxy::{
    app,
    config::Config,
    redirect::{self, Redirect},
};

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

/// What runs before the sidecar, in the same image, and ends.
#[derive(Parser)]
#[command(name = "weft-proxy", version = weft_proxy::VERSION)]
enum OneShot {
    Redirect(Redirect),
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if is_one_shot(&args) {
        let OneShot::Redirect(redirect) = OneShot::parse_from(args);
        return redirected(&redirect);
    }
    let matches = weft_proxy_api::settings::from_process(sidecar());
    let config = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).config;
    if let Err(reason) = config.check() {
        sidecar().error(ErrorKind::ArgumentConflict, reason).exit();
    }
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Decided before anything is parsed: the sidecar's settings in the environment, which clap would read and check with
/// its flags, are no business of a one-shot.
fn is_one_shot(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|first| OneShot::command().get_subcommands().any(|command| first == command.get_name()))
}

/// The sidecar's flags, with the one-shots in the help.
fn sidecar() -> clap::Command {
    Cli::command().subcommands(OneShot::command().get_subcommands().cloned()).args_conflicts_with_subcommands(true)
}

fn redirected(redirect: &Redirect) -> ExitCode {
    match redirect::run(redirect, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_definitions_hold() {
        sidecar().debug_assert();
        OneShot::command().debug_assert();
    }

    #[test]
    fn a_one_shot_is_named_first() {
        for line in ["weft-proxy redirect", "weft-proxy redirect --dry-run"] {
            assert!(is_one_shot(&args(line)), "{line}");
        }
        for line in ["weft-proxy", "weft-proxy --service redirect", "weft-proxy --help"] {
            assert!(!is_one_shot(&args(line)), "{line}");
        }
    }

    #[test]
    fn the_sidecar_still_needs_its_flags() {
        let parse = |line: &str| sidecar().try_get_matches_from(args(line));
        let complete = "weft-proxy --control-plane a:1 --trust-anchor b";
        Cli::from_arg_matches(&parse(complete).unwrap()).unwrap();
        let missing = parse("weft-proxy --trust-anchor b").unwrap_err();
        assert!(missing.to_string().contains("--control-plane"), "{missing}");
        assert!(parse(&format!("{complete} redirect")).is_err(), "either the sidecar or a one-shot");
    }
}
