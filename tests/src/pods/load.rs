//! Steady HTTP load from inside a pod, each failure of which is counted by its kind.
//!
//! It comes from a program of its own, `weft-tests-load`, which runs as the application's user, whose traffic is
//! redirected, and finds names as the pod does: [`run`] is what it does, [`LoadRun`] how a test starts it and what it learns.

mod client;

use std::{collections::BTreeMap, path::Path};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{Pod, User};
use crate::{Process, eventually};

pub use client::{Plan, run};

/// What came of the requests. Each is counted once: under `ok`, or under one kind of failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub ok: u64,
    /// Answers that are no 200, by their status.
    pub status: BTreeMap<u16, u64>,
    /// No connection came about.
    pub connect: u64,
    /// The connection broke before the whole answer was there.
    pub broken: u64,
    /// No whole answer in time.
    pub timeout: u64,
    pub connections: u64,
    pub slowest_ms: u64,
    /// What the first of the failures were.
    pub first_failures: Vec<String>,
}

impl Report {
    pub fn failed(&self) -> u64 {
        self.status.values().sum::<u64>() + self.connect + self.broken + self.timeout
    }

    pub fn assert_none_failed(&self) {
        assert!(self.failed() == 0 && self.ok > 0, "{self:#?}");
    }
}

/// A load that runs.
pub struct LoadRun {
    process: Process,
}

impl LoadRun {
    /// `url` names a host and a port. `program` is `weft-tests-load`; only a suite knows where cargo has put it.
    pub async fn start(pod: &Pod, program: &str, plan: &Plan) -> Self {
        let open = super::network::open_copy(Path::new(program), &pod.network_folder().path().join("weft-tests-load"));
        let mut command = pod.command(User::APP, open);
        command.args(plan.to_args());
        let mut process = Process::start(&format!("{}-load", pod.name()), &mut command, pod.network_folder());
        process.announces("answered ").await;
        Self { process }
    }

    /// Waits until so many more requests have been answered, well or not.
    pub async fn more(&self, count: u64) {
        let goal = self.answered() + count;
        eventually("the load goes on", async || match self.answered() {
            enough if enough >= goal => Ok(()),
            few => Err(format!("{few} of {goal} requests")),
        })
        .await;
    }

    /// How many requests have been answered, well or not.
    pub fn answered(&self) -> u64 {
        let lines = self.process.stdout();
        let last = lines.iter().rev().find_map(|line| line.strip_prefix("answered "));
        last.map_or(0, |count| count.parse().unwrap())
    }

    /// Lets the requests in flight end, and returns what came of all.
    pub async fn stop(self) -> Report {
        self.process.signal(Signal::TERM);
        self.report().await
    }

    /// Waits until all requests of the plan have been made.
    pub async fn report(mut self) -> Report {
        let line = self.process.announces("{").await;
        serde_json::from_str(&line).unwrap()
    }
}
