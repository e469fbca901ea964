//! Documents to objects: the envelope that all kinds share, then the `spec` of each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use weft_proxy_api::name::is_label;

use super::{
    Key, Kind, Object, Spec, access_policy, mesh_config,
    mesh_service::{self, LABEL},
    nearest::did_you_mean,
    problem::{Path, Problem, Report},
    rate_limit_policy, route, schema, traffic_policy,
};

/// The part of an object's metadata that users write. Only its schema is used.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "the fields are there for the schema")]
pub(super) struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What a Kubernetes API server adds; accepted and dropped, so that its output can be applied.
const SERVER_METADATA: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
];

/// Reads every document. `default_namespace` is for those that name none.
///
/// # Errors
/// All problems of all documents that the documents have by themselves; [`super::check`] finds the others.
pub fn parse(documents: &[Value], default_namespace: &str) -> Result<Vec<Object>, Vec<Problem>> {
    let mut objects: Vec<Object> = Vec::new();
    let mut problems = Vec::new();
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let mut report = Report::default();
        let (key, spec) = read(document, default_namespace, &mut report);
        if let Some(first) = key.as_ref().and_then(|key| seen.get(key)) {
            let reason = format!("document {} defines the same object", first + 1);
            report.error(&Path::from("metadata.name"), reason);
        }
        let object = key.as_ref().map(Key::to_string);
        let valid = !report.problems.iter().any(Problem::is_error);
        problems.extend(report.problems.into_iter().map(|problem| Problem {
            document: Some(index),
            object: object.clone(),
            ..problem
        }));
        if let Some(key) = key {
            seen.entry(key.clone()).or_insert(index);
            if let (true, Some(spec)) = (valid, spec) {
                objects.push(Object { manifest: (&normalised(document, &key)).into(), key: key.into(), spec });
            }
        }
    }
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(objects) }
}

/// The key, as soon as the document says enough for one, and the spec, when it can be read.
fn read(document: &Value, default_namespace: &str, report: &mut Report) -> (Option<Key>, Option<Spec>) {
    let root = Path::default();
    let Some(fields) = document.as_object() else {
        report.error(&root, format!("expected a resource, found {}", schema::describe(document)));
        return (None, None);
    };
    check_envelope(fields, report);
    let Some(kind) = read_kind(fields, report) else { return (None, None) };
    let key = read_metadata(kind, fields.get("metadata"), default_namespace, report);
    let mut spec = match fields.get("spec") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(spec) => spec.clone(),
    };
    let before = report.problems.len();
    schema::check(schema::of_spec(kind), &mut spec, &Path::spec(), report);
    let misfits: Vec<Path> = report.problems.iter().skip(before).map(|p| Path::from(p.field.as_str())).collect();
    let mut further = Report::default();
    let spec = read_spec(kind, spec, key.as_ref(), &mut further);
    // What was taken out leaves gaps, and what is said about a gap is noise.
    let is_noise = |problem: &Problem| misfits.iter().any(|misfit| misfit.touches(&Path::from(problem.field.as_str())));
    report.problems.extend(further.problems.into_iter().filter(|problem| !is_noise(problem)));
    (key, spec)
}

fn check_envelope(fields: &Map<String, Value>, report: &mut Report) {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for name in fields.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        report.error_with_hint(&Path::from(name.as_str()), "unknown field", did_you_mean(name, KNOWN));
    }
}

fn read_kind(fields: &Map<String, Value>, report: &mut Report) -> Option<Kind> {
    let path = Path::from("kind");
    let kinds = || Kind::ALL.map(Kind::name);
    let Some(written) = fields.get("kind").filter(|kind| !kind.is_null()) else {
        report.error_with_hint(&path, "is missing", format!("one of {}", kinds().join(", ")));
        return None;
    };
    let Some(name) = written.as_str() else {
        report.error(&path, format!("expected text, found {}", schema::describe(written)));
        return None;
    };
    let Some(kind) = Kind::exact(name) else {
        let hint = did_you_mean(name, kinds()).unwrap_or_else(|| format!("kinds are {}", kinds().join(", ")));
        report.error_with_hint(&path, format!("there is no kind {name:?}"), hint);
        return None;
    };
    let version = fields.get("apiVersion").filter(|version| !version.is_null());
    if version.and_then(Value::as_str) != Some(kind.api_version()) {
        let reason = match version {
            None => "is missing".to_owned(),
            Some(version) => format!("{kind} is not of the version {version}"),
        };
        let hint = format!("write apiVersion: {}", kind.api_version());
        report.error_with_hint(&Path::from("apiVersion"), reason, hint);
    }
    Some(kind)
}

