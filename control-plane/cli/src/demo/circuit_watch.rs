//! Watches one circuit of the frontend's sidecar, as `weft circuits` shows it.

use weft_control_plane::admin_api::CircuitStatus;

use super::scene::is_frontend;

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
