//! One small file per command: its arguments, what it asks the control plane, how it shows the answer.

pub mod apply;
pub mod check;
pub mod circuits;
pub mod completion;
pub mod delete;
pub mod diff;
pub mod endpoints;
pub mod export;
pub mod get;
pub mod history;
pub mod probe;
pub mod rollback;
pub mod routes;
pub mod status;
pub mod token;

mod change;
mod objects;
mod time;

use anyhow::Context;
use weft_proxy::redirect::{self, Redirect};

use crate::{
    cli::{Cli, ClientFlags, Command, Proxy},
    demo,
    exit::{Exit, Failure},
    lifeline,
};

/// Runs the command. The daemons make their own runtimes, `redirect` needs none; everything else shares one small one.
pub fn execute(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::ControlPlane(config) => control_plane(*config),
        Command::Proxy(proxy) => self::proxy(*proxy),
        Command::Redirect(redirect) => self::redirect(&redirect),
        command => runtime()?.block_on(ask(command, &cli.client)),
    }
}

fn control_plane(config: weft_control_plane::config::Config) -> Result<Exit, Failure> {
    weft_control_plane::telemetry::start_logs(&config.log, config.log_format)?;
    runtime()?.block_on(weft_control_plane::app::run(config))?;
    Ok(Exit::Done)
}

fn proxy(proxy: Proxy) -> Result<Exit, Failure> {
    proxy.config.check().map_err(Failure::Usage)?;
    if proxy.until_stdin_closes {
        lifeline::terminate_at_its_end(std::io::stdin())
            .context("cannot start the thread that watches standard input")?;
    }
    weft_proxy::app::run(proxy.config)?;
    Ok(Exit::Done)
}

fn redirect(redirect: &Redirect) -> Result<Exit, Failure> {
    match redirect::run(redirect, &mut std::io::stdout().lock()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.is_usage() => Err(Failure::Usage(error.to_string())),
        Err(error) => Err(Failure::Other(error.into())),
    }
}

async fn ask(command: Command, flags: &ClientFlags) -> Result<Exit, Failure> {
    match command {
        Command::Demo(demo) => demo.execute(flags).await,
        Command::DemoApp(app) => Ok(app.execute().await.map(|()| Exit::Done)?),
        Command::DemoWatchdog => Ok(demo::watchdog::execute().map(|()| Exit::Done)?),
        Command::Run(run) => run.execute(flags).await,
        Command::Docker(docker) => docker.execute(flags).await,
        Command::Token(token) => token.execute(flags).await,
        Command::Probe(probe) => probe.execute(flags).await,
        Command::Apply(apply) => apply.execute(flags).await,
        Command::Get(get) => get.execute(flags).await,
        Command::Delete(delete) => delete.execute(flags).await,
        Command::Diff(diff) => diff.execute(flags).await,
        Command::Check(check) => check.execute(flags).await,
        Command::History(history) => history.execute(flags).await,
        Command::Rollback(rollback) => rollback.execute(flags).await,
        Command::Export(export) => export.execute(flags).await,
        Command::Status => status::execute(flags).await,
        Command::Endpoints(endpoints) => endpoints.execute(flags).await,
        Command::Routes(routes) => routes.execute(flags).await,
        Command::Circuits(circuits) => circuits.execute(flags).await,
        Command::Completion(completion) => completion.execute(),
        Command::ControlPlane(_) | Command::Proxy(_) | Command::Redirect(_) => {
            Err(Failure::Usage("this command brings its own runtime".to_owned()))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?)
}
