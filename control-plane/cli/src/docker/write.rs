//! The text of the override file: made for people, who read it before they trust it.

mod member;

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use super::{
    names::{CONTROL_PLANE, JOIN, NETWORK, ROLE, RULES},
    plan::Plan,
    rules,
    yaml::{comment, flow, list, scalar},
};

/// By this a file is known as one that weft has written.
pub const FIRST_LINE: &str = "# Written by `weft docker init`";
const GRPC_PORT: u16 = 15010;
const DEFAULT_NAMESPACE: &str = "default";

/// What the text says besides the plan.
pub struct Setting<'a> {
    pub image: &'a str,
    /// Of every service in the mesh; a DNS label.
    pub namespace: &'a str,
    /// The project's own files, and the one that is written, as they stand after `docker compose`.
    pub files: &'a [String],
    pub file: &'a str,
}

pub fn text(plan: &Plan, setting: &Setting<'_>) -> String {
    let mut text = Text::default();
    head(&mut text, plan, setting);
    text.line("services:");
    control_plane(&mut text, plan, setting);
    join(&mut text, plan, setting);
    plan.members.iter().for_each(|member| member::write(&mut text, member, setting));
    plan.relinked.iter().for_each(|(service, links)| relinked(&mut text, service, links));
    foot(&mut text, plan, setting);
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0 += line.as_ref();
        self.0.push('\n');
    }

    /// A comment over a part of the file.
    fn part(&mut self, what: impl AsRef<str>) {
        self.line("");
        self.line(format!("  # {}", comment(what.as_ref())));
    }

    /// A field of a service, if there is something to say.
    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.line(format!("    {name}: {}", value.as_ref()));
    }

    /// A field with an entry on each line.
    fn entries(&mut self, name: &str, entries: impl IntoIterator<Item = String>) {
        self.line(format!("    {name}:"));
        entries.into_iter().for_each(|entry| self.line(format!("      {entry}")));
    }
}

fn head(text: &mut Text, plan: &Plan, setting: &Setting<'_>) {
    let own: String = setting.files.iter().fold(String::new(), |mut all, file| {
        // Writing to a String cannot fail.
        let _ = write!(all, "-f {file} ");
        all
    });
    let (own, file) = (comment(&own), comment(setting.file));
    text.line(format!("{FIRST_LINE} ({}), for the project {}.", env!("CARGO_PKG_VERSION"), comment(&plan.project)));
    text.line("# It puts a sidecar of the weft mesh beside each service; the project's own files stay as they are.");
    text.line("#");
    text.line(format!("#   use it   docker compose {own}-f {file} up -d"));
    text.line("#   look     weft check --docker");
    text.line(format!("#   undo it  docker compose {own}up -d --remove-orphans"));
    text.line(
        "#            and docker volume rm of the volumes at the end of this file: identities and rules stay in them",
    );
    text.line("#");
    text.line("# After a change of the project: weft docker init --force, with the flags of the first time, and `up` again. The");
    text.line("# rules at the end are applied at the first start only. Where they have changed, for example with a new published");
    text.line(format!(
        "# port: docker compose {own}-f {file} exec {CONTROL_PLANE} weft diff -f /etc/weft/rules.yaml; then apply"
    ));
    text.line("#");
    text.line("# For each service S there are, besides itself:");
    text.line("#   S-net   holds the network that S and its sidecar share, so that each can restart alone. It has the traffic in");
    text.line(
        "#           it sent to the sidecar, and then gives up all rights: the only one that is started with NET_ADMIN",
    );
    text.line("#   S-weft  the sidecar. S starts once it is ready");
    text.line("# What belongs to the network (ports, aliases, host name and so on) has moved from S to S-net.");
    if !plan.left_out.is_empty() {
        text.line("#");
        text.line("# Left out:");
        for left in &plan.left_out {
            text.line(format!("#   {}: {}", left.service, comment(&left.reason)));
        }
    }
    text.line("");
}

fn control_plane(text: &mut Text, plan: &Plan, setting: &Setting<'_>) {
    text.line("  # Rules, identities, discovery. Its root is writable only because compose copies the rules into it.");
    text.line(format!("  {CONTROL_PLANE}:"));
    text.field("image", scalar(setting.image));
    text.field("command", "[control-plane]");
    text.field(
        "environment",
        format!("{{WEFT_GRPC_LISTEN: \"0.0.0.0:{GRPC_PORT}\", WEFT_RULES: /etc/weft/rules.yaml}}"),
    );
    text.field("configs", format!("[{{source: {RULES}, target: /etc/weft/rules.yaml}}]"));
    text.field("volumes", list([scalar(&format!("{CONTROL_PLANE}:/var/lib/weft"))]));
    text.field("networks", control_plane_networks(plan));
    health(text, "control-plane");
    confined(text);
    text.field("restart", "unless-stopped");
    text.field("labels", format!("{{{ROLE}: control-plane}}"));
}

