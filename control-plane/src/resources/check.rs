//! What objects say about each other: whether references lead somewhere, and whether two objects want the same.
//!
//! The same [`Catalog`] answers here and where the snapshot is compiled, so that what passes here resolves there, for
//! as long as the services exist. Called before a write, and by status, since a service can go away afterwards.

mod layers;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use weft_proxy_api::{ServiceName, ServicePort, destination::Protocol};

use super::{
    AccessPolicySpec, Catalog, Key, Kind, Objects, Port, Problem, RateLimitPolicySpec, RouteSpec, Spec, Target,
    TrafficPolicySpec,
    catalog::{Unresolved, ports_in_words},
    nearest::did_you_mean,
    problem::{Path, Report},
    protocol,
    route::{Parent, RouteAction, RouteRule, ServiceRef, acts_on, allows_anyone_with_credentials, can_be_sent_to},
};

/// Every problem among `objects`. `services` are the ports that registered workloads imply.
pub fn check(objects: &Objects, services: &BTreeSet<ServicePort>) -> Vec<Problem> {
    let (targets, guarded, limited) = (targets(objects), guarded(objects), limited(objects));
    let (catalog, routes) = (Catalog::new(objects, services), by_parent(objects));
    let mesh = Mesh { objects, catalog, routes, targets, guarded, limited };
    const RELATING: [Kind; 7] = [
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::TrafficPolicy,
        Kind::AccessPolicy,
        Kind::RateLimitPolicy,
    ];
    let mut problems = Vec::new();
    for object in RELATING.into_iter().flat_map(|kind| objects.of_kind(kind)) {
        let mut report = Report::default();
        match &object.spec {
            Spec::HttpRoute(route) | Spec::GrpcRoute(route) | Spec::TlsRoute(route) => {
                mesh.check_route(object.key.kind, route, &mut report);
            }
            Spec::TcpRoute(route) => {
                mesh.check_route(object.key.kind, route, &mut report);
                mesh.check_alone(&object.key, route, &mut report);
            }
            Spec::TrafficPolicy(policy) => mesh.check_policy(&object.key, policy, &mut report),
            Spec::AccessPolicy(policy) => mesh.check_access(&object.key, policy, &mut report),
            Spec::RateLimitPolicy(policy) => mesh.check_limits(&object.key, policy, &mut report),
            Spec::MeshService(_) | Spec::MeshConfig(_) => {}
        }
        let of_object = |problem| Problem { object: Some(object.key.to_string()), ..problem };
        problems.extend(report.problems.into_iter().map(of_object));
    }
    problems.extend(mesh.check_layers());
    problems
}

struct Mesh<'a> {
    objects: &'a Objects,
    catalog: Catalog<'a>,
    routes: BTreeMap<&'a ServiceName, Vec<(&'a Key, &'a Parent)>>,
    targets: BTreeMap<&'a Target, Vec<&'a Key>>,
    guarded: BTreeMap<&'a ServiceName, Vec<&'a Key>>,
    limited: BTreeMap<&'a ServiceName, Vec<&'a Key>>,
}

/// The routes of each service, in the order in which a port follows them.
fn by_parent(objects: &Objects) -> BTreeMap<&ServiceName, Vec<(&Key, &Parent)>> {
    let mut found: BTreeMap<&ServiceName, Vec<(&Key, &Parent)>> = BTreeMap::new();
    for kind in Kind::ROUTES {
        for object in objects.of_kind(kind) {
            for parent in object.route().into_iter().flat_map(|route| &route.parents) {
                found.entry(&parent.service).or_default().push((&object.key, parent));
            }
        }
    }
    found
}

/// The objects of each target, where `target` says what an object's is.
fn by_target<'a, T: Ord>(
    objects: &'a Objects,
    kind: Kind,
    target: impl Fn(&'a Spec) -> Option<&'a T>,
) -> BTreeMap<&'a T, Vec<&'a Key>> {
    let mut found: BTreeMap<&T, Vec<&Key>> = BTreeMap::new();
    for object in objects.of_kind(kind) {
        if let Some(target) = target(&object.spec) {
            found.entry(target).or_default().push(&object.key);
        }
    }
    found
}

