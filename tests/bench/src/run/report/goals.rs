//! What weft is held to: each figure with what it must be and what is aimed for, and whether this run met it.
//!
//! A ratio is the median of the ratios of the runs: weft and its peer took turns, so that what disturbed the machine for
//! a while disturbed both.

use serde::Serialize;

use super::{Report, Run, Spread, WorkFigures};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    pub figure: &'static str,
    pub unit: &'static str,
    pub must: f64,
    pub aim: f64,
    /// Nothing where it was not measured.
    pub measured: Option<f64>,
    pub verdict: &'static str,
}

type Measure = fn(&Report) -> Option<f64>;

/// Figure, unit, must be at most, aimed at, and where it comes from.
const GOALS: [(&str, &str, f64, f64, Measure); 12] = [
    ("CPU per request, work (a), against bare", "×", 1.15, 1.0, |report| cpu(report, "a", &["bare"])),
    ("CPU per request, work (a), against haproxy h1", "×", 0.95, 0.80, |report| cpu(report, "a", &["haproxy"])),
    ("CPU per request, work (a), against Envoy h2", "×", 0.42, 0.33, |report| cpu(report, "a", &["envoy-h2"])),
    ("CPU per request, work (c), against Envoy h2", "×", 0.60, 0.45, |report| cpu(report, "c", &["envoy-h2"])),
    ("CPU per request, work (d), against Envoy h2", "×", 0.60, 0.45, |report| cpu(report, "d", &["envoy-h2"])),
    ("median latency added, work (b), against haproxy", "×", 1.0, 0.8, added_latency),
    ("CPU per GiB, 1 MiB bodies, against the better Envoy", "×", 0.90, 0.75, |report| {
        cpu(report, "e-1m", &["envoy-h1", "envoy-h2"])
    }),
    ("system calls per request of the busier proxy", "", 4.4, 3.5, system_calls),
    ("idle resident memory of the larger sidecar", "MiB", 12.0, 8.0, idle_memory),
    ("memory per idle connection of 1,000, larger side", "KiB", 24.0, 12.0, per_connection),
    ("memory that 20,000 services add to a sidecar", "MiB", 1.0, 0.0, scale),
    ("start to ready", "ms", 150.0, 50.0, start),
];

pub fn judge(report: &Report) -> Vec<Goal> {
    let goal = |(figure, unit, must, aim, measure): (_, _, f64, f64, Measure)| {
        let measured = measure(report);
        Goal { figure, unit, must, aim, measured, verdict: verdict(measured, must, aim) }
    };
    GOALS.map(goal).to_vec()
}

fn verdict(measured: Option<f64>, must: f64, aim: f64) -> &'static str {
    match measured {
        None => "not measured",
        Some(value) if value <= aim => "met, and the aim",
        Some(value) if value <= must => "met",
        Some(_) => "missed",
    }
}

/// weft's CPU per request against that of the best of `peers`.
fn cpu(report: &Report, work: &str, peers: &[&str]) -> Option<f64> {
    let work = report.work(work)?;
    let against = |peer: &&str| ratio(work, "weft", peer, Run::cpu_per_100k);
    peers.iter().filter_map(against).reduce(f64::max)
}

fn ratio(work: &WorkFigures, peer: &str, other: &str, figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let runs = work.peer(peer)?.runs.iter().zip(&work.peer(other)?.runs);
    let ratios = runs.filter_map(|(run, other)| Some(figure(run)? / figure(other)?)).collect();
    Spread::of(ratios).map(|spread| spread.median)
}

fn added_latency(report: &Report) -> Option<f64> {
    let work = report.work("b")?;
    let median = |peer| work.peer(peer)?.spread(|run| Some(run.sample.latency?.p50)).map(|spread| spread.median);
    let direct = median("direct")?;
    Some((median("weft")? - direct) / (median("haproxy")? - direct))
}

fn system_calls(report: &Report) -> Option<f64> {
    let weft = report.system_calls.iter().find(|figures| figures.peer == "weft")?;
    weft.per_request.iter().map(|(_, calls)| *calls).reduce(f64::max)
}

fn idle_memory(report: &Report) -> Option<f64> {
    let weft = report.memory.iter().find(|figures| figures.peer == "weft")?;
    weft.idle.iter().map(|(_, kib)| *kib as f64 / 1024.0).reduce(f64::max)
}

fn per_connection(report: &Report) -> Option<f64> {
    let weft = report.memory.iter().find(|figures| figures.peer == "weft")?;
    let with = weft.with_connections.iter().find(|with| with.connections == 1_000)?;
    with.per_connection.iter().map(|(_, kib)| *kib).reduce(f64::max)
}

fn scale(report: &Report) -> Option<f64> {
    let sizes = &report.scale.as_ref()?.sizes;
    let largest = sizes.iter().find(|size| size.services == 20_000)?;
    let baseline = sizes.first()?;
    Some((largest.sidecar.resident_kib as f64 - baseline.sidecar.resident_kib as f64) / 1024.0)
}

fn start(report: &Report) -> Option<f64> {
    let weft = report.starts.iter().find(|figures| figures.peer == "weft")?;
    Spread::of(weft.ready_ms.clone()).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{
        cpu::CpuTime,
        load::{Latency, Sample},
        report::{PeerFigures, SideCpu},
    };

    fn figures(peer: &str, runs: &[(u64, f64)]) -> PeerFigures {
        let cpu = |nanoseconds| {
            let mut cpu = CpuTime::default();
            cpu.nanoseconds = nanoseconds;
            cpu
        };
        let run = |&(nanoseconds, p50): &(u64, f64)| Run {
            sample: Sample {
                requests: 1000,
                seconds: 1.0,
                failed: 0,
                latency: Some(Latency { p50, p99: p50, p999: p50 }),
            },
            sides: vec![SideCpu { side: "outbound", cpu: cpu(nanoseconds) }],
        };
        PeerFigures { peer: peer.to_owned(), runs: runs.iter().map(run).collect() }
    }

    fn report(id: &'static str, peers: Vec<PeerFigures>) -> Report {
        Report { works: vec![WorkFigures { id, title: "", body: None, peers }], ..Report::default() }
    }

    #[test]
    fn ratios_are_of_runs_that_took_turns() {
        let weft = figures("weft", &[(10, 0.0), (100, 0.0), (12, 0.0)]);
        let haproxy = figures("haproxy", &[(20, 0.0), (200, 0.0), (20, 0.0)]);
        let report = report("a", vec![weft, haproxy]);
        assert_eq!(cpu(&report, "a", &["haproxy"]), Some(0.5));
        assert_eq!(cpu(&report, "a", &["bare"]), None);
    }

    #[test]
    fn added_latency_is_over_direct() {
        let peers =
            vec![figures("direct", &[(1, 10.0)]), figures("weft", &[(1, 50.0)]), figures("haproxy", &[(1, 90.0)])];
        assert_eq!(added_latency(&report("b", peers)), Some(0.5));
    }

    #[test]
    fn every_goal_gets_a_verdict() {
        let goals = judge(&Report::default());
        assert!(goals.len() == GOALS.len() && goals.iter().all(|goal| goal.verdict == "not measured"));
        assert_eq!([0.9, 1.1, 1.2].map(|value| verdict(Some(value), 1.15, 1.0)), ["met, and the aim", "met", "missed"]);
    }
}
