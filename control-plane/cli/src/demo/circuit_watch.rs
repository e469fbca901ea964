//! Watches one circuit of the frontend's sidecar, as `weft circuits` shows it.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use weft_control_plane::admin_api::CircuitStatus;

use super::{
    scene::{Scene, is_frontend},
    traffic::Flow,
};

const POLL: Duration = Duration::from_millis(20);

pub const CLOSED: &str = "closed";
pub const OPEN: &str = "open";
pub const HALF_OPEN: &str = "half-open";

/// The states in the order in which they were seen, each change once.
#[derive(Debug)]
pub struct CircuitWatch {
    backend: &'static str,
    seen: Vec<String>,
    cause: String,
}

impl CircuitWatch {
    pub fn new(backend: &'static str) -> Self {
        Self { backend, seen: Vec::new(), cause: String::new() }
    }

    pub fn look(&mut self, circuits: Vec<CircuitStatus>) {
        let found = circuits.into_iter().find(|circuit| {
            circuit.endpoint.is_none() && circuit.backend == self.backend && is_frontend(Some(&circuit.caller))
        });
        let Some(circuit) = found else { return };
        if self.seen.last() != Some(&circuit.state) {
            self.seen.push(circuit.state.clone());
        }
        if circuit.state == OPEN {
            self.cause = circuit.cause;
        }
    }

    /// Watches the circuit until `done` or until `limit` has passed; whether it was `done`.
    ///
    /// # Errors
    /// A process has ended.
    pub async fn until(
        &mut self,
        scene: &mut Scene<'_>,
        flow: &Flow,
        limit: Duration,
        done: impl Fn(&CircuitWatch) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        scene.view.doing("requests go on");
        while Instant::now() < deadline {
            scene.processes.check_alive()?;
            self.look(scene.admin.get("/v1/circuits").await?);
            scene.view.sample(&flow.so_far(), Some(self.now()));
            if done(self) {
                return Ok(true);
            }
            sleep(POLL).await;
        }
        Ok(false)
    }

    /// No circuit is reported before its backend has been used: it is closed.
    pub fn now(&self) -> &str {
        self.seen.last().map_or(CLOSED, String::as_str)
    }

    pub fn has_seen(&self, state: &str) -> bool {
        self.seen.iter().any(|seen| seen == state)
    }

    /// Why it opened, the last time.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// `closed → open → half-open → closed`
    pub fn path(&self) -> String {
        self.seen.join(" → ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit(backend: &str, endpoint: Option<&str>, state: &str) -> CircuitStatus {
        CircuitStatus {
            workload: "w".into(),
            caller: "default/frontend".into(),
            backend: backend.into(),
            endpoint: endpoint.map(str::to_owned),
            state: state.into(),
            cause: "5 consecutive failures".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
            times_opened: 1,
            dry_run: false,
        }
    }

    #[test]
    fn only_the_backends_own_circuit_counts_and_each_change_once() {
        let mut watch = CircuitWatch::new("default/orders-v2:80");
        assert_eq!(watch.now(), CLOSED);
        for state in [CLOSED, OPEN, OPEN, HALF_OPEN, CLOSED] {
            watch.look(vec![
                circuit("default/orders-v2:80", Some("e"), OPEN),
                circuit("default/orders-v1:80", None, OPEN),
                circuit("default/orders-v2:80", None, state),
            ]);
        }
        assert_eq!(watch.path(), "closed → open → half-open → closed");
        assert_eq!(watch.cause(), "5 consecutive failures");
        assert!(watch.has_seen(HALF_OPEN));
        watch.look(Vec::new());
        assert_eq!(watch.now(), CLOSED);
    }
}
