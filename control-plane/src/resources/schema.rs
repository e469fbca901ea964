//! Checks a document against the JSON schema of its kind, and reports every field that is unknown, missing, of the wrong
//! type or out of range, at once: serde would stop at the first, and Gateway API's types would ignore the unknown.
//!
//! The schemas come from the very types that the document is then read into. Only the words of JSON Schema that
//! `schemars` writes for them are understood. Called by `parse`.

use std::sync::LazyLock;

use gateway_api::{
    experimental::{grpcroutes::GrpcRouteSpec, httproutes::HttpRouteSpec, tcproutes::TcpRouteSpec},
    tlsroutes::TlsRouteSpec,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::{
    access_policy, duration,
    kind::Kind,
    mesh_config, mesh_service,
    nearest::did_you_mean,
    parse::Metadata,
    policy,
    problem::{Path, Report},
    rate_limit_policy, traffic_policy,
};

/// What Gateway API knows and weft does not carry out.
const NOT_CARRIED_OUT: [&str; 1] = ["useDefaultGateways"];

/// The schema of a kind's `spec`.
pub(super) fn of_spec(kind: Kind) -> &'static Value {
    static HTTP_ROUTE: LazyLock<Value> = LazyLock::new(schema::<HttpRouteSpec>);
    static GRPC_ROUTE: LazyLock<Value> = LazyLock::new(schema::<GrpcRouteSpec>);
    static TLS_ROUTE: LazyLock<Value> = LazyLock::new(schema::<TlsRouteSpec>);
    static TCP_ROUTE: LazyLock<Value> = LazyLock::new(schema::<TcpRouteSpec>);
    static MESH_SERVICE: LazyLock<Value> = LazyLock::new(schema::<mesh_service::Written>);
    static TRAFFIC_POLICY: LazyLock<Value> = LazyLock::new(schema::<traffic_policy::Written>);
    static ACCESS_POLICY: LazyLock<Value> = LazyLock::new(schema::<access_policy::Written>);
    static RATE_LIMIT_POLICY: LazyLock<Value> = LazyLock::new(schema::<rate_limit_policy::Written>);
    static MESH_CONFIG: LazyLock<Value> = LazyLock::new(schema::<mesh_config::Written>);
    match kind {
        Kind::HttpRoute => &HTTP_ROUTE,
        Kind::GrpcRoute => &GRPC_ROUTE,
        Kind::TlsRoute => &TLS_ROUTE,
        Kind::TcpRoute => &TCP_ROUTE,
        Kind::MeshService => &MESH_SERVICE,
        Kind::TrafficPolicy => &TRAFFIC_POLICY,
        Kind::AccessPolicy => &ACCESS_POLICY,
        Kind::RateLimitPolicy => &RATE_LIMIT_POLICY,
        Kind::MeshConfig => &MESH_CONFIG,
    }
}

pub(super) fn of_metadata() -> &'static Value {
    static METADATA: LazyLock<Value> = LazyLock::new(schema::<Metadata>);
    &METADATA
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Reports what does not fit, and takes it out of `value`: what is optional goes, what is required becomes something that
/// fits. The object is refused anyway, but the rest of it can still be read and checked.
pub(super) fn check(schema: &Value, value: &mut Value, path: &Path, report: &mut Report) {
    let before = report.problems.len();
    match value {
        Value::Object(fields) if schema.get("properties").is_some() => check_fields(schema, fields, path, report),
        Value::Object(fields) if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            let schema = schema.get("additionalProperties").unwrap_or(&Value::Null);
            for (name, value) in fields.iter_mut() {
                check(schema, value, &path.field(name), report);
            }
            fields.retain(|_, value| !value.is_null());
        }
        Value::Array(items) if schema.get("items").is_some() => {
            let schema = non_null(schema.get("items").unwrap_or(&Value::Null));
            for (index, item) in items.iter_mut().enumerate() {
                check(schema, item, &path.index(index), report);
                if item.is_null() {
                    *item = stand_in(schema);
                }
            }
        }
        scalar => {
            check_scalar(schema, scalar, path, report);
            if report.problems.len() > before {
                *scalar = Value::Null;
            }
        }
    }
}

fn check_fields(schema: &Value, fields: &mut Map<String, Value>, path: &Path, report: &mut Report) {
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = |name: &str| {
        let names = schema.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, value) in fields.iter_mut() {
        let path = path.field(name);
        match known.get(name) {
            _ if NOT_CARRIED_OUT.contains(&name.as_str()) => {
                report.error(&path, format!("this version of weft does not carry out {name}"));
            }
            None => unknown_field(name, known, &path, report),
            // An optional field that is written without a value is not there.
            Some(_) if value.is_null() => {}
            Some(schema) => check(non_null(schema), value, &path, report),
        }
    }
    let is_carried_out = |name: &String| known.contains_key(name) && !NOT_CARRIED_OUT.contains(&name.as_str());
    fields.retain(|name, value| is_carried_out(name) && !value.is_null());
    for (name, schema) in known.iter().filter(|(name, _)| required(name)) {
        let path = path.field(name);
        if !fields.contains_key(name) {
            if !report.problems.iter().any(|problem| problem.field == path.as_str()) {
                report.error(&path, "is missing");
            }
            fields.insert(name.clone(), stand_in(schema));
        }
    }
}

