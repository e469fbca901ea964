//! Which services get no sidecar, and why: what the flags say, and what has no network of its own or more than one.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Choices, Plan};
use crate::docker::project::Service;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub service: String,
    pub reason: String,
    /// Whether it can call those of the mesh, without a sidecar.
    #[serde(skip)]
    pub calls: bool,
    /// The service in whose network it is.
    #[serde(skip)]
    within: Option<String>,
}

impl LeftOut {
    pub fn new(service: &str, reason: String, calls: bool) -> Self {
        Self { service: service.to_owned(), reason, calls, within: None }
    }
}

/// Why the service gets no sidecar, whatever its ports are.
pub fn reason(name: &str, service: &Service, choices: &Choices) -> Option<LeftOut> {
    let left = |reason: String, calls| Some(LeftOut::new(name, reason, calls));
    if choices.exclude.contains(name) {
        return left("--exclude names it".to_owned(), true);
    }
    if !choices.only.is_empty() && !choices.only.contains(name) {
        return left("--only does not name it".to_owned(), true);
    }
    if service.field("provider").is_some() {
        return left("it has no container: a provider brings it".to_owned(), false);
    }
    match service.text("network_mode") {
        None => {}
        Some("none") => return left("it has no network (network_mode: none)".to_owned(), false),
        Some("host") => {
            let reason = "it is in the network of the host, where redirection would take the traffic of all";
            return left(format!("{reason} (network_mode: host)"), true);
        }
        Some(mode) => {
            let within = mode.strip_prefix("service:").map(ToOwned::to_owned);
            let reason = format!("it has no network of its own (network_mode: {mode})");
            return Some(LeftOut { within, ..LeftOut::new(name, reason, true) });
        }
    }
    match service.instances() {
        1 => None,
        0 => left("it is scaled to 0".to_owned(), false),
        n => {
            let reason = "a namespace is shared with one container of a service only. Make a service of each instance";
            left(format!("it has {n} instances, and {reason}"), true)
        }
    }
}

/// What is in the network of a member is carried by the member's sidecar.
pub fn within(plan: &mut Plan) {
    let members: BTreeSet<&str> = plan.members.iter().map(|member| member.service.as_str()).collect();
    for left in &mut plan.left_out {
        if let Some(member) = left.within.as_deref().filter(|within| members.contains(within)) {
            left.calls = false;
            left.reason = format!("it is in the network of {member}, whose sidecar carries its traffic");
        }
    }
}
