//! What was measured, as values: read by the table, the pictures, the goals, and, as JSON, by anyone.

use std::collections::BTreeMap;

use serde::Serialize;
pub use weft_tests::figure::Spread;

use super::{cpu::CpuTime, load::Sample, machine::Machine};
use crate::scale::Scale;

mod goals;
mod pictures;
mod table;

pub use goals::{Goal, judge};
pub use pictures::draw;
pub use table::table;

#[derive(Default, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// By program.
    pub versions: BTreeMap<String, String>,
    /// Bytes, by program.
    pub binaries: BTreeMap<String, u64>,
    pub runs: u32,
    pub seconds_per_run: u64,
    pub works: Vec<WorkFigures>,
    pub system_calls: Vec<SystemCalls>,
    pub memory: Vec<MemoryFigures>,
    pub starts: Vec<StartFigures>,
    pub scale: Option<Scale>,
    /// What was asked for and is not in here, and why.
    pub left_out: LeftOut,
    pub goals: Vec<Goal>,
}

#[derive(Serialize)]
pub struct WorkFigures {
    pub id: &'static str,
    pub title: &'static str,
    /// Bytes of an answer's body where the cost follows them.
    pub body: Option<u64>,
    pub peers: Vec<PeerFigures>,
}

/// Of one peer in one work: the runs in the order in which they took turns with those of the others.
#[derive(Serialize)]
pub struct PeerFigures {
    pub peer: String,
    pub runs: Vec<Run>,
}

#[derive(Clone, Serialize)]
pub struct Run {
    pub sample: Sample,
    /// What the proxies spent on it, the one at the entry first.
    pub sides: Vec<SideCpu>,
}

#[derive(Clone, Serialize)]
pub struct SideCpu {
    pub side: &'static str,
    pub cpu: CpuTime,
}

#[derive(Serialize)]
pub struct SystemCalls {
    pub peer: String,
    /// Per request of work (a), by side.
    pub per_request: Vec<(&'static str, f64)>,
    /// The program that counted.
    pub counted_by: &'static str,
}

#[derive(Serialize)]
pub struct MemoryFigures {
    pub peer: String,
    /// KiB by side, after one request.
    pub idle: Vec<(&'static str, u64)>,
    pub with_connections: Vec<WithConnections>,
}

#[derive(Serialize)]
pub struct WithConnections {
    pub connections: usize,
    /// KiB by side, in all.
    pub resident: Vec<(&'static str, u64)>,
    /// KiB by side, for each connection, over idle.
    pub per_connection: Vec<(&'static str, f64)>,
}

#[derive(Serialize)]
pub struct StartFigures {
    pub peer: String,
    /// Of the proxy at the entry: until it says that it is ready, or accepts a connection where it says nothing.
    pub ready_ms: Vec<f64>,
}

/// Each is also said at once, on standard error.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub struct LeftOut(Vec<String>);

impl LeftOut {
    pub fn say(&mut self, what: String) {
        eprintln!("  left out: {what}");
        self.0.push(what);
    }

    /// The value of a result. What has failed is left out with its reason.
    pub fn unless<T>(&mut self, what: &str, result: anyhow::Result<T>) -> Option<T> {
        result.inspect_err(|error| self.say(format!("{what}: {error:#}"))).ok()
    }
}

impl Report {
    pub fn work(&self, id: &str) -> Option<&WorkFigures> {
        self.works.iter().find(|work| work.id == id)
    }
}

impl WorkFigures {
    pub fn peer(&self, id: &str) -> Option<&PeerFigures> {
        self.peers.iter().find(|figures| figures.peer == id)
    }
}

impl PeerFigures {
    /// A figure of every run that has it.
    pub fn spread(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(figure).collect())
    }

    pub fn failed(&self) -> u64 {
        self.runs.iter().map(|run| run.sample.failed).sum()
    }
}

impl Run {
    /// CPU seconds of all proxies for 100,000 requests.
    pub fn cpu_per_100k(&self) -> Option<f64> {
        self.cpu_seconds().map(|seconds| seconds * 1e5 / self.sample.requests as f64)
    }

    pub fn side_cpu_per_100k(&self, index: usize) -> Option<f64> {
        let side = self.sides.get(index).filter(|_| self.sample.requests > 0)?;
        Some(side.cpu.nanoseconds as f64 / 1e9 * 1e5 / self.sample.requests as f64)
    }

    /// CPU seconds of all proxies for a GiB of bodies.
    pub fn cpu_per_gib(&self, body: u64) -> Option<f64> {
        let bytes = (self.sample.requests * body) as f64;
        self.cpu_seconds().map(|seconds| seconds * f64::from(1 << 30) / bytes)
    }

    /// The share of its CPU time outside the kernel, from 0 to 1.
    pub fn user_share(&self) -> Option<f64> {
        let all: u64 = self.sides.iter().map(|side| side.cpu.nanoseconds).sum();
        let user: f64 = self.sides.iter().map(|side| side.cpu.nanoseconds as f64 * side.cpu.user_share).sum();
        (all > 0).then(|| user / all as f64)
    }

    pub fn rate(&self) -> Option<f64> {
        Some(self.sample.requests as f64 / self.sample.seconds)
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let nanoseconds: u64 = self.sides.iter().map(|side| side.cpu.nanoseconds).sum();
        (self.sample.requests > 0 && !self.sides.is_empty()).then_some(nanoseconds as f64 / 1e9)
    }
}
