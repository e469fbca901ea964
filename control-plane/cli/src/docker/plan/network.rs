//! What belongs to a service's network and so moves to its holder, and what depends on which services are members.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Plan;
use crate::docker::{
    names,
    project::{Project, Service},
    reach::{self, Reached, Station},
};

/// The fields that belong to the network, and so move from a service to the holder of its network.
const MOVED: [&str; 11] = [
    "hostname",
    "domainname",
    "ports",
    "expose",
    "dns",
    "dns_search",
    "dns_opt",
    "extra_hosts",
    "links",
    "external_links",
    "mac_address",
];
/// What the service sets of these.
pub fn moved(service: &Service) -> Vec<(&'static str, Value)> {
    MOVED.iter().filter_map(|field| Some((*field, service.field(field)?.clone()))).collect()
}

/// What depends on which services are members: the holders' networks and names in them, and links.
pub fn connect(plan: &mut Plan, project: &Project) {
    let stations: Vec<Station<'_>> = plan
        .members
        .iter()
        .map(|member| Station {
            service: &member.service,
            networks: member.networks.keys().map(String::as_str).collect(),
            depends_on: project
                .services
                .get(&member.service)
                .into_iter()
                .flat_map(Service::depends_on)
                .map(String::as_str)
                .collect(),
        })
        .collect();
    let mut reached = reach::networks(&stations);
    let members: BTreeSet<String> = plan.members.iter().map(|member| member.service.clone()).collect();
    let linked = |name: &str| Some(project.services.get(name)?.field("links")?.clone());
    for left in &plan.left_out {
        let before = linked(&left.service).unwrap_or_default();
        let mut links = before.clone();
        relink(&mut links, &members);
        if links != before {
            plan.relinked.push((left.service.clone(), links));
        }
    }
    for member in &mut plan.members {
        if let Some(service) = project.services.get(&member.service) {
            let aliases = names::own(&member.service, service);
            member.networks =
                member.networks.iter().map(|(name, value)| (name.clone(), with(value, &aliases))).collect();
        }
        member.moved.iter_mut().filter(|(field, _)| *field == "links").for_each(|(_, links)| relink(links, &members));
        if plan.shared_network {
            member.networks.insert(names::NETWORK.to_owned(), Value::Object(serde_json::Map::new()));
            member.reached = Reached { network: names::NETWORK.to_owned(), chosen: false, cut_off: Vec::new() };
        } else if let Some(reached) = reached.remove(&member.service) {
            member.reached = reached;
        }
        if !member.reached.cut_off.is_empty() {
            let Reached { network, cut_off, .. } = &member.reached;
            let note = "cannot call it through the mesh, unless on that network, too, or with --shared-network";
            member.notes.push(format!("it is reached on the network {network}: {} {note}", cut_off.join(", ")));
        }
    }
}

/// A network's settings with further aliases.
fn with(settings: &Value, aliases: &[String]) -> Value {
    let mut fields = settings.as_object().cloned().unwrap_or_default();
    let given = fields.get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all: Vec<Value> = aliases.iter().map(|alias| Value::from(alias.as_str())).collect();
    all.extend(given.into_iter().filter(|alias| !aliases.iter().any(|own| alias == own)));
    fields.shift_remove("aliases");
    fields.insert("aliases".to_owned(), all.into());
    // What compose prints in place of nothing.
    fields.retain(|_, value| !value.is_null());
    fields.into()
}

/// `orders:o` leads to the container that has the network: `orders-net:o`.
fn relink(links: &mut Value, members: &BTreeSet<String>) {
    for link in links.as_array_mut().into_iter().flatten() {
        let Some(text) = link.as_str() else { continue };
        let (service, alias) = text.split_once(':').unwrap_or((text, text));
        if members.contains(service) {
            *link = format!("{service}-net:{alias}").into();
        }
    }
}