/// The traffic policies of each target.
fn targets(objects: &Objects) -> BTreeMap<&Target, Vec<&Key>> {
    by_target(objects, Kind::TrafficPolicy, |spec| match spec {
        Spec::TrafficPolicy(policy) => Some(&policy.target),
        _ => None,
    })
}

/// The access policies of each service.
fn guarded(objects: &Objects) -> BTreeMap<&ServiceName, Vec<&Key>> {
    by_target(objects, Kind::AccessPolicy, |spec| match spec {
        Spec::AccessPolicy(policy) => Some(&policy.target),
        _ => None,
    })
}

/// The rate limit policies of each service.
fn limited(objects: &Objects) -> BTreeMap<&ServiceName, Vec<&Key>> {
    by_target(objects, Kind::RateLimitPolicy, |spec| match spec {
        Spec::RateLimitPolicy(policy) => Some(&policy.target),
        _ => None,
    })
}

/// Of several policies on one service, each one's problem: what one of them demands is not to be lost by a name.
fn check_others(key: &Key, others: Option<&Vec<&Key>>, report: &mut Report) {
    for other in others.into_iter().flatten().filter(|other| **other != key) {
        let reason = format!("{other} has the same target; a target has one policy, so that none hides another");
        report.error(&Path::spec().field("targetRef"), reason);
    }
}

