//! Which pictures are drawn of a report: one per figure, as `NAME.svg`.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;
use weft_tests::figure::{Bar, bars};

use super::{Report, Run, Spread, WorkFigures};

pub fn draw(report: &Report, folder: &Path) -> anyhow::Result<()> {
    for work in &report.works {
        let heading = format!("({}) {}", work.id, work.title);
        let per = if work.body.is_some() { "GiB" } else { "100,000 requests" };
        let unit = format!("CPU seconds of all proxies per {per}; less is better");
        write(folder, &format!("cpu-{}", work.id), &heading, &unit, of_runs(work, |run| cost(work, run)))?;
        let unit = "requests per second on a machine shared by load, proxies and application; more is better";
        write(folder, &format!("rate-{}", work.id), &heading, unit, of_runs(work, Run::rate))?;
        for (name, file, percentile) in PERCENTILES {
            let unit = format!("{name} over that without a proxy, microseconds; less is better");
            write(folder, &format!("latency-{}-{file}", work.id), &heading, &unit, added(work, percentile))?;
        }
    }
    write(folder, "system-calls", "System calls per request, work (a)", "less is better", system_calls(report))?;
    write(folder, "memory-idle", "Resident memory, idle", "MiB; less is better", idle_memory(report))?;
    for connections in connection_counts(report) {
        let heading = format!("Memory per idle connection, {connections} opened in a burst");
        let file = format!("memory-{connections}");
        write(folder, &file, &heading, "KiB; less is better", per_connection(report, connections))?;
    }
    write(folder, "start", "Start to ready", "milliseconds; less is better", starts(report))?;
    write(folder, "binary", "Size of the binary", "MiB; less is better", binaries(report))?;
    write_index(report, folder)
}

/// All pictures on one page, in the order of the report.
fn write_index(report: &Report, folder: &Path) -> anyhow::Result<()> {
    let beside = ["system-calls", "memory-idle", "start", "binary"].map(str::to_owned);
    let of_work = |work: &WorkFigures| {
        let latencies = PERCENTILES.map(|(_, file, _)| format!("latency-{}-{file}", work.id));
        [format!("cpu-{}", work.id), format!("rate-{}", work.id)].into_iter().chain(latencies)
    };
    let memory = connection_counts(report).into_iter().map(|count| format!("memory-{count}"));
    let names = report.works.iter().flat_map(of_work).chain(beside).chain(memory);
    let drawn = names.filter(|name| folder.join(format!("{name}.svg")).is_file());
    let images: String = drawn.map(|name| format!("<p><img src=\"{name}.svg\" alt=\"{name}\"></p>\n")).collect();
    let page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>weft-bench</title>\n{images}");
    fs::write(folder.join("index.html"), page).context("cannot write index.html")
}

fn connection_counts(report: &Report) -> BTreeSet<usize> {
    let with = report.memory.iter().flat_map(|figures| &figures.with_connections);
    with.map(|with| with.connections).collect()
}

pub type Percentile = fn(&Run) -> Option<f64>;

/// What they are called, their short names, and where they are.
pub const PERCENTILES: [(&str, &str, Percentile); 3] = [
    ("median latency added", "p50", |run| Some(run.sample.latency?.p50)),
    ("99th percentile of the latency, added", "p99", |run| Some(run.sample.latency?.p99)),
    ("99.9th percentile of the latency, added", "p999", |run| Some(run.sample.latency?.p999)),
];

/// Nothing is drawn of nothing.
fn write(folder: &Path, name: &str, title: &str, unit: &str, rows: Vec<Bar>) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let file = folder.join(format!("{name}.svg"));
    fs::write(&file, bars(title, unit, &rows)).with_context(|| format!("cannot write {}", file.display()))
}

fn of_runs(work: &WorkFigures, figure: impl Fn(&Run) -> Option<f64>) -> Vec<Bar> {
    let bar = |figures: &super::PeerFigures| Some(Bar { name: figures.peer.clone(), value: figures.spread(&figure)? });
    work.peers.iter().filter_map(bar).collect()
}

/// Over the median of the runs without a proxy.
fn added(work: &WorkFigures, percentile: Percentile) -> Vec<Bar> {
    let Some(direct) = work.peer("direct").and_then(|direct| direct.spread(percentile)) else { return Vec::new() };
    let mut rows = of_runs(work, |run| Some(percentile(run)? - direct.median));
    rows.retain(|bar| bar.name != "direct");
    rows
}

fn cost(work: &WorkFigures, run: &Run) -> Option<f64> {
    match work.body {
        Some(body) => run.cpu_per_gib(body),
        None => run.cpu_per_100k(),
    }
}

fn bar(peer: &str, side: &str, value: f64) -> Bar {
    Bar { name: format!("{peer}, {side}"), value: Spread { median: value, min: value, max: value } }
}

fn system_calls(report: &Report) -> Vec<Bar> {
    let all = report.system_calls.iter();
    all.flat_map(|figures| figures.per_request.iter().map(|(side, calls)| bar(&figures.peer, side, *calls))).collect()
}

fn idle_memory(report: &Report) -> Vec<Bar> {
    let all = report.memory.iter();
    let mib = |kib: u64| kib as f64 / 1024.0;
    all.flat_map(|figures| figures.idle.iter().map(move |(side, kib)| bar(&figures.peer, side, mib(*kib)))).collect()
}

fn per_connection(report: &Report, connections: usize) -> Vec<Bar> {
    let mut rows = Vec::new();
    for figures in &report.memory {
        let with = figures.with_connections.iter().filter(|with| with.connections == connections);
        rows.extend(with.flat_map(|with| &with.per_connection).map(|(side, kib)| bar(&figures.peer, side, *kib)));
    }
    rows
}

fn starts(report: &Report) -> Vec<Bar> {
    let bar = |figures: &super::StartFigures| {
        Some(Bar { name: figures.peer.clone(), value: Spread::of(figures.ready_ms.clone())? })
    };
    report.starts.iter().filter_map(bar).collect()
}

fn binaries(report: &Report) -> Vec<Bar> {
    let bar = |(name, bytes): (&String, &u64)| {
        let mib = *bytes as f64 / f64::from(1 << 20);
        Bar { name: name.clone(), value: Spread { median: mib, min: mib, max: mib } }
    };
    report.binaries.iter().map(bar).collect()
}
