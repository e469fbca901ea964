//! Where a rule sends requests, and in which shares.

use gateway_api::experimental::httproutes::HttpRouteRulesBackendRefs;
use weft_proxy_api::{ServiceName, name::is_label};

use super::{BackendRef, ServiceRef, filters};
use crate::resources::{
    mesh_service::LABEL,
    nearest::did_you_mean,
    problem::{Path, Report},
};

/// As Gateway API has it.
const MAX_WEIGHT: u32 = 1_000_000;

/// `path` is that of the rule.
pub(super) fn read_backends(
    written: Vec<HttpRouteRulesBackendRefs>,
    namespace: &str,
    path: &Path,
    report: &mut Report,
) -> Vec<BackendRef> {
    if written.is_empty() {
        report.error(path, "the rule has neither backendRefs nor a RequestRedirect filter, so that it leads nowhere");
        return Vec::new();
    }
    let path = path.field("backendRefs");
    let mut valid_weights = true;
    let mut backend = |(index, written): (usize, HttpRouteRulesBackendRefs)| {
        let path = path.index(index);
        let weight = read_weight(written.weight, &path.field("weight"), report);
        valid_weights &= weight.is_some();
        let kind = written.kind.as_deref().unwrap_or("Service");
        let other = written.namespace.as_deref().unwrap_or(namespace);
        let service = read_service_ref((written.group.as_deref(), kind), &written.name, other, &path, report);
        BackendRef {
            target: ServiceRef { service, port: read_port(written.port, &path, report) },
            weight: weight.unwrap_or(0),
            filters: filters::of_backend(
                written.filters.unwrap_or_default(),
                namespace,
                &path.field("filters"),
                report,
            ),
        }
    };
    let backends: Vec<BackendRef> = written.into_iter().enumerate().map(&mut backend).collect();
    if valid_weights && backends.iter().all(|backend| backend.weight == 0) {
        report.error(&path, "the weights sum to 0, so that no request could be sent");
    }
    backends
}

fn read_weight(written: Option<i32>, path: &Path, report: &mut Report) -> Option<u32> {
    let Some(written) = written else { return Some(1) };
    let weight = u32::try_from(written).ok().filter(|weight| *weight <= MAX_WEIGHT);
    if weight.is_none() {
        report.error(path, format!("a weight is from 0 to {MAX_WEIGHT}, not {written}"));
    }
    weight
}

pub(super) fn read_port(written: Option<i32>, path: &Path, report: &mut Report) -> Option<u16> {
    let written = written?;
    let port = u16::try_from(written).ok().filter(|port| *port > 0);
    if port.is_none() {
        report.error(&path.field("port"), format!("a port is from 1 to 65535, not {written}"));
    }
    port
}

/// A reference to a service of the mesh, by either of the two kinds that name one. The kind says its group, so that a
/// group may be left out.
pub(in crate::resources) fn read_service_ref(
    (group, kind): (Option<&str>, &str),
    name: &str,
    namespace: &str,
    path: &Path,
    report: &mut Report,
) -> ServiceName {
    let groups: &[&str] = match kind {
        "Service" => &["", "core"],
        "MeshService" => &["weft.dev"],
        other => {
            let hint = did_you_mean(other, ["Service", "MeshService"])
                .unwrap_or_else(|| "kinds are Service and MeshService".into());
            report.error_with_hint(&path.field("kind"), format!("a {other} is not a service of the mesh"), hint);
            &[]
        }
    };
    if let (Some(group), [expected, ..]) = (group, groups)
        && !groups.contains(&group)
    {
        let hint = format!("write group: {expected:?}, or leave it out");
        report.error_with_hint(&path.field("group"), format!("the group {group:?} has no kind {kind}"), hint);
    }
    if !is_label(name) {
        report.error(&path.field("name"), format!("{name:?} is not a service name: {LABEL}"));
    }
    if !is_label(namespace) {
        report.error(&path.field("namespace"), format!("{namespace:?} is not a namespace: {LABEL}"));
    }
    ServiceName::new(namespace, name)
}