impl Mesh<'_> {
    fn check_route(&self, kind: Kind, route: &RouteSpec, report: &mut Report) {
        let spec = Path::spec();
        for (index, parent) in route.parents.iter().enumerate() {
            self.check_parent(kind, parent, &spec.field("parentRefs").index(index), report);
        }
        for (index, rule) in route.rules.iter().enumerate() {
            self.check_rule(kind, rule, &spec.field("rules").index(index), report);
        }
    }

    /// Of a `TCPRoute`: which other route decides on its ports.
    fn check_alone(&self, key: &Key, route: &RouteSpec, report: &mut Report) {
        for (index, parent) in route.parents.iter().enumerate() {
            let Ok(ports) = self.catalog.existing(&parent.service) else { continue };
            let routes = || self.routes.get(&parent.service).into_iter().flatten();
            let first = |port: &Port| {
                let acts = |(key, other): &&(&Key, &Parent)| other.names(port) && acts_on(key.kind, port.protocol);
                routes().find(acts).map(|(key, _)| *key)
            };
            for port in ports.iter().filter(|port| parent.names(port)) {
                let Some(winner) = first(port).filter(|winner| *winner != key) else { continue };
                let port = parent.service.port(port.number);
                let why =
                    format_args!("is attached to {port} as well and comes first, so that this one has no effect there");
                let path = Path::spec().field("parentRefs").index(index);
                report.conflict(&path, winner, why, "a port has one TCPRoute, and no route of another kind then");
            }
        }
    }

    fn check_rule(&self, kind: Kind, rule: &RouteRule, path: &Path, report: &mut Report) {
        let filters = path.field("filters");
        for mirror in &rule.mirrors {
            let path = filters.index(mirror.filter).field("requestMirror").field("backendRef");
            self.check_backend(kind, &mirror.target, &path, report);
        }
        if let Some((index, cors)) = &rule.cors
            && allows_anyone_with_credentials(cors)
        {
            let reason = "with allowCredentials, any site may read what the service answers to its user";
            let path = filters.index(*index).field("cors").field("allowOrigins");
            report.warning_with_hint(&path, reason, "name the origins".to_owned());
        }
        if let RouteAction::Split(backends) = &rule.action {
            let path = path.field("backendRefs");
            for (index, backend) in backends.iter().enumerate() {
                self.check_backend(kind, &backend.target, &path.index(index), report);
            }
        }
    }

    fn check_parent(&self, kind: Kind, parent: &Parent, path: &Path, report: &mut Report) {
        let ports = match self.catalog.existing(&parent.service) {
            Ok(ports) => ports,
            Err(error) => return report.error_with_hint(&path.field("name"), error.reason, error.hint),
        };
        if let Some(number) = parent.port
            && !ports.iter().any(|port| port.number == number)
        {
            let reason = format!("the service {} has no port {number}", parent.service);
            report.error_with_hint(&path.field("port"), reason, ports_in_words(&ports));
        }
        if let Some(section) = &parent.section
            && !ports.iter().any(|port| port.name.as_ref() == Some(section))
        {
            let reason = format!("the service {} has no port named {section:?}", parent.service);
            let hint = did_you_mean(section, ports.iter().filter_map(|port| port.name.as_deref()));
            report.error_with_hint(&path.field("sectionName"), reason, hint);
        }
        let meant: Vec<&Port> = ports.iter().filter(|port| parent.names(port)).collect();
        if !meant.is_empty() && !meant.iter().any(|port| acts_on(kind, port.protocol)) {
            let declared = meant.iter().map(|port| declared(&parent.service.port(port.number), port));
            let reason = format!("the route could never act: {}", declared.collect::<Vec<_>>().join(", "));
            let hint = match kind {
                Kind::TlsRoute => "a TLSRoute is for ports that speak tls".to_owned(),
                Kind::TcpRoute => "a TCPRoute is for ports that speak tcp or tls".to_owned(),
                _ => format!("{kind} is for ports that speak http, http2 or grpc"),
            };
            report.error_with_hint(path, reason, hint);
        }
    }

    fn check_backend(&self, kind: Kind, target: &ServiceRef, path: &Path, report: &mut Report) {
        self.check_ref(target, path, report);
        let Ok(name) = self.catalog.resolve(target) else { return };
        if let Some(port) = self.catalog.port(&name).filter(|port| !can_be_sent_to(kind, port.protocol)) {
            let reason = match kind {
                Kind::TlsRoute => format!("{}, and would be sent TLS", declared(&name, &port)),
                Kind::TcpRoute => format!("{}, and would be sent bytes of any protocol", declared(&name, &port)),
                _ => format!("{}, and would be sent requests of HTTP", declared(&name, &port)),
            };
            report.error(path, reason);
        }
    }

    fn check_access(&self, key: &Key, policy: &AccessPolicySpec, report: &mut Report) {
        check_others(key, self.guarded.get(&policy.target), report);
        let Some(ports) = self.enforcing_ports(&policy.target, report) else { return };
        for (index, (number, _)) in policy.ports.iter().enumerate() {
            if !ports.iter().any(|port| port.number == *number) {
                let path = Path::spec().field("ports").index(index).field("port");
                let reason = format!("the service {} has no port {number}", policy.target);
                report.error_with_hint(&path, reason, ports_in_words(&ports));
            }
        }
    }

    fn check_limits(&self, key: &Key, policy: &RateLimitPolicySpec, report: &mut Report) {
        check_others(key, self.limited.get(&policy.target), report);
        let Some(ports) = self.enforcing_ports(&policy.target, report) else { return };
        for (index, limit) in policy.limits.iter().enumerate() {
            let path = Path::spec().field("limits").index(index);
            let meant: Vec<&Port> =
                ports.iter().filter(|port| limit.port.is_none_or(|number| number == port.number)).collect();
            if let (Some(number), true) = (limit.port, meant.is_empty()) {
                let reason = format!("the service {} has no port {number}", policy.target);
                report.error_with_hint(&path.field("port"), reason, ports_in_words(&ports));
            } else if !meant.iter().any(|port| acts_on(Kind::HttpRoute, port.protocol)) {
                let declared = meant.iter().map(|port| declared(&policy.target.port(port.number), port));
                let reason = format!("the limit could never act: {}", declared.collect::<Vec<_>>().join(", "));
                let hint = "a limit counts requests of HTTP and gRPC".to_owned();
                report.error_with_hint(&path, reason, hint);
            }
        }
    }

    /// The ports of a service whose workloads are to enforce a policy, if there is such a service.
    fn enforcing_ports(&self, service: &ServiceName, report: &mut Report) -> Option<Cow<'_, [Port]>> {
        let target = Path::spec().field("targetRef");
        if self.catalog.declared(service).is_some_and(|spec| spec.source.is_outside()) {
            let reason = format!("all endpoints of {service} are outside the mesh, so that nothing enforces it");
            report.warning(&target, reason);
        }
        let unknown = |error: Unresolved| report.error_with_hint(&target.field("name"), error.reason, error.hint);
        self.catalog.existing(service).map_err(unknown).ok()
    }

    fn check_policy(&self, key: &Key, policy: &TrafficPolicySpec, report: &mut Report) {
        let path = Path::spec().field("targetRef");
        match &policy.target {
            Target::Service(service) => match self.catalog.existing(service) {
                Err(error) => report.error_with_hint(&path.field("name"), error.reason, error.hint),
                Ok(ports) if !policy.requests.is_empty() && ports.iter().all(carries_bytes) => {
                    let reason = format!("all ports of {service} carry bytes: what is about requests has no effect");
                    report.warning(&path, reason);
                }
                Ok(_) => {}
            },
            Target::Route(route) => self.check_target_route(route, policy, &path, report),
        }
        // The first by name counts, as where the snapshot is compiled.
        if let Some(winner) = self.targets.get(&policy.target).and_then(|keys| keys.first()).filter(|it| **it != key) {
            let why = "has the same target and comes first by name, so that this one has no effect";
            report.conflict(&path, winner, why, "write both as one");
        }
        self.check_fallback(policy, report);
    }

    fn check_target_route(&self, route: &Key, policy: &TrafficPolicySpec, path: &Path, report: &mut Report) {
        let spec = match self.objects.get(route).map(|object| &object.spec) {
            Some(Spec::HttpRoute(spec) | Spec::GrpcRoute(spec)) => spec,
            _ => {
                let routes = self.objects.of_kind(route.kind).map(|object| &object.key);
                let nearby = routes.filter(|key| key.namespace == route.namespace);
                let hint = did_you_mean(&route.name, nearby.map(|key| key.name.as_str()));
                return report.error_with_hint(&path.field("name"), format!("there is no {route}"), hint);
            }
        };
        let splits = |action: &RouteAction| matches!(action, RouteAction::Split(backends) if backends.len() > 1);
        if policy.sticky.is_some() && !spec.rules.iter().any(|rule| splits(&rule.action)) {
            let reason = format!("no rule of {route} splits between backends, so that nothing is sticky");
            report.warning(&Path::spec().field("stickySplit"), reason);
        }
    }

    fn check_fallback(&self, policy: &TrafficPolicySpec, report: &mut Report) {
        let (Some(fallback), Target::Service(own)) = (&policy.fallback, &policy.target) else { return };
        let path = Path::spec().field("fallback").field("backendRef");
        self.check_ref(fallback, &path, report);
        if let Some(circle) = self.circle(own, &fallback.service) {
            report.error(&path, format!("the fallbacks lead back to the service: {circle}"));
        }
    }

    /// Reports a reference that leads nowhere, at the part of it that is wrong.
    fn check_ref(&self, target: &ServiceRef, path: &Path, report: &mut Report) {
        let Err(error) = self.catalog.resolve(target) else { return };
        let at = match (self.catalog.existing(&target.service), target.port) {
            (Err(_), _) => path.field("name"),
            (Ok(_), Some(_)) => path.field("port"),
            (Ok(_), None) => path.clone(),
        };
        report.error_with_hint(&at, error.reason, error.hint);
    }

    /// The way from `own` over the fallbacks back to it, if it leads back.
    fn circle(&self, own: &ServiceName, first: &ServiceName) -> Option<String> {
        let mut way = vec![own.clone(), first.clone()];
        while let Some(last) = way.last().filter(|last| *last != own) {
            let policy = self.targets.get(&Target::Service(last.clone()))?.first()?;
            let Spec::TrafficPolicy(policy) = &self.objects.get(policy)?.spec else { return None };
            let next = policy.fallback.as_ref()?.service.clone();
            // A circle that `own` is not in is reported where it is.
            if next != *own && way.contains(&next) {
                return None;
            }
            way.push(next);
        }
        Some(way.iter().map(ServiceName::to_string).collect::<Vec<_>>().join(" → "))
    }
}

fn carries_bytes(port: &Port) -> bool {
    matches!(port.protocol, Protocol::Tcp | Protocol::Tls)
}

fn declared(name: &ServicePort, port: &Port) -> String {
    format!("{name} is declared to speak {}", protocol::word(port.protocol).unwrap_or("anything"))
}
