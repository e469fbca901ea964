//! What is wrong with the containers of a mesh, found in what the engine says of them. Pure; what to do is [`super::advice`]'s.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::containers::{Container, Role};

/// One that has started so often, and is not up for long yet, starts again and again.
const MANY_RESTARTS: u64 = 3;
const UP_FOR_LONG: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    pub container: &'a Container,
    pub kind: Kind,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It should run, and does not, or not well.
    Down,
    /// It has never run, and nobody says why: it waits for another one, or was not started.
    Waiting,
    Unhealthy,
    Restarting,
    /// A one-shot has not done its work.
    Failed,
    /// Its network's holder is another container now.
    Orphaned,
    /// The holder has started anew: what ran before is in a network that is gone.
    Outlived,
    /// Two services, or two control planes, of one name.
    Twice,
    /// Only to be known: it is not ready yet.
    Starting,
    /// Only to be known: it has no sidecar.
    Outside,
}

impl Kind {
    pub fn is_notice(self) -> bool {
        matches!(self, Self::Starting | Self::Outside)
    }
}

/// Everything that is wrong, in the order of the containers.
pub fn find(containers: &[Container], now: Timestamp) -> Vec<Finding<'_>> {
    let all = All { containers, now };
    let mut found: Vec<Finding<'_>> = containers.iter().flat_map(|container| all.of(container)).collect();
    found.extend(all.control_planes());
    found.extend(all.same_name());
    causes(&mut found);
    // What others depend on comes first.
    let rank = |container: &Container| container.role.map_or(u8::MAX, |role| role as u8);
    found.sort_by_key(|Finding { container, kind, .. }| {
        (kind.is_notice(), &container.project, rank(container), &container.name)
    });
    found
}

/// Who waits is left out where something else of the project is wrong: that is what it waits for.
fn causes(found: &mut Vec<Finding<'_>>) {
    let is_cause = |finding: &Finding<'_>| !finding.kind.is_notice() && finding.kind != Kind::Waiting;
    let broken: Vec<_> = found.iter().filter(|one| is_cause(one)).map(|one| one.container.project.clone()).collect();
    found.retain(|one| one.kind != Kind::Waiting || !broken.contains(&one.container.project));
}

struct All<'a> {
    containers: &'a [Container],
    now: Timestamp,
}

impl<'a> All<'a> {
    fn of(&self, container: &'a Container) -> Vec<Finding<'a>> {
        let state = match container.role {
            Some(role) if role.ends() => one_shot(container),
            Some(_) => lasting(container, self.now),
            None => self.is_member(container).then(|| of_program(container, self.now)).flatten(),
        };
        let network = match container.role {
            Some(Role::ControlPlane | Role::Join | Role::Network) => None,
            Some(Role::Sidecar) => self.within(container).err(),
            None => self.program(container),
        };
        let finding = |(kind, reason)| Finding { container, kind, reason };
        state.into_iter().chain(network).map(finding).collect()
    }

    /// The holder whose network the container is in, if it is still the one that holds it, and has held it all the time.
    fn within(&self, container: &Container) -> Result<Option<&'a Container>, (Kind, String)> {
        let Some(id) = container.within.as_ref().filter(|_| container.running()) else { return Ok(None) };
        match self.containers.iter().find(|other| other.id == *id) {
            None => Err((Kind::Orphaned, "its network is gone: the container that held it was made anew".to_owned())),
            Some(holder) if container.started < holder.started => {
                let reason = format!("it is in a network that is gone: {} has started anew since", holder.name);
                Err((Kind::Outlived, reason))
            }
            Some(holder) => Ok(Some(holder)),
        }
    }

    fn is_member(&self, program: &Container) -> bool {
        self.with_role(Role::Network).any(|holder| program.within.as_ref() == Some(&holder.id))
    }

    /// A container without a role: in the network of a holder, or beside the mesh.
    fn program(&self, program: &'a Container) -> Option<(Kind, String)> {
        match self.within(program) {
            Err(gone) => Some(gone),
            Ok(None) if program.running() && self.is_outside(program) => {
                Some((Kind::Outside, "it has no sidecar: what it calls, it calls in plain text".to_owned()))
            }
            Ok(_) => None,
        }
    }

