//! The command line: every command with its help, and the settings files of the two daemons.
//!
//! Only shapes are decided here. The arguments of a command stand beside its code in [`crate::commands`],
//! [`crate::run`] and [`crate::demo`].

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use weft_proxy_api::{
    ServiceName,
    name::NameError,
    settings::{self, SettingsError},
};

use crate::{
    client::{AdminClient, ClientError},
    commands::{
        apply, check, circuits, completion, delete, diff, endpoints, export, get, history, probe, rollback, routes,
        status, token,
    },
    credentials, demo, docker,
    exit::{self, Failure},
    output::{Color, Format},
    run,
};

pub use weft_proxy_api::settings::SettingsError as ParseError;

/// Over the flags that every command takes.
const FOR_ALL: &str = "Options of all commands";

const EXAMPLES: &str = "\
Try it:
  weft demo                                        see all of it in half a minute
  weft control-plane --data-dir ./weft-data        start a control plane
  export WEFT_CONFIG=./weft-data/admin.yaml        let the other commands reach it
  weft run --service orders --port 8080 -- ./orders
  weft apply -f canary.yaml
  weft status
";

/// A service mesh in one binary: mutual TLS, load balancing, circuit breaking and canary routing for any program.
#[derive(Debug, Parser)]
#[command(name = "weft", version = env!("WEFT_VERSION"), after_help = format!("{EXAMPLES}\n{}", exit::HELP))]
#[command(max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub client: ClientFlags,

    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(help_heading = FOR_ALL)]
    pub color: Color,

    #[command(subcommand)]
    pub command: Command,
}

/// What every command that talks to the control plane needs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = FOR_ALL)]
pub struct ClientFlags {
    /// How the control plane is reached: the admin.yaml in its data folder [default: .weft/admin.yaml here or in the home folder]
    #[arg(long, global = true, env = "WEFT_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,

    /// The namespace of what is named without one [default: default]
    #[arg(long, short, global = true, env = "WEFT_NAMESPACE", value_name = "NAME", hide_env_values = true)]
    pub namespace: Option<String>,

    /// How results are shown: table, yaml or json
    #[arg(long, short, global = true, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the mesh does, step by step, with real processes (about half a minute)
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),

    /// Run the control plane: rules, identities, discovery
    #[command(name = "control-plane", display_name = "weft control-plane", after_help = CONTROL_PLANE_EXAMPLES)]
    #[command(version = env!("WEFT_VERSION"))]
    ControlPlane(Box<weft_control_plane::config::Config>),
    /// Run a program as a workload of the mesh, with a sidecar beside it
    #[command(after_help = run::EXAMPLES)]
    Run(run::Run),
    /// Run the sidecar alone
    #[command(display_name = "weft proxy", version = env!("WEFT_VERSION"))]
    Proxy(Box<Proxy>),
    /// Send a network namespace's traffic to its sidecar, with nftables
    Redirect(Box<weft_proxy::redirect::Redirect>),
    /// Put sidecars beside containers
    #[command(subcommand)]
    Docker(docker::Docker),
    /// Make tokens by which workloads join the mesh
    #[command(subcommand)]
    Token(token::Token),
    /// Ask whether the sidecar or control plane of this container is ready, for its health check
    #[command(after_help = probe::EXAMPLES)]
    Probe(probe::Probe),

    /// Write resources: all of them, as one revision, or none
    #[command(after_help = apply::EXAMPLES)]
    Apply(apply::Apply),
    /// Show resources
    #[command(after_help = get::EXAMPLES)]
    Get(get::Get),
    /// Delete resources
    #[command(after_help = delete::EXAMPLES)]
    Delete(delete::Delete),
    /// Show what an apply would change
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::Diff),
    /// Check files without a control plane
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// Show the revisions: what was changed, when, by whom
    #[command(after_help = history::EXAMPLES)]
    History(history::History),
    /// Go back to an earlier revision (as a new one)
    #[command(after_help = rollback::EXAMPLES)]
    Rollback(rollback::Rollback),
    /// Write out all resources, ready for `weft apply`
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),

    /// Show the control plane, the workloads, and what each has acknowledged
    #[command(after_help = status::EXAMPLES)]
    Status,
    /// Show the endpoints of a service
    #[command(after_help = endpoints::EXAMPLES)]
    Endpoints(endpoints::Endpoints),
    /// Show the routes of a service in order of precedence
    #[command(after_help = routes::EXAMPLES)]
    Routes(routes::Routes),
    /// Show the circuits that the sidecars hold
    #[command(after_help = circuits::EXAMPLES)]
    Circuits(circuits::Circuits),

    /// Print a completion script for a shell
    #[command(after_help = completion::EXAMPLES)]
    Completion(completion::Completion),

    /// The program behind the services of the demo
    #[command(hide = true)]
    DemoApp(demo::app::DemoApp),
    /// Ends the demo's processes when the demo itself could not
    #[command(hide = true)]
    DemoWatchdog,
}

impl ClientFlags {
    pub fn admin(&self) -> Result<AdminClient, ClientError> {
        AdminClient::new(credentials::load(self.config.as_deref())?)
    }

    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The service that `text` names: `orders` in the namespace of `--namespace`, or `shop/orders`.
    pub fn service(&self, text: &str) -> Result<ServiceName, Failure> {
        let full = if text.contains('/') { text.to_owned() } else { format!("{}/{text}", self.namespace()) };
        full.parse().map_err(|error: NameError| Failure::Usage(error.to_string()))
    }
}

/// `weft-proxy`'s flags, and the file that can hold them.
#[derive(Debug, Args)]
pub struct Proxy {
    #[command(flatten)]
    pub config: weft_proxy::config::Config,

    /// A YAML file with any of these settings, such as `service: orders`. Flags and environment win over it
    #[arg(long, env = "WEFT_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// End when standard input does, which is when the process that holds its other end is gone
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

const CONTROL_PLANE_EXAMPLES: &str = "\
Examples:
  weft control-plane --data-dir ./weft-data
  weft control-plane --data-dir /var/lib/weft --grpc-listen 0.0.0.0:15010
  WEFT_CONFIG=./weft-data/admin.yaml weft status";

/// Reads the command line. For a daemon, the settings file that it names gives the defaults of its flags.
///
/// # Errors
/// Wrong usage, or a settings file that cannot be used. `--help` and `--version` come as [`ParseError::Flags`].
pub fn parse(args: Vec<OsString>) -> Result<Cli, SettingsError> {
    let mut command = Cli::command();
    if let Some((daemon, file)) = settings_file(&args) {
        let mut loaded = Ok(());
        command = command.mut_subcommand(daemon, |daemon| {
            settings::with_defaults(daemon.clone(), &file).unwrap_or_else(|error| {
                loaded = Err(error);
                daemon
            })
        });
        loaded?;
    }
    let matches = command.try_get_matches_from(args)?;
    Ok(Cli::from_arg_matches(&matches)?)
}

/// The file must be known before the flags are parsed, because it holds their defaults.
fn settings_file(args: &[OsString]) -> Option<(String, PathBuf)> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(args).ok()?;
    let (name, daemon) = matches.subcommand()?;
    let file = daemon.try_get_one::<PathBuf>("settings").ok()??;
    Some((name.to_owned(), file.clone()))
}

#[cfg(test)]
mod tests;
