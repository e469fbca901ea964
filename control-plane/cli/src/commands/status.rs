//! `weft status`: the control plane, the workloads, and which version of the configuration each has acknowledged.

use jiff::Timestamp;
use weft_control_plane::admin_api::{Status, WorkloadStatus};

use super::time;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure, count},
    output::{self, BAD, BOLD, Cell, GOOD, Table, Text, WARN},
    problems,
};

pub const EXAMPLES: &str = "\
Examples:
  weft status
  weft status -o json | jq '.workloads[] | select(.serving | not)'";

pub async fn execute(flags: &ClientFlags) -> Result<Exit, Failure> {
    let status: Status = flags.admin()?.get("/v1/status").await?;
    output::show(flags.output, &status, |status| table(status, Timestamp::now()))?;
    Ok(Exit::Done)
}

fn table(status: &Status, now: Timestamp) -> Table {
    let mut table = Table::new(
        &["SERVICE", "IDENTITY", "ADDRESS", "LABELS", "STATE", "ACKNOWLEDGED", "SVID EXPIRES"],
        "no workloads yet: start one with `weft run --service NAME --port PORT -- COMMAND`",
    );
    let Status { version, trust_domain, revision, started, issuer_not_after, .. } = status;
    let (started, expires) = (time::ago(*started, now), time::until(*issuer_not_after, now));
    let facts = [
        ("control plane", format!("  weft {version}, started {started}")),
        ("trust domain", format!("   {trust_domain}, issuing CA expires {expires}")),
        ("revision", format!("       {revision}")),
    ];
    facts.iter().for_each(|(name, value)| table.line_before(Text::styled(name, BOLD).and(value)));
    table.line_before("");
    for workload in &status.workloads {
        table.row(row(workload, *revision, now));
    }
    let rejected = status.workloads.iter().flat_map(|w| w.rejected.iter().map(move |reason| (&w.spiffe_id, reason)));
    for (id, reason) in rejected {
        table.line(Text::styled(format!("{id} refused"), BAD).and(format!(" {reason}")));
    }
    if !status.problems.is_empty() {
        table.line("");
        table.line(Text::styled(format!("{}:", count(status.problems.len(), "problem")), WARN));
        status.problems.iter().for_each(|problem| table.line(problems::render(problem)));
    }
    table
}

fn row(workload: &WorkloadStatus, revision: u64, now: Timestamp) -> [Cell; 7] {
    let labels: Vec<_> = workload.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    [
        Cell::optional(workload.service.as_deref()),
        workload.spiffe_id.as_str().into(),
        Cell::optional(addresses(workload)),
        Cell::optional(Some(labels.join(",")).filter(|text| !text.is_empty())),
        state(workload),
        acknowledged(workload, revision),
        Cell::optional(workload.svid_not_after.map(|time| time::until(time, now))),
    ]
}

/// All ports behind the address of the first: `10.0.0.1:8080,9090`.
fn addresses(workload: &WorkloadStatus) -> Option<String> {
    let further = workload.ports.iter().skip(1).map(|port| format!(",{}", port.address.port()));
    workload.address.clone().map(|first| first + &further.collect::<String>())
}

fn state(workload: &WorkloadStatus) -> Cell {
    let down: Vec<_> = workload.ports.iter().filter(|port| !port.serving).collect();
    if workload.connected && !down.is_empty() && down.len() < workload.ports.len() {
        let down: Vec<_> = down.iter().map(|port| port.address.port().to_string()).collect();
        return Cell::styled(format!("not serving at {}: {}", down.join(","), workload.cause), WARN);
    }
    match (workload.connected, workload.serving, &workload.service) {
        (false, ..) => Cell::styled("disconnected", BAD),
        (true, true, _) => Cell::styled("serving", GOOD),
        (true, false, Some(_)) if workload.cause.is_empty() => Cell::styled("not serving", WARN),
        (true, false, Some(_)) => Cell::styled(format!("not serving: {}", workload.cause), WARN),
        (true, false, None) => Cell::styled("calling only", GOOD),
    }
}

fn acknowledged(workload: &WorkloadStatus, revision: u64) -> Cell {
    match workload.acknowledged {
        Some(acknowledged) if acknowledged == revision => Cell::styled(format!("revision {revision}"), GOOD),
        Some(acknowledged) => Cell::styled(format!("revision {acknowledged}"), WARN),
        None => Cell::styled("nothing yet", WARN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn who_is_behind_or_gone_is_told_apart() {
        let status = status(
            r#"{"version":"0.1.0","trustDomain":"weft.local","revision":7,"started":"2026-01-01T00:00:00Z",
                "issuerNotAfter":"2026-04-01T00:00:00Z","problems":[],"workloads":[
                {"id":"a","spiffeId":"spiffe://weft.local/ns/shop/sa/orders","service":"orders","address":"127.0.0.1:1",
                 "labels":{"version":"v1"},"connected":true,"serving":true,"acknowledged":7,"rejected":[],
                 "svidNotAfter":"2026-01-02T00:00:00Z","version":"0.1.0"},
                {"id":"c","spiffeId":"spiffe://weft.local/ns/shop/sa/queue","service":"queue","address":"10.0.0.1:5672",
                 "ports":[{"servicePort":5672,"address":"10.0.0.1:5672","serving":true},
                 {"servicePort":15672,"address":"10.0.0.1:15672","serving":false}],"cause":"refused",
                 "labels":{},"connected":true,"serving":false,"acknowledged":7,"rejected":[],
                 "svidNotAfter":null,"version":"0.1.0"},
                {"id":"b","spiffeId":"spiffe://weft.local/ns/shop/sa/jobs","service":null,"address":null,"labels":{},
                 "connected":false,"serving":false,"acknowledged":6,"rejected":["Destination shop/x:80: routes: why"],
                 "svidNotAfter":null,"version":"0.1.0"}]}"#,
        );
        let text = anstream::adapter::strip_str(&table(&status, status.started).render()).to_string();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("sa/orders").contains("serving") && line("sa/orders").contains("revision 7"), "{text}");
        assert!(line("sa/orders").ends_with("in 24h"), "{text}");
        let queue = line("sa/queue");
        assert!(queue.contains("10.0.0.1:5672,15672") && queue.contains("not serving at 15672: refused"), "{text}");
        assert!(line("sa/jobs").contains("disconnected") && line("sa/jobs").contains("revision 6"), "{text}");
        assert!(text.contains("sa/jobs refused Destination shop/x:80"), "{text}");
    }

    #[test]
    fn what_workloads_say_of_themselves_is_only_read() {
        let status = status(
            r#"{"version":"0.1\u001b[31mRED\n","trustDomain":"weft.local","revision":7,"started":"2026-01-01T00:00:00Z",
                "issuerNotAfter":"2026-04-01T00:00:00Z","problems":[],"workloads":[
                {"id":"a","spiffeId":"spiffe://weft.local/ns/shop/sa/a","service":"a","address":"\u001b[31mRED\n",
                 "labels":{"k\u001b[31mRED\n":"\u001b[31mRED\n"},"connected":true,"serving":true,"acknowledged":7,
                 "rejected":["\u001b[31mRED\n"],"svidNotAfter":null,"version":"0.1.0"}]}"#,
        );
        let text = table(&status, status.started).render();
        assert!(!text.contains("\u{1b}[31mRED"), "{text:?}");
        assert_eq!(text.matches("\\u{1b}[31mRED\\n").count(), 5, "{text}");
        assert_eq!(
            text.lines().count(),
            7,
            "three facts, a line between, the heading, a workload, its refusal: {text}"
        );
    }
}
