//! `weft`: the one binary of the mesh. Reads the command line, runs the command, reports how it ended.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod cli;
mod client;
mod commands;
mod credentials;
mod demo;
mod docker;
mod exit;
mod lifeline;
mod output;
mod plain_http;
mod problems;
mod run;
mod signals;
mod sources;
mod temporary;

use std::process::ExitCode;

use exit::Failure;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(cli::ParseError::Flags(error)) => error.exit(),
        Err(error) => {
            let failure = Failure::Usage(error.to_string());
            problems::report(&failure);
            return ExitCode::from(failure.code());
        }
    };
    output::set_color(cli.color);
    let result = commands::execute(cli);
    if let Err(failure) = &result {
        problems::report(failure);
    }
    exit::code(&result)
}
