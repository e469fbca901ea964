//! Speed, memory and start: every work, every peer, in turns, on this machine.
//!
//! Here is what is measured and in which order. Who takes part is `peers`, what they are given `work` and `load`, what
//! must hold before a figure counts `honesty`; the figures are values of `report`, which also shows and judges them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::scale;
use machine::Machine;
use peers::{Peer, Protocol, Recipe, Variant};
use report::Report;
use site::Site;
use tools::Tools;

mod app;
mod build;
mod certificates;
mod cpu;
mod footprint;
mod honesty;
mod load;
mod machine;
mod peers;
mod process;
mod report;
mod rounds;
mod site;
mod syscalls;
mod tools;
mod work;

/// Peers whose path may be given; any other name has a recipe.
const KNOWN: [&str; 5] = ["envoy", "haproxy", "nginx", "wrk", "h2load"];
/// What is measured beside the works.
const PARTS: [&str; 4] = ["syscalls", "memory", "start", "scale"];
/// For ten thousand connections, each of which a proxy has on two sides.
const FILES: u64 = 65_536;
/// What a process has open beside connections, generously.
const FILES_BESIDE: u64 = 256;
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");

#[derive(clap::Args)]
pub struct Args {
    /// What to measure: works `a` to `h`, and `syscalls`, `memory`, `start`, `scale`; default: all of it
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    work: Vec<String>,

    /// Who takes part, by name or by family: direct, bare, weft, envoy, haproxy, …; default: everyone
    #[arg(long, value_delimiter = ',', value_name = "PEERS")]
    only: Vec<String>,

    /// Turns that everyone gets at each work; the figures are the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// How long a turn lasts, in whole seconds
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: u64,

    /// One turn of one second, 1,000 connections, no scale: to see that everything works
    #[arg(long)]
    quick: bool,

    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// Where the figures go as JSON, and the pictures
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/results"))]
    results: PathBuf,

    /// The program of a known name (envoy, haproxy, nginx, wrk, h2load), or the recipe of any other peer
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    peer: Vec<(String, PathBuf)>,

    /// Install nothing: what is missing is left out
    #[arg(long)]
    no_install: bool,

    /// Measure this sidecar instead of building one
    #[arg(long, value_name = "FILE")]
    weft_proxy: Option<PathBuf>,

    /// Measure with this control plane instead of building one
    #[arg(long, value_name = "FILE")]
    weft_control_plane: Option<PathBuf>,

