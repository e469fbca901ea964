//! What a route is attached to.

use gateway_api::experimental::httproutes::HttpRouteParentRefs;

use super::{
    Parent,
    backends::{read_port, read_service_ref},
};
use crate::resources::problem::{Path, Report};

pub(super) fn read_parents(written: Vec<HttpRouteParentRefs>, namespace: &str, report: &mut Report) -> Vec<Parent> {
    let path = Path::spec().field("parentRefs");
    if written.is_empty() {
        let hint = "add - {kind: MeshService, name: …}".to_owned();
        report.error_with_hint(&path, "nothing says which service the route is attached to", hint);
    }
    let mut parents: Vec<Parent> = Vec::new();
    for (index, parent) in written.into_iter().enumerate() {
        let path = path.index(index);
        let Some(parent) = read_parent(parent, namespace, &path, report) else { continue };
        if parents.contains(&parent) {
            report.error(&path, format!("{} is named twice", parent.service));
        }
        parents.push(parent);
    }
    parents
}

fn read_parent(written: HttpRouteParentRefs, own: &str, path: &Path, report: &mut Report) -> Option<Parent> {
    let Some(kind) = written.kind.as_deref() else {
        let reason = "without a kind, Gateway API means a Gateway, and weft attaches routes to services";
        report.error_with_hint(path, reason, "add kind: Service or kind: MeshService".to_owned());
        return None;
    };
    let namespace = written.namespace.as_deref().unwrap_or(own);
    if namespace != own {
        let reason = format!("a route is attached to services of its own namespace, {own}, only");
        report.error(&path.field("namespace"), reason);
    }
    let service = read_service_ref((written.group.as_deref(), kind), &written.name, namespace, path, report);
    Some(Parent { service, port: read_port(written.port, path, report), section: written.section_name })
}
