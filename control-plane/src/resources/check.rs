//! What objects say about each other: whether references lead somewhere, and whether two objects want the same.
//!
//! The same [`Catalog`] answers here and where the snapshot is compiled, so that what passes here resolves there, for
//! as long as the services exist. Called before a write, and by status, since a service can go away afterwards.

use std::collections::{BTreeMap, BTreeSet};

use weft_proxy_api::{ServiceName, ServicePort};

use super::{
    Catalog, Key, Kind, Objects, Problem, RouteSpec, Spec, Target, TrafficPolicySpec,
    catalog::ports_in_words,
    nearest::did_you_mean,
    problem::{Path, Report},
    route::{Parent, RouteAction, ServiceRef},
};

/// Every problem among `objects`. `services` are the ports that registered workloads imply.
pub fn check(objects: &Objects, services: &BTreeSet<ServicePort>) -> Vec<Problem> {
    let mesh = Mesh { objects, catalog: Catalog::new(objects, services), targets: targets(objects) };
    const RELATING: [Kind; 3] = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TrafficPolicy];
    let mut problems = Vec::new();
    for object in RELATING.into_iter().flat_map(|kind| objects.of_kind(kind)) {
        let mut report = Report::default();
        match &object.spec {
            Spec::HttpRoute(route) | Spec::GrpcRoute(route) => mesh.check_route(route, &mut report),
            Spec::TrafficPolicy(policy) => mesh.check_policy(&object.key, policy, &mut report),
            Spec::MeshService(_) | Spec::MeshConfig(_) => {}
        }
        let of_object = |problem| Problem { object: Some(object.key.to_string()), ..problem };
        problems.extend(report.problems.into_iter().map(of_object));
    }
    problems
}

struct Mesh<'a> {
    objects: &'a Objects,
    catalog: Catalog<'a>,
    targets: BTreeMap<&'a Target, Vec<&'a Key>>,
}

/// The policies of each target.
fn targets(objects: &Objects) -> BTreeMap<&Target, Vec<&Key>> {
    let mut targets: BTreeMap<&Target, Vec<&Key>> = BTreeMap::new();
    for object in objects.of_kind(Kind::TrafficPolicy) {
        if let Spec::TrafficPolicy(policy) = &object.spec {
            targets.entry(&policy.target).or_default().push(&object.key);
        }
    }
    targets
}

impl Mesh<'_> {
    fn check_route(&self, route: &RouteSpec, report: &mut Report) {
        let spec = Path::spec();
        for (index, parent) in route.parents.iter().enumerate() {
            self.check_parent(parent, &spec.field("parentRefs").index(index), report);
        }
        for (rule_index, rule) in route.rules.iter().enumerate() {
            let RouteAction::Split(backends) = &rule.action else { continue };
            let path = spec.field("rules").index(rule_index).field("backendRefs");
            for (index, backend) in backends.iter().enumerate() {
                let path = path.index(index);
                self.check_ref(&backend.target, &path, report);
            }
        }
    }

    fn check_parent(&self, parent: &Parent, path: &Path, report: &mut Report) {
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
    }

    fn check_policy(&self, key: &Key, policy: &TrafficPolicySpec, report: &mut Report) {
        let path = Path::spec().field("targetRef");
        match &policy.target {
            Target::Service(service) => {
                if let Err(error) = self.catalog.existing(service) {
                    report.error_with_hint(&path.field("name"), error.reason, error.hint);
                }
            }
            Target::Route(route) => self.check_target_route(route, &path, report),
        }
        let others = self.targets.get(&policy.target).into_iter().flatten().filter(|other| **other != key);
        for other in others {
            let reason = format!("{other} has the same target; a target has one policy, so that none hides another");
            report.error(&path, reason);
        }
        self.check_fallback(policy, report);
    }

    fn check_target_route(&self, route: &Key, path: &Path, report: &mut Report) {
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
        if !spec.rules.iter().any(|rule| splits(&rule.action)) {
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
