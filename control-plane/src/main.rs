//! `weft-control-plane`: reads its settings, starts the logs, and runs until it is told to stop.

use std::process::ExitCode;

use weft_control_plane::{app, config::Config, telemetry};
use weft_proxy_api::settings::SettingsError;

fn main() -> ExitCode {
    let config = match Config::load(std::env::args_os()) {
        Ok(config) => config,
        Err(SettingsError::Flags(error)) => error.exit(),
        Err(error) => return fail(2, &anyhow::Error::new(error)),
    };
    if let Err(error) = telemetry::start_logs(&config.log, config.log_format) {
        return fail(2, &error);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(app::run(config)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("weft-control-plane: {error:#}");
    ExitCode::from(code)
}