/// A value that fits `schema`.
fn stand_in(schema: &Value) -> Value {
    if let Some(choice) = allowed_values(schema).first() {
        return Value::from(*choice);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let required =
                schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let field = |name: &str| Some((name.to_owned(), stand_in(schema.get("properties")?.get(name)?)));
            Value::Object(required.filter_map(field).collect())
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(Value::from(0)),
        Some("boolean") => Value::Bool(false),
        Some("string") if format(schema) == Some(duration::FORMAT) => Value::from("1s"),
        Some("string") => Value::from(""),
        _ => Value::Null,
    }
}

fn unknown_field(name: &str, known: &Map<String, Value>, path: &Path, report: &mut Report) {
    let names = known.keys().map(String::as_str);
    let hint = did_you_mean(name, names.clone()).or_else(|| {
        (1..=8).contains(&known.len()).then(|| format!("fields here: {}", names.collect::<Vec<_>>().join(", ")))
    });
    report.error_with_hint(path, "unknown field", hint);
}

/// The schema of what an optional field holds when it is there.
fn non_null(schema: &Value) -> &Value {
    let options = schema.get("anyOf").and_then(Value::as_array);
    let first = options.and_then(|options| options.iter().find(|option| option.get("type") != Some(&"null".into())));
    first.unwrap_or(schema)
}

fn check_scalar(schema: &Value, value: &Value, path: &Path, report: &mut Report) {
    if format(schema) == Some(policy::PERCENT_FORMAT) {
        return match policy::parse_percent(value) {
            Ok(_) => {}
            Err(reason) => report.error(path, reason),
        };
    }
    let allowed = allowed_values(schema);
    if !allowed.is_empty() {
        return check_choice(&allowed, value, path, report);
    }
    let expected = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        Some(Value::String(name)) => Some(name.as_str()),
        _ => None,
    };
    match (expected, value) {
        (Some("string"), Value::String(text)) => check_text(schema, text, path, report),
        (Some("integer"), Value::Number(number)) => check_integer(schema, number, path, report),
        (Some("boolean"), Value::Bool(_)) | (Some("number"), Value::Number(_)) | (None, _) => {}
        (Some("string"), Value::Number(_) | Value::Bool(_)) => {
            let hint = format!("write it in quotes: \"{value}\"");
            report.error_with_hint(path, format!("expected text, found {}", describe(value)), hint);
        }
        (Some(expected), value) => {
            report.error(path, format!("expected {}, found {}", describe_type(expected), describe(value)));
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &Path, report: &mut Report) {
    let parsed = match format(schema) {
        Some(duration::FORMAT) => duration::parse_duration(text).map(|_| ()),
        Some(policy::SIZE_FORMAT) => policy::parse_size(text).map(|_| ()),
        _ => Ok(()),
    };
    if let Err(reason) = parsed {
        report.error(path, reason);
    }
}

fn format(schema: &Value) -> Option<&str> {
    schema.get("format").and_then(Value::as_str)
}

/// Where the schema has no bounds, the type has.
fn check_integer(schema: &Value, number: &serde_json::Number, path: &Path, report: &mut Report) {
    let (least, greatest) = match format(schema) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let bound = |name| schema.get(name).and_then(Value::as_i64);
    let least = bound("minimum").unwrap_or(least);
    let greatest = bound("maximum").unwrap_or(greatest);
    match number.as_i64() {
        Some(number) if (least..=greatest).contains(&number) => {}
        None if number.is_f64() => report.error(path, format!("expected a whole number, found {number}")),
        _ if greatest >= i64::from(i32::MAX) => {
            report.error(path, format!("expected at least {least}, found {number}"))
        }
        _ => report.error(path, format!("expected a number from {least} to {greatest}, found {number}")),
    }
}

/// The values of an enumeration, whichever way the schema writes it.
fn allowed_values(schema: &Value) -> Vec<&str> {
    let list = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let documented = list("oneOf").flat_map(|option| {
        let several = option.get("enum").and_then(Value::as_array).into_iter().flatten();
        option.get("const").into_iter().chain(several)
    });
    list("enum").chain(documented).filter_map(Value::as_str).collect()
}

fn check_choice(allowed: &[&str], value: &Value, path: &Path, report: &mut Report) {
    let text = value.as_str();
    if text.is_some_and(|text| allowed.contains(&text)) {
        return;
    }
    let found = text.map_or_else(|| describe(value), |text| format!("{text:?}"));
    let reason = format!("expected one of {}, found {found}", allowed.join(", "));
    let hint = text.and_then(|text| did_you_mean(text, allowed.iter().copied()));
    report.error_with_hint(path, reason, hint);
}

fn describe_type(name: &str) -> &str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}
