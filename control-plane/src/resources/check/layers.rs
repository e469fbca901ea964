//! What layers say against each other: a value that has no effect because of another one in a less special place, or in
//! the same. In one object most of that is refused where it is read. Two objects are each right by themselves, and come
//! in any order, so that this is only warned of, at the value without effect.
//!
//! What a more special place says is no contradiction: whoever says it means to override. What is built in contradicts
//! nothing.

use std::{collections::BTreeSet, fmt, time};

use weft_proxy_api::ServiceName;

use super::{Mesh, carries_bytes};
use crate::resources::{
    Duration, Key, Kind, Object, Port, Problem, RequestSpec, Spec, Target,
    policy::RetrySpec,
    problem::Path,
    route::{RouteAction, acts_on},
};

/// What one object says about requests.
#[derive(Clone)]
struct Layer<'a> {
    place: Place,
    key: &'a Key,
    /// What holds the fields.
    at: Path,
    requests: &'a RequestSpec,
}

/// Where it is said, the less special first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Mesh,
    Service,
    Route,
    Rule,
}

/// A field, and the layer whose word counts.
struct Said<'a, T> {
    layer: &'a Layer<'a>,
    field: &'static str,
    value: T,
}

const TOGETHER: &str = "say both in one place, so that they fit";

impl Mesh<'_> {
    /// Of the requests of every rule, and of those to a service that no rule is for. The layers are those of
    /// `snapshot::destination`.
    pub(super) fn check_layers(&self) -> Vec<Problem> {
        let routes = [Kind::HttpRoute, Kind::GrpcRoute].into_iter().flat_map(|kind| self.objects.of_kind(kind));
        let of_routes = routes.flat_map(|object| self.of_route(object));
        let services = self.targets.keys().filter_map(|target| match target {
            Target::Service(service) => Some(service),
            Target::Route(_) => None,
        });
        let services = services.filter(|service| self.is_direct(service));
        let of_services = services.flat_map(|service| contradictions(&self.toward(service)));
        // Rules and parents share layers.
        let mut seen = BTreeSet::new();
        let is_new = |it: &Problem| seen.insert((it.object.clone(), it.field.clone()));
        of_routes.chain(of_services).filter(is_new).collect()
    }

    fn of_route(&self, object: &Object) -> Vec<Problem> {
        let Some(route) = object.route() else { return Vec::new() };
        let on_route = self.said_on(Place::Route, &Target::Route(Key::clone(&object.key)));
        let mut problems = Vec::new();
        for below in route.parents.iter().map(|parent| self.toward(&parent.service)) {
            for (index, rule) in route.rules.iter().enumerate() {
                let at = Path::spec().field("rules").index(index);
                let own = Layer { place: Place::Rule, key: &object.key, at, requests: &rule.requests };
                let layers: Vec<_> = below.iter().cloned().chain(on_route.clone()).chain([own]).collect();
                // A redirect sends nothing.
                if let RouteAction::Split(_) = &rule.action {
                    problems.extend(contradictions(&layers));
                }
            }
        }
        problems
    }

    /// What the mesh and the service that requests are addressed to say of them.
    fn toward(&self, service: &ServiceName) -> Vec<Layer<'_>> {
        let of_mesh = self.objects.of_kind(Kind::MeshConfig).filter_map(|object| match &object.spec {
            Spec::MeshConfig(config) => {
                let at = Path::spec().field("defaults");
                Some(Layer { place: Place::Mesh, key: &object.key, at, requests: &config.defaults.requests })
            }
            _ => None,
        });
        of_mesh.chain(self.said_on(Place::Service, &Target::Service(service.clone()))).collect()
    }

    fn said_on(&self, place: Place, target: &Target) -> Option<Layer<'_>> {
        let object = self.objects.get(self.targets.get(target)?.first()?)?;
        match &object.spec {
            Spec::TrafficPolicy(policy) => {
                Some(Layer { place, key: &object.key, at: Path::spec(), requests: &policy.requests })
            }
            _ => None,
        }
    }

    /// Whether requests to a port of the service fall under no route.
    fn is_direct(&self, service: &ServiceName) -> bool {
        let (ports, routes) = (self.catalog.ports(service), self.routes.get(service).map_or(&[][..], Vec::as_slice));
        let follows =
            |port: &Port| routes.iter().any(|(key, parent)| parent.names(port) && acts_on(key.kind, port.protocol));
        // Where only files are known, its ports may not be.
        let is_unknown = ports.is_empty() && routes.is_empty();
        is_unknown || ports.iter().any(|port| !carries_bytes(port) && !follows(port))
    }
}

