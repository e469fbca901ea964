//! The benchmark: one program that starts weft and its peers, gives them the same work in turn, and says what each of
//! it costs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use clap::Parser;

mod instructions;
mod run;
mod scale;

/// Measures weft against its peers on this machine.
#[derive(Parser)]
#[command(name = "weft-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: run::Args,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Speed, memory and start: every work, every peer, interleaved (the default)
    Run(run::Args),
    /// What a mesh of thousands of services costs a sidecar and the control plane
    Scale(scale::Args),
    /// Instructions per request, counted by callgrind, against the figures that are checked in
    Instructions(instructions::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Cli { command, run } = Cli::parse();
    match command.unwrap_or(Command::Run(run)) {
        Command::Run(args) => run::run(args).await,
        Command::Scale(args) => scale::run(args).await,
        Command::Instructions(args) => instructions::run(args).await,
    }
}