/// Where somebody has to look for it on one network among several, it has a name of its own there.
fn control_plane_networks(plan: &Plan) -> String {
    let used: BTreeSet<&str> = plan.members.iter().map(|member| member.reached.network.as_str()).collect();
    let named: BTreeSet<&str> = plan
        .members
        .iter()
        .filter(|member| member.reached.chosen)
        .map(|member| member.reached.network.as_str())
        .collect();
    if named.is_empty() {
        return list(used.into_iter().map(scalar));
    }
    let settings = |network: &str| match named.contains(network) {
        true => serde_json::json!({"aliases": [on_network(network)]}),
        false => Value::Null,
    };
    flow(
        &used
            .into_iter()
            .map(|network| (network.to_owned(), settings(network)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    )
}

fn on_network(network: &str) -> String {
    format!("{CONTROL_PLANE}-{network}")
}

fn join(text: &mut Text, plan: &Plan, setting: &Setting<'_>) {
    text.part(
        "Gives each sidecar a token to join with and the mesh's trust anchor, each in a volume of its own, and ends.",
    );
    text.line(format!("  {JOIN}:"));
    text.field("image", scalar(setting.image));
    let orders = plan.members.iter().map(|member| format!("{0}=/join/{0}", member.mesh));
    let words = ["token", "write"].map(ToOwned::to_owned).into_iter().chain(orders.map(|order| scalar_loosely(&order)));
    text.field("command", list(words));
    if setting.namespace != DEFAULT_NAMESPACE {
        text.field("environment", format!("{{WEFT_NAMESPACE: {}}}", scalar(setting.namespace)));
    }
    text.field("user", "\"0:0\"");
    text.field("cap_drop", "[ALL]");
    text.field("cap_add", "[CHOWN, DAC_OVERRIDE, FOWNER]");
    text.field("security_opt", "[no-new-privileges:true]");
    text.field("read_only", "true");
    text.field("network_mode", format!("service:{CONTROL_PLANE}"));
    let own = plan.members.iter().map(|member| format!("- {}-weft:/join/{}", member.service, member.mesh));
    text.entries("volumes", [format!("- {CONTROL_PLANE}:/var/lib/weft:ro")].into_iter().chain(own));
    text.field("depends_on", format!("{{{CONTROL_PLANE}: {{condition: service_healthy}}}}"));
    text.field("labels", format!("{{{ROLE}: join}}"));
}

/// `orders=/join/orders`: a plain scalar, since it holds nothing else than labels, `=` and `/`.
fn scalar_loosely(order: &str) -> String {
    match order.bytes().next() {
        Some(first) if first.is_ascii_alphabetic() => order.to_owned(),
        _ => format!("\"{order}\""),
    }
}

fn health(text: &mut Text, of: &str) {
    text.field(
        "healthcheck",
        format!("{{test: [CMD, weft, probe, {of}], interval: 2s, timeout: 5s, retries: 5, start_period: 60s}}"),
    );
}

/// What stands beside the services: networks, volumes, rules.
fn foot(text: &mut Text, plan: &Plan, setting: &Setting<'_>) {
    if plan.shared_network {
        text.line("\n# On it sidecars reach each other, and so services that had no network in common, too.");
        text.line(format!("networks:\n  {NETWORK}: {{internal: true}}"));
    }
    text.line("\n# The control plane's keys, each sidecar's identity: private, and kept when containers go.");
    text.line(format!("volumes:\n  {CONTROL_PLANE}: {{}}"));
    plan.members.iter().for_each(|member| text.line(format!("  {}-weft: {{}}", member.service)));
    text.line(
        "\n# The rules with which the mesh starts. They are read once: `weft apply` changes whatever comes later.",
    );
    text.line(format!("configs:\n  {RULES}:\n    content: |"));
    rules::text(plan, setting.namespace).lines().for_each(|line| text.line(format!("      {line}")));
}

/// A service without a sidecar, whose links lead to those of others.
fn relinked(text: &mut Text, service: &str, links: &Value) {
    text.part(format!("{service}: its links, to where the networks of services are now."));
    text.line(format!("  {}:", scalar(service)));
    text.field("links", format!("!override {}", flow(links)));
}

fn confined(text: &mut Text) {
    text.field("cap_drop", "[ALL]");
    text.field("security_opt", "[no-new-privileges:true]");
}

#[cfg(test)]
mod tests;
