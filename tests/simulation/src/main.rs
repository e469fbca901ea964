//! Runs all scenarios, prints what they gave, and says which of the claims do not hold.

use std::process::ExitCode;

use clap::Parser;
use weft_simulation::{
    report::{self, Result},
    scenarios,
};

/// Simulates failures in a mesh, with and without the policies that meet them.
#[derive(Parser)]
#[command(name = "weft-simulation")]
struct Cli {
    /// How many seeds, from 0 on
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// Only the scenario of this name
    #[arg(long)]
    only: Option<String>,

    /// Puts the results into docs/resilience.md and draws its pictures
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| cli.only.as_ref().is_none_or(|name| name == scenario.name));
    let results: Vec<Result> = scenarios.into_iter().map(|scenario| Result::of(scenario, cli.seeds.max(1))).collect();
    println!("{}", report::section(&results));
    if cli.write {
        report::write(&results)?;
    }
    let broken: Vec<_> = results.iter().flat_map(Result::broken).collect();
    for report::Broken { seed, says } in &broken {
        eprintln!("does not hold with seed {seed}: {says}");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
