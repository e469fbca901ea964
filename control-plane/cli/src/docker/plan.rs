//! Decides what becomes of each service of a project: a member of the mesh, left out, or a reason to refuse. Pure.
//!
//! [`super::names`] refuses names that collide, [`super::reach`] chooses networks, [`super::write`] makes the text.

mod left_out;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weft_control_plane::resources::Problem;
use weft_proxy::redirect::PROXY_USER;

use weft_proxy_api::MOST_PORTS;

use super::{
    names,
    ports::{self, Exposed},
    project::{Project, Service},
    reach::Reached,
};
pub use left_out::LeftOut;

/// Ports that the sidecar needs for itself.
const SIDECAR_PORTS: [u16; 5] = [15001, 15006, 15008, 15020, 15053];

/// What the images of services expose, by the services' names, as far as that is known.
pub type Images = BTreeMap<String, Exposed>;

/// What the flags say of single services, by their names in the project.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    pub only: BTreeSet<String>,
    pub exclude: BTreeSet<String>,
    pub ports: BTreeMap<String, Vec<u16>>,
    pub calls_only: BTreeSet<String>,
    pub shared_network: bool,
}

#[derive(Debug)]
pub struct Plan {
    pub project: String,
    pub members: Vec<Member>,
    pub left_out: Vec<LeftOut>,
    /// Those without a sidecar that link to members: with the links as they must be.
    pub relinked: Vec<(String, Value)>,
    /// All members are on a network of their own besides those that they have.
    pub shared_network: bool,
}

/// A service that gets a sidecar.
#[derive(Debug)]
pub struct Member {
    pub service: String,
    /// Its name in the mesh: a DNS label.
    pub mesh: String,
    /// None, if it only calls. The first is the one that tells whether it works.
    pub ports: Vec<u16>,
    /// Those that the host publishes: callers from outside have no sidecar.
    pub published: Vec<u16>,
    pub profiles: Vec<Value>,
    /// The fields that belong to the network: what the project sets of them.
    pub moved: Vec<(&'static str, Value)>,
    pub networks: BTreeMap<String, Value>,
    pub reached: Reached,
    pub notes: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub enum Rejection {
    /// A flag names what is not there.
    Usage(String),
    Problems(Vec<Problem>),
}

impl Plan {
    /// Whether plain text must be accepted within the project.
    pub fn open(&self) -> bool {
        self.left_out.iter().any(|left| left.calls)
    }
}

/// A problem with a service, and what to do about it.
pub fn problem(service: &str, reason: impl Into<String>, hint: impl Into<String>) -> Problem {
    let mut problem = Problem::new("", reason).hint(hint.into());
    problem.object = Some(format!("service {service}"));
    problem
}

/// The services of which it has to be known what their images expose.
pub fn asked<'a>(
    project: &'a Project,
    choices: &'a Choices,
) -> impl Iterator<Item = (&'a String, &'a Service)> + use<'a> {
    project.services.iter().filter(|(name, service)| {
        let said = choices.ports.contains_key(*name) || choices.calls_only.contains(*name);
        !said && left_out::reason(name, service, choices).is_none()
    })
}

/// # Errors
/// Everything that does not fit: nothing is decided then.
pub fn decide(project: &Project, choices: &Choices, images: &Images) -> Result<Plan, Rejection> {
    usage(project, choices)?;
    let mut plan = Plan {
        project: project.name.clone(),
        members: Vec::new(),
        left_out: Vec::new(),
        relinked: Vec::new(),
        shared_network: choices.shared_network,
    };
    let mut problems = Vec::new();
    for (name, service) in &project.services {
        let left = left_out::reason(name, service, choices);
        let decided =
            left.map_or_else(|| member(name, service, choices, images.get(name)), |left| Ok(Decided::Out(left)));
        match decided {
            Ok(Decided::In(member)) => plan.members.push(*member),
            Ok(Decided::Out(left)) => plan.left_out.push(left),
            Err(found) => problems.extend(found),
        }
    }
    left_out::within(&mut plan);
    problems.extend(names::problems(project, &plan));
    if problems.is_empty() && plan.members.is_empty() {
        problems.push(Problem::new("", "no service of the project can have a sidecar").hint(reasons(&plan.left_out)));
    }
    if !problems.is_empty() {
        return Err(Rejection::Problems(problems));
    }
    network::connect(&mut plan, project);
    Ok(plan)
}

fn reasons(left_out: &[LeftOut]) -> String {
    left_out.iter().map(|left| format!("{}: {}", left.service, left.reason)).collect::<Vec<_>>().join("; ")
}