    /// It shares a network with services of the mesh, and nobody is in its own.
    fn is_outside(&self, program: &Container) -> bool {
        let mut holders = self.with_role(Role::Network).filter(|holder| holder.project == program.project);
        let together = holders.any(|holder| !holder.networks.is_disjoint(&program.networks));
        together && !self.with_role(Role::Sidecar).any(|sidecar| sidecar.within.as_ref() == Some(&program.id))
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |container| container.role == Some(role))
    }

    /// Two that a sidecar could find by one name, and a mesh that has none.
    fn control_planes(&self) -> Vec<Finding<'a>> {
        let mut found = Vec::new();
        let all: Vec<_> = self.with_role(Role::ControlPlane).collect();
        for (index, container) in all.iter().enumerate() {
            let other = all
                .iter()
                .take(index)
                .find(|other| other.project == container.project || !other.networks.is_disjoint(&container.networks));
            if let Some(other) = other {
                let reason =
                    format!("it and {} are two control planes on one network: a sidecar may find either", other.name);
                found.push(Finding { container, kind: Kind::Twice, reason });
            }
        }
        found
    }

    /// Holders of one name are instances of a service if they run the same program, and versions of it if their labels tell
    /// them apart. Otherwise one gets what is meant for the other.
    fn same_name(&self) -> Vec<Finding<'a>> {
        let mut named: BTreeMap<_, Vec<&Container>> = BTreeMap::new();
        for holder in self.with_role(Role::Network) {
            if let Some(service) = &holder.service {
                named.entry((&holder.project, service)).or_default().push(holder);
            }
        }
        let mut found = Vec::new();
        for ((_, service), holders) in named {
            let Some((first, others)) = holders.split_first() else { continue };
            for container in others.iter().filter(|other| self.differ(first, other)) {
                let reason = format!("two services of one name: it and {} are both {service} in the mesh", first.name);
                found.push(Finding { container, kind: Kind::Twice, reason });
            }
        }
        found
    }

    fn differ(&self, one: &Container, other: &Container) -> bool {
        let within = |holder: &Container| {
            let id = holder.id.clone();
            self.containers.iter().filter(move |container| container.within.as_ref() == Some(&id))
        };
        let program = |holder| within(holder).find(|inner| inner.role.is_none()).map(|program| &program.image);
        let labels = |holder| {
            within(holder).find(|inner| inner.role == Some(Role::Sidecar)).and_then(|sidecar| sidecar.labels.as_ref())
        };
        let (Some(first), Some(second)) = (program(one), program(other)) else { return false };
        first != second && labels(one) == labels(other)
    }
}

/// A program may end, if it ends well.
fn of_program(program: &Container, now: Timestamp) -> Option<(Kind, String)> {
    match (program.status.as_str(), program.exit_code) {
        ("exited", 0) => None,
        _ => lasting(program, now),
    }
}

fn one_shot(container: &Container) -> Option<(Kind, String)> {
    match (container.status.as_str(), container.exit_code) {
        ("exited", 0) => None,
        ("created", _) => Some(never(container, Kind::Failed)),
        ("running", _) => Some((Kind::Starting, "it has not ended yet".to_owned())),
        ("exited", code) => Some((Kind::Failed, format!("it has failed, with code {code}"))),
        (status, _) => Some((Kind::Failed, format!("it is {status}"))),
    }
}

/// The engine says why it could not start it, or has not tried.
fn never(container: &Container, kind: Kind) -> (Kind, String) {
    match container.error {
        Some(_) => (kind, "it could not be started".to_owned()),
        None => (Kind::Waiting, "it has never run".to_owned()),
    }
}

fn lasting(container: &Container, now: Timestamp) -> Option<(Kind, String)> {
    let up = container.started.and_then(|started| Duration::try_from(now.duration_since(started)).ok());
    let often = container.restarts >= MANY_RESTARTS && up.is_none_or(|up| up < UP_FOR_LONG);
    match container.status.as_str() {
        "running" | "restarting" if often || container.status == "restarting" => {
            Some((Kind::Restarting, format!("it starts again and again, {} times by now", container.restarts)))
        }
        "running" => match container.health() {
            Some("unhealthy") => Some((Kind::Unhealthy, "it is not ready".to_owned())),
            Some("starting") => Some((Kind::Starting, "it is not ready yet".to_owned())),
            _ => None,
        },
        "created" => Some(never(container, Kind::Down)),
        "exited" => Some((Kind::Down, format!("it does not run: it has ended with code {}", container.exit_code))),
        status => Some((Kind::Down, format!("it does not run: it is {status}"))),
    }
}

#[cfg(test)]
pub(in crate::docker) mod tests;