fn read_metadata(kind: Kind, written: Option<&Value>, default_namespace: &str, report: &mut Report) -> Option<Key> {
    let path = Path::from("metadata");
    let mut metadata = written.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|name, _| !SERVER_METADATA.contains(&name.as_str()));
    }
    schema::check(schema::of_metadata(), &mut metadata, &path, report);
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let name = text("name")?;
    if name.is_empty() {
        // Nothing can be named after it; a name that is missing was reported already.
        if written.and_then(|metadata| metadata.get("name")).is_some_and(Value::is_string) {
            report.error(&path.field("name"), "is empty");
        }
        return None;
    }
    if kind == Kind::MeshService && !is_label(name) {
        report.error(&path.field("name"), format!("{name:?} is not a service name: {LABEL}"));
    } else if !is_subdomain(name) {
        report.error(&path.field("name"), format!("{name:?} is not a name: {LABEL}, parts joined by '.'"));
    }
    let namespace = text("namespace").filter(|namespace| !namespace.is_empty());
    if !kind.namespaced() && namespace.is_some() {
        report.error(&path.field("namespace"), format!("a {kind} holds for the whole mesh and has no namespace"));
    }
    let namespace = namespace.unwrap_or(default_namespace);
    if kind.namespaced() && !is_label(namespace) {
        report.error(&path.field("namespace"), format!("{namespace:?} is not a namespace: {LABEL}"));
    }
    Some(Key::new(kind, namespace, name))
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn read_spec(kind: Kind, spec: Value, key: Option<&Key>, report: &mut Report) -> Option<Spec> {
    // Without a name the spec is still checked, as if it had one.
    let namespace = key.map_or("default", |key| key.namespace.as_str());
    let name = key.map_or(mesh_config::NAME, |key| key.name.as_str());
    match kind {
        Kind::HttpRoute => Some(Spec::HttpRoute(route::read_http(typed(spec, report)?, namespace, report))),
        Kind::GrpcRoute => Some(Spec::GrpcRoute(route::read_grpc(typed(spec, report)?, namespace, report))),
        Kind::TlsRoute => Some(Spec::TlsRoute(route::read_tls(typed(spec, report)?, namespace, report))),
        Kind::TcpRoute => Some(Spec::TcpRoute(route::read_tcp(typed(spec, report)?, namespace, report))),
        Kind::MeshService => {
            let written: mesh_service::Written = typed(spec, report)?;
            written.read(report).map(Spec::MeshService)
        }
        Kind::TrafficPolicy => {
            let written: traffic_policy::Written = typed(spec, report)?;
            Some(Spec::TrafficPolicy(Box::new(written.read(namespace, report))))
        }
        Kind::AccessPolicy => {
            let written: access_policy::Written = typed(spec, report)?;
            Some(Spec::AccessPolicy(Box::new(written.read(namespace, report))))
        }
        Kind::RateLimitPolicy => {
            let written: rate_limit_policy::Written = typed(spec, report)?;
            Some(Spec::RateLimitPolicy(Box::new(written.read(namespace, report))))
        }
        Kind::MeshConfig => {
            let written: mesh_config::Written = typed(spec, report)?;
            Some(Spec::MeshConfig(Box::new(written.read(name, report))))
        }
    }
}

/// The schema was checked before, so that this fails only for what a schema cannot say.
fn typed<T: DeserializeOwned>(spec: Value, report: &mut Report) -> Option<T> {
    let refuse = |error: serde_path_to_error::Error<serde_json::Error>| {
        let path = Path::from(format!("spec.{}", error.path()).as_str());
        report.error(&path, error.inner().to_string());
    };
    serde_path_to_error::deserialize(spec).map_err(refuse).ok()
}

/// The document with its namespace, without what a server added.
fn normalised(document: &Value, key: &Key) -> Value {
    let mut metadata = document.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.retain(|name, value| !SERVER_METADATA.contains(&name.as_str()) && !value.is_null());
    if key.kind.namespaced() {
        metadata.insert("namespace".into(), key.namespace.clone().into());
    } else {
        metadata.shift_remove("namespace");
    }
    let mut fields = Map::new();
    fields.insert("apiVersion".into(), key.kind.api_version().into());
    fields.insert("kind".into(), key.kind.name().into());
    fields.insert("metadata".into(), Value::Object(metadata));
    if let Some(spec) = document.get("spec") {
        fields.insert("spec".into(), spec.clone());
    }
    Value::Object(fields)
}
