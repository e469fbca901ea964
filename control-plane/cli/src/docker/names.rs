//! What services are called in the mesh and on their networks, and which names cannot be.

use std::collections::BTreeSet;

use serde_json::Value;
use weft_control_plane::resources::Problem;
use weft_proxy_api::name::is_label;

use super::{
    plan::{Plan, problem},
    project::{Project, Service},
};

pub const CONTROL_PLANE: &str = "weft-control-plane";
pub const JOIN: &str = "weft-join";
/// Of all members, where they are to share one.
pub const NETWORK: &str = "weft";
pub const RULES: &str = "weft-rules";
/// Says what a container is for.
pub const ROLE: &str = "dev.weft.role";
/// Says whose.
pub const SERVICE: &str = "dev.weft.service";

/// Compose allows more than the mesh, whose names are DNS labels: `my_App` is `my-app`.
pub fn in_mesh(service: &str) -> String {
    service.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// All names by which a service is found on every network of its: its own first.
pub fn own(name: &str, service: &Service) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    for other in [Some(in_mesh(name)), service.text("container_name").map(ToOwned::to_owned)].into_iter().flatten() {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    names
}

/// What is added beside a service: the holder of its network, and its sidecar.
pub fn added(service: &str) -> [String; 2] {
    ["net", "weft"].map(|part| format!("{service}-{part}"))
}

/// Every name that cannot be.
pub fn problems(project: &Project, plan: &Plan) -> Vec<Problem> {
    if let Some((name, _)) = project.services.iter().find(|(_, service)| service.label(ROLE).is_some()) {
        let hint = "name the files of the project without it: -f compose.yaml";
        return vec![problem(
            name,
            "it is a part of the mesh already: the file that weft writes is among those read",
            hint,
        )];
    }
    let mut problems = taken(project, plan);
    problems.extend(labels(plan));
    problems.extend(aliases(project, plan));
    problems
}

/// Names that something of the project has, and that are needed for what is added.
fn taken(project: &Project, plan: &Plan) -> Vec<Problem> {
    let hint = |user: &str| format!("give it another name{user}");
    let mut problems = Vec::new();
    for name in [CONTROL_PLANE, JOIN].into_iter().filter(|name| project.services.contains_key(*name)) {
        problems.push(problem(name, "a part of the mesh is to have this name", hint("")));
    }
    for member in &plan.members {
        let user = format!(", or leave {0} out with --exclude {0}", member.service);
        for name in added(&member.service).iter().filter(|name| project.services.contains_key(*name)) {
            let reason = format!("what is added beside {} is to have this name", member.service);
            problems.push(problem(name, reason, hint(&user)));
        }
    }
    let volumes = plan.members.iter().map(|member| format!("{}-weft", member.service));
    for name in volumes.chain([CONTROL_PLANE.to_owned()]).filter(|name| project.volumes.contains_key(name)) {
        let mut problem = Problem::new("", "a volume of the mesh is to have this name").hint(hint(""));
        problem.object = Some(format!("volume {name}"));
        problems.push(problem);
    }
    if plan.shared_network && project.networks.contains_key(NETWORK) {
        let mut problem = Problem::new("", "the network of --shared-network is to have this name").hint(hint(""));
        problem.object = Some(format!("network {NETWORK}"));
        problems.push(problem);
    }
    if project.configs.contains_key(RULES) {
        let mut problem = Problem::new("", "the rules of the mesh are to have this name").hint(hint(""));
        problem.object = Some(format!("config {RULES}"));
        problems.push(problem);
    }
    problems
}

/// Names that are none in the mesh, and those that become the same there.
fn labels(plan: &Plan) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, member) in plan.members.iter().enumerate() {
        let hint = format!("give it another name, or leave it out with --exclude {}", member.service);
        if !is_label(&member.mesh) {
            let reason = "a name in the mesh is a DNS label: at most 63 letters, digits and -, and no - at an end";
            problems.push(problem(&member.service, reason, hint));
        } else if let Some(first) = plan.members.iter().take(index).find(|other| other.mesh == member.mesh) {
            let reason = format!("two services of one name: in the mesh, it and {} are {}", first.service, member.mesh);
            problems.push(problem(&member.service, reason, hint));
        }
    }
    problems
}

/// Aliases that lead to two services: where one is a member's name, which the mesh answers on all networks, or where both
/// stand on one network.
fn aliases(project: &Project, plan: &Plan) -> Vec<Problem> {
    let is_member = |name: &str| plan.members.iter().any(|member| member.service == name);
    let claims: Vec<Claim<'_>> =
        project.services.iter().flat_map(|(name, service)| claims(name, service, is_member(name))).collect();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        for other in
            claims.iter().skip(index + 1).filter(|other| other.service != claim.service && other.name == claim.name)
        {
            let named = [claim, other].iter().any(|one| is_member(one.service) && one.is_own);
            let together = is_member(claim.service) && is_member(other.service) && claim.network == other.network;
            let (first, second) = (claim.service, other.service);
            // Two members that have one name in the mesh are told of that already.
            let told = is_member(first) && is_member(second) && in_mesh(first) == in_mesh(second);
            if !told && (named || together) && seen.insert((first, second, &claim.name)) {
                let reason = format!("two services of one name: {first} and it are both found as {:?}", claim.name);
                let hint = "take the alias, or the container_name, away from one of them";
                problems.push(problem(second, reason, hint));
            }
        }
    }
    problems
}

/// That a service is found by a name on a network.
struct Claim<'a> {
    service: &'a str,
    network: String,
    name: String,
    /// The name is the service's own in the mesh, and no further one.
    is_own: bool,
}

fn claims<'a>(service: &'a str, fields: &Service, is_member: bool) -> Vec<Claim<'a>> {
    if fields.text("network_mode").is_some() {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for (network, settings) in fields.networks() {
        let aliases = settings.get("aliases").and_then(Value::as_array).into_iter().flatten();
        let aliases = aliases.filter_map(|alias| alias.as_str().map(ToOwned::to_owned));
        let mut names: BTreeSet<String> = own(service, fields).into_iter().chain(aliases).collect();
        if !is_member && in_mesh(service) != service {
            names.remove(&in_mesh(service));
        }
        for name in names {
            let is_own = name == service || name == in_mesh(service);
            claims.push(Claim { service, network: network.clone(), name, is_own });
        }
    }
    claims
}