/// Every name that a flag gives is a service's, and no two flags contradict each other.
fn usage(project: &Project, choices: &Choices) -> Result<(), Rejection> {
    let Choices { only, exclude, ports, calls_only, shared_network: _ } = choices;
    let named = [
        ("--only", only.iter().collect::<Vec<_>>()),
        ("--exclude", exclude.iter().collect()),
        ("--port", ports.keys().collect()),
        ("--calls-only", calls_only.iter().collect()),
    ];
    for (flag, names) in named {
        if let Some(name) = names.into_iter().find(|name| !project.services.contains_key(*name)) {
            let known = project.services.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Rejection::Usage(format!("{flag} {name}: the project has no such service, but {known}")));
        }
    }
    match ports.keys().find(|name| calls_only.contains(*name)) {
        Some(name) => {
            Err(Rejection::Usage(format!("--port and --calls-only both name {name}: it serves, or it does not")))
        }
        None => Ok(()),
    }
}

enum Decided {
    In(Box<Member>),
    Out(LeftOut),
}

fn member(name: &str, service: &Service, choices: &Choices, image: Option<&Exposed>) -> Result<Decided, Vec<Problem>> {
    let said = ports::said(service);
    let calls_only = choices.calls_only.contains(name);
    let ports = match choices.ports.get(name) {
        Some(ports) => ports.clone(),
        None if calls_only => Vec::new(),
        None => known(&said, image),
    };
    let other = said.published.other || said.exposed.other || image.is_some_and(|image| image.other);
    if ports.is_empty() && !calls_only && other {
        let reason = "all of its ports are UDP, which goes past the mesh".to_owned();
        return Ok(Decided::Out(LeftOut::new(name, reason, true)));
    }
    let published: Vec<u16> = said.published.tcp.iter().copied().filter(|port| ports.contains(port)).collect();
    let problems = refused(name, service, &ports, calls_only.then_some(&said.published.tcp));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut notes = Vec::new();
    if other {
        notes.push("its UDP ports go past the mesh".to_owned());
    }
    let unserved: Vec<_> =
        said.published.tcp.difference(&ports.iter().copied().collect()).map(u16::to_string).collect();
    if !unserved.is_empty() {
        notes.push(format!(
            "it publishes {}, which --port does not name: no rule lets callers from outside in there",
            unserved.join(", ")
        ));
    }
    let rights = service.list("cap_add").iter().filter_map(Value::as_str);
    let strong = |right: &str| matches!(right.trim_start_matches("CAP_"), "ALL" | "NET_ADMIN" | "SYS_ADMIN");
    if service.field("privileged") == Some(&Value::Bool(true)) || rights.map(str::to_uppercase).any(|it| strong(&it)) {
        notes.push(
            "it may change the rules of its network (privileged, cap_add), and so get past its sidecar".to_owned(),
        );
    }
    Ok(Decided::In(Box::new(Member {
        service: name.to_owned(),
        mesh: names::in_mesh(name),
        ports,
        published,
        profiles: service.list("profiles").to_vec(),
        moved: network::moved(service),
        networks: service.networks(),
        reached: Reached { network: String::new(), chosen: false, cut_off: Vec::new() },
        notes,
    })))
}

/// What is published first, then what the project exposes, then the image: whoever writes a port down means it most.
fn known(said: &ports::Said, image: Option<&Exposed>) -> Vec<u16> {
    let mut ports: Vec<u16> = Vec::new();
    let image = image.into_iter().flat_map(|image| &image.tcp);
    for port in said.published.tcp.iter().chain(&said.exposed.tcp).chain(image) {
        if !ports.contains(port) {
            ports.push(*port);
        }
    }
    ports
}

/// `publishes` is what a service publishes that is said to serve nothing.
fn refused(name: &str, service: &Service, ports: &[u16], publishes: Option<&BTreeSet<u16>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if publishes.is_none() && ports.is_empty() {
        let hint = format!(
            "say it with --port {name}=PORT, or --calls-only {name} if it serves nothing, or --exclude {name}; \
             `docker compose pull` or `build` gets the image that may tell"
        );
        problems.push(problem(name, "nobody says on which port it listens", hint));
    }
    if let Some(port) = publishes.and_then(BTreeSet::first) {
        let hint = format!("leave --calls-only {name} away");
        problems.push(problem(name, format!("it publishes {port}, and so does not only call"), hint));
    }
    if ports.len() > MOST_PORTS {
        let hint = format!("say with --port {name}=PORT[,PORT] which of them the mesh is for");
        problems.push(problem(name, format!("it has {} ports, more than {MOST_PORTS}", ports.len()), hint));
    }
    for port in ports.iter().filter(|port| SIDECAR_PORTS.contains(port)) {
        let hint = format!("let it listen on another port, or leave it out with --exclude {name}");
        problems.push(problem(name, format!("its port {port} is one that its sidecar needs"), hint));
    }
    if service
        .text("user")
        .is_some_and(|user| user.split(':').next().and_then(|id| id.parse().ok()) == Some(PROXY_USER))
    {
        let hint = "run it as another user";
        problems.push(problem(name, format!("it runs as user {PROXY_USER}, whose traffic is the sidecar's own"), hint));
    }
    problems
}

#[cfg(test)]
mod tests;