    /// Build nothing: what is not given is taken from target/dist
    #[arg(long)]
    no_build: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Output {
    Table,
    Json,
}

pub async fn run(mut args: Args) -> anyhow::Result<()> {
    if args.quick {
        (args.runs, args.duration) = (1, 1);
    }
    ensure_known(&args)?;
    let mut terminated = signal(SignalKind::terminate())?;
    // Whatever runs is dropped with the future that loses, and with it go its processes.
    let report = tokio::select! {
        report = measure(&args) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("told to end"),
    };
    write(&report, &args.results)?;
    match args.output {
        Output::Table => print!("{}", report::table(&report)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    eprintln!("figures and pictures: {}", args.results.canonicalize()?.display());
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<Report> {
    let programs = build::programs(args.weft_proxy.as_deref(), args.weft_control_plane.as_deref(), args.no_build)?;
    let given: BTreeMap<_, _> = args.peer.iter().filter(|(name, _)| KNOWN.contains(&&**name)).cloned().collect();
    let tools = Tools::find(&given, Path::new(TARGET), !args.no_install)?;
    let site = Site::new(tools, programs)?;
    let mut report = Report {
        machine: Machine::this(),
        versions: site.versions(),
        binaries: site.binaries(),
        runs: args.runs,
        seconds_per_run: args.duration,
        ..Report::default()
    };
    let peers = take_part(args, &site, &mut report)?;
    let most = allow_connections().min(10_000);

    for work in work::ALL.iter().filter(|work| work.is_chosen(&args.work)) {
        let duration = Duration::from_secs(args.duration);
        let figures = rounds::run(&site, work, &peers, args.runs, duration, &mut report.left_out).await?;
        report.works.push(figures);
    }
    if args.wants("syscalls") {
        report.system_calls = footprint::system_calls(&site, &peers, &mut report.left_out).await?;
    }
    if args.wants("memory") {
        let connections: &[usize] = if args.quick { &[1_000] } else { &[1_000, most] };
        if most < 10_000 {
            report.left_out.say(format!("10,000 connections: the limit of open files here is enough for {most}"));
        }
        report.memory = footprint::memory(&site, &peers, connections, &mut report.left_out).await?;
    }
    if args.wants("start") {
        report.starts = footprint::starts(&site, &peers, args.runs, &mut report.left_out).await?;
    }
    if args.wants("scale") {
        let scale = scale::measure(&scale_args(&site)?).await;
        report.scale = report.left_out.unless("scale", scale);
    }
    report.goals = report::judge(&report);
    Ok(report)
}

impl Args {
    fn wants(&self, part: &str) -> bool {
        match self.work.is_empty() {
            true => !(self.quick && part == "scale"),
            false => self.work.iter().any(|chosen| chosen == part),
        }
    }
}

/// A name that means nothing would silently measure nothing.
fn ensure_known(args: &Args) -> anyhow::Result<()> {
    for name in &args.work {
        let chosen = std::slice::from_ref(name);
        let is_work = work::ALL.iter().any(|work| work.is_chosen(chosen));
        ensure!(is_work || PARTS.contains(&&**name), "--work {name}: expected a to h, or one of {PARTS:?}");
    }
    Ok(())
}

/// The chosen peers, of those that are on this machine. Who is not is said.
fn take_part(args: &Args, site: &Site, report: &mut Report) -> anyhow::Result<Vec<Peer>> {
    let (h1, h2) = (Protocol::H1, Protocol::H2);
    let mut peers = vec![Peer::Direct, Peer::Bare(h1), Peer::Bare(h2)];
    peers.extend([Variant::Plain, Variant::Http2App, Variant::AccessLog].map(Peer::Weft));
    peers.extend([Peer::Envoy(h1), Peer::Envoy(h2), Peer::Haproxy]);
    for (name, file) in args.peer.iter().filter(|(name, _)| !KNOWN.contains(&&**name)) {
        peers.push(Peer::Given(Arc::new(Recipe::read(name, file)?)));
    }
    peers.retain(|peer| peer.is_chosen(&args.only));
    ensure!(!peers.is_empty(), "--only {} chooses nobody", args.only.join(","));
    peers.retain(|peer| match peer.is_missing(site) {
        None => true,
        Some(why) => {
            report.left_out.say(format!("{}: {why}", peer.id()));
            false
        }
    });
    Ok(peers)
}

/// Raises the limit of open files for this process and all that it starts as far as it may, and says how many
/// connections fit below it: a proxy has each of them on two sides.
fn allow_connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let more = maximum.map(|maximum| maximum.max(FILES));
    let allowed = [more, maximum]
        .into_iter()
        .find(|&limit| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).is_ok());
    let files = allowed.flatten().unwrap_or(FILES);
    usize::try_from(files / 2 - FILES_BESIDE).unwrap_or(usize::MAX)
}

fn scale_args(site: &Site) -> anyhow::Result<scale::Args> {
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: scale::Args,
    }
    let (proxy, control_plane) = (&site.programs.weft_proxy, &site.programs.control_plane);
    let words = ["scale".as_ref(), "--weft-proxy".as_ref(), proxy.as_os_str(), "--weft-control-plane".as_ref()];
    Ok(Command::try_parse_from(words.into_iter().chain([control_plane.as_os_str()]))?.args)
}

fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(folder.join("run.json"), serde_json::to_vec_pretty(report)?)?;
    report::draw(report, folder)
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}
