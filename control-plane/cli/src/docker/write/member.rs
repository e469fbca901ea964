//! The part of the file for one service: the service itself, the holder of its network, the sidecar.

use serde_json::Value;

use super::{DEFAULT_NAMESPACE, GRPC_PORT, Setting, Text, confined, health, on_network};
use crate::docker::{
    names::{CONTROL_PLANE, JOIN, ROLE, SERVICE},
    plan::Member,
    yaml::{comment, flow, list, scalar},
};

pub fn write(text: &mut Text, member: &Member, setting: &Setting<'_>) {
    let name = &member.service;
    application(text, member);

    text.part(format!("{name}: its network."));
    text.line(format!("  {name}-net:"));
    added(text, member, setting);
    text.field("entrypoint", "[weft-proxy]");
    text.field("command", "[redirect, --dns, --set, --check, --hold]");
    text.field("user", "\"0:0\"");
    text.entries(
        "networks",
        member.networks.iter().map(|(network, value)| format!("{}: {}", scalar(network), flow(value))),
    );
    member.moved.iter().for_each(|(field, value)| moved(text, field, value));
    text.field("read_only", "true");
    confined(text);
    text.field("cap_add", "[NET_ADMIN]");
    text.field("restart", "unless-stopped");
    health(text, "network");
    // It stays until the sidecar has drained.
    text.field("stop_grace_period", "45s");
    labels(text, member, "network");

    sidecar(text, member, setting);
}

/// The service itself: what of its fields goes, and what it waits for.
fn application(text: &mut Text, member: &Member) {
    let name = &member.service;
    let known = if member.mesh == *name { String::new() } else { format!(", known in the mesh as {}", member.mesh) };
    let ports = match member.ports.as_slice() {
        [] => "only calls others".to_owned(),
        ports => format!("serves {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    text.line("");
    text.line(format!("  # ---- {name}: {ports}{known}"));
    for note in &member.notes {
        text.line(format!("  # Note: {}", comment(note)));
    }
    text.line(format!("  {}:", scalar(name)));
    text.field("network_mode", format!("service:{name}-net"));
    text.field("networks", "!reset null");
    for (field, value) in &member.moved {
        text.field(field, if value.is_array() { "!reset []" } else { "!reset null" });
    }
    text.entries(
        "depends_on",
        [
            format!("{name}-net: {{condition: service_healthy, restart: true}}"),
            format!("{name}-weft: {{condition: service_healthy}}"),
        ],
    );
}

fn moved(text: &mut Text, field: &str, value: &Value) {
    match value {
        Value::Array(items) if items.len() > 1 => {
            text.entries(field, items.iter().map(|item| format!("- {}", flow(item))))
        }
        value => text.field(field, flow(value)),
    }
}

fn sidecar(text: &mut Text, member: &Member, setting: &Setting<'_>) {
    let name = &member.service;
    text.part(format!("{name}: its sidecar."));
    text.line(format!("  {name}-weft:"));
    added(text, member, setting);
    text.field("entrypoint", "[weft-proxy]");
    text.entries("environment", environment(member, setting).into_iter().map(|(key, value)| format!("{key}: {value}")));
    text.field("volumes", list([scalar(&format!("{name}-weft:/var/lib/weft"))]));
    text.field("network_mode", format!("service:{name}-net"));
    text.field("depends_on", format!("{{{JOIN}: {{condition: service_completed_successfully}}}}"));
    health(text, "sidecar, network");
    // As long as it waits for requests in flight, and some more.
    text.field("stop_grace_period", "40s");
    text.field("read_only", "true");
    confined(text);
    text.field("restart", "unless-stopped");
    labels(text, member, "sidecar");
}

fn environment(member: &Member, setting: &Setting<'_>) -> Vec<(&'static str, String)> {
    let host = match member.reached.chosen {
        true => on_network(&member.reached.network),
        false => CONTROL_PLANE.to_owned(),
    };
    let mut settings = vec![
        ("WEFT_CONTROL_PLANE", scalar(&format!("{host}:{GRPC_PORT}"))),
        ("WEFT_TRUST_ANCHOR", "/var/lib/weft/trust-anchor.pem".to_owned()),
        ("WEFT_JOIN_TOKEN_FILE", "/var/lib/weft/join-token".to_owned()),
        ("WEFT_STATE_DIR", "/var/lib/weft/state".to_owned()),
    ];
    if setting.namespace != DEFAULT_NAMESPACE {
        settings.push(("WEFT_NAMESPACE", scalar(setting.namespace)));
    }
    if let Some(first) = member.ports.first() {
        let ports: Vec<_> = member.ports.iter().map(u16::to_string).collect();
        settings.push(("WEFT_SERVICE", scalar(&member.mesh)));
        settings.push(("WEFT_SERVICE_PORT", format!("\"{}\"", ports.join(","))));
        // Redirected connections go on to the address that they were made to: this says no more than the port.
        settings.push(("WEFT_APP", format!("\"0.0.0.0:{first}\"")));
    }
    settings.push(("WEFT_INTERCEPT", "\"true\"".to_owned()));
    settings.push(("WEFT_DNS", "\"true\"".to_owned()));
    // For probes and metrics from outside of the container.
    settings.push(("WEFT_ADMIN_LISTEN", "\"0.0.0.0:15020\"".to_owned()));
    settings
}

/// What everything that is added beside a service has in common with it.
fn added(text: &mut Text, member: &Member, setting: &Setting<'_>) {
    text.field("image", scalar(setting.image));
    if !member.profiles.is_empty() {
        text.field("profiles", list(member.profiles.iter().map(flow)));
    }
}

fn labels(text: &mut Text, member: &Member, role: &str) {
    text.field("labels", format!("{{{ROLE}: {role}, {SERVICE}: {}}}", scalar(&member.mesh)));
}
