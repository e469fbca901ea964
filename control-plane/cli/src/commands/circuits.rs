//! `weft circuits`: the circuit breakers of the sidecars, as they last reported them.

use clap::Args;
use jiff::Timestamp;
use weft_control_plane::admin_api::CircuitStatus;
use weft_proxy_api::{ServiceName, ServicePort};

use super::time;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, BAD, Cell, GOOD, Table, WARN},
};

pub const EXAMPLES: &str = "\
Examples:
  weft circuits                 all that the sidecars hold
  weft circuits orders-v2       those toward one service
  weft circuits -o json | jq '.[] | select(.state != \"closed\")'";

#[derive(Debug, Args)]
pub struct Circuits {
    /// Only the circuits toward this service: NAME, or NAMESPACE/NAME
    service: Option<String>,
}

impl Circuits {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let service = self.service.as_deref().map(|text| flags.service(text)).transpose()?;
        let mut circuits: Vec<CircuitStatus> = flags.admin()?.get("/v1/circuits").await?;
        if let Some(service) = &service {
            circuits.retain(|circuit| is_toward(circuit, service));
        }
        output::show(flags.output, &circuits, |circuits| table(circuits, Timestamp::now()))?;
        Ok(Exit::Done)
    }
}

fn is_toward(circuit: &CircuitStatus, service: &ServiceName) -> bool {
    circuit.backend.parse::<ServicePort>().is_ok_and(|backend| backend.service_name() == *service)
}

fn table(circuits: &[CircuitStatus], now: Timestamp) -> Table {
    let header = ["CALLER", "BACKEND", "ENDPOINT", "STATE", "SINCE", "OPENED", "CAUSE"];
    let mut table = Table::new(&header, "no circuits: no sidecar has sent requests to a backend yet");
    for circuit in circuits {
        table.row([
            circuit.caller.as_str().into(),
            circuit.backend.as_str().into(),
            Cell::optional(circuit.endpoint.as_deref()),
            state(circuit),
            time::ago(circuit.since, now).into(),
            format!("{}x", circuit.times_opened).into(),
            Cell::optional(Some(circuit.cause.as_str()).filter(|cause| !cause.is_empty())),
        ]);
    }
    table
}

fn state(circuit: &CircuitStatus) -> Cell {
    let style = match circuit.state.as_str() {
        "closed" => GOOD,
        "open" if !circuit.dry_run => BAD,
        _ => WARN,
    };
    let note = if circuit.dry_run { " (dry run)" } else { "" };
    Cell::styled(format!("{}{note}", circuit.state), style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circuits_are_told_apart_by_the_whole_name() {
        let circuit: CircuitStatus = serde_json::from_str(
            r#"{"workload":"a","caller":"shop/frontend","backend":"shop/orders-v2:80","endpoint":null,"state":"open",
                "cause":"5 consecutive failures","since":"2026-01-01T00:00:00Z","timesOpened":1}"#,
        )
        .unwrap();
        assert!(is_toward(&circuit, &ServiceName::new("shop", "orders-v2")));
        assert!(!is_toward(&circuit, &ServiceName::new("shop", "orders")));
        assert!(!is_toward(&circuit, &ServiceName::new("default", "orders-v2")));
        let text = table(std::slice::from_ref(&circuit), circuit.since).render();
        assert!(text.contains("5 consecutive failures") && text.contains("1x"), "{text}");
        let text = table(&[CircuitStatus { dry_run: true, ..circuit.clone() }], circuit.since).render();
        assert!(text.contains("open (dry run)"), "{text}");
    }

    #[test]
    fn a_cause_is_only_read() {
        let circuit: CircuitStatus = serde_json::from_str(
            r#"{"workload":"a","caller":"x","backend":"b\u001b[31mRED\n","endpoint":null,"state":"\u001b[31mRED\n",
                "cause":"\u001b[31mRED\n","since":"2026-01-01T00:00:00Z","timesOpened":1}"#,
        )
        .unwrap();
        let text = table(std::slice::from_ref(&circuit), circuit.since).render();
        assert!(!text.contains("\u{1b}[31mRED"), "{text:?}");
        assert_eq!((text.lines().count(), text.matches("\\u{1b}[31mRED\\n").count()), (2, 3), "{text}");
    }
}