/// `layers` hold for the same requests, the less special first.
fn contradictions(layers: &[Layer<'_>]) -> Vec<Problem> {
    let limit = |field, of: fn(&RequestSpec) -> Option<time::Duration>| {
        said(layers, field, |it| of(it).map(Duration)).filter(|it| !it.value.0.is_zero())
    };
    let limits = [
        limit("timeouts.responseHeader", |it| it.timeouts.response_header),
        limit("timeouts.backendRequest", |it| it.timeouts.backend_request),
        limit("timeouts.request", |it| it.timeouts.request),
        limit("timeouts.total", |it| it.timeouts.total),
    ];
    let [_, of_attempt @ ..] = &limits;
    let mut problems = of_timeouts(&limits);
    match said(layers, "retry.attempts", |it| it.retry.attempts).filter(|it| it.value == 0) {
        Some(none) => problems.extend(of_attempts(layers, &none)),
        None => problems.extend(of_hedge(layers, of_attempt)),
    }
    problems
}

/// Each of `limits` is for a part of what the next ones are for.
fn of_timeouts(limits: &[Option<Said<'_, Duration>>]) -> Vec<Problem> {
    let [part, around @ ..] = limits else { return Vec::new() };
    let mut problems = of_timeouts(around);
    if let (Some(part), Some(first)) = (part, first(around))
        && part.value > first.value
    {
        problems.extend(lost(part.layer, part.field, first, &format!("{} has no effect", part.value), TOGETHER));
    }
    problems
}

/// What is laid over the layer that turns retries off, without turning them on again.
fn of_attempts(layers: &[Layer<'_>], none: &Said<'_, u32>) -> Vec<Problem> {
    let above = layers.iter().rev().take_while(|it| it.requests.retry.attempts.is_none());
    let speaking = above.filter(|it| it.requests.retry != RetrySpec::default());
    speaking.filter_map(|it| lost(it, "retry", none, "nothing is sent again", "say attempts as well")).collect()
}

/// Hedging needs requests that may be done twice, and an attempt that is still under way.
fn of_hedge(layers: &[Layer<'_>], limits: &[Option<Said<'_, Duration>>]) -> Option<Problem> {
    let Said { layer, field, value } = said(layers, "retry.hedge", |it| it.retry.hedge)?;
    let after = Duration(value.after);
    let effect = format!("nothing is hedged after {after}");
    let any_method = said(layers, "retry.anyMethod", |it| it.retry.any_method).filter(|it| it.value);
    if let Some(any_method) = any_method {
        return lost(layer, field, &any_method, &effect, "hedging is for idempotent methods");
    }
    let first = first(limits).filter(|it| it.value <= after)?;
    lost(layer, "retry.hedge.after", first, &effect, TOGETHER)
}

/// What the most special layer says that says anything of it.
fn said<'a, T>(
    layers: &'a [Layer<'a>],
    field: &'static str,
    of: impl Fn(&RequestSpec) -> Option<T>,
) -> Option<Said<'a, T>> {
    layers.iter().rev().find_map(|layer| Some(Said { layer, field, value: of(layer.requests)? }))
}

/// The limit that is reached first.
fn first<'s, 'a>(limits: &'s [Option<Said<'a, Duration>>]) -> Option<&'s Said<'a, Duration>> {
    limits.iter().flatten().min_by_key(|limit| limit.value)
}

/// The problem of `layer`, whose `field` has no effect because of what `winner` says, unless that is more special.
fn lost(
    layer: &Layer<'_>,
    field: &str,
    winner: &Said<'_, impl fmt::Display>,
    effect: &str,
    hint: &str,
) -> Option<Problem> {
    if winner.layer.place > layer.place {
        return None;
    }
    let path = |layer: &Layer<'_>, field: &str| field.split('.').fold(layer.at.clone(), |path, name| path.field(name));
    let reason = format!(
        "{} says {}: {}, so that {effect} where both hold",
        winner.layer.key,
        path(winner.layer, winner.field).as_str(),
        winner.value
    );
    let problem = Problem::new(path(layer, field).as_str(), reason).hint(hint.to_owned()).warning();
    let winner = (winner.layer.key != layer.key).then(|| winner.layer.key.to_string());
    Some(Problem { object: Some(layer.key.to_string()), conflicts_with: winner, ..problem })
}
