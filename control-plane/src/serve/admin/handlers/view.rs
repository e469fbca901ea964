//! What people see of the mesh: its state, its endpoints, its routes, its circuits. Read only.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, State},
};
use jiff::Timestamp;
use weft_proxy_api::{Endpoint, ServiceName};

use super::{Answer, Failure, Shared};
use crate::{
    admin_api::{CircuitStatus, EndpointStatus, PortRoutes, Routes, Status, WorkloadStatus},
    fleet::Sidecar,
    mesh::Published,
    snapshot::{self, WorkloadEndpoint},
};

pub async fn status(State(admin): Shared) -> Answer<Status> {
    let (published, mut sidecars) = (admin.mesh.published(), admin.fleet.sidecars());
    let mut workloads: Vec<WorkloadStatus> = by_id(&published)
        .into_values()
        .map(|workload| workload_status(&workload.id, sidecars.remove(&workload.id), Some(workload)))
        .collect();
    workloads.extend(sidecars.into_iter().map(|(id, sidecar)| workload_status(&id, Some(sidecar), None)));
    Ok(Json(Status {
        version: crate::VERSION.to_owned(),
        trust_domain: admin.ca.trust_domain().to_string(),
        revision: published.revision,
        started: admin.started,
        issuer_not_after: Timestamp::try_from(admin.ca.issuing_not_after()).unwrap_or(Timestamp::MAX),
        workloads,
        problems: published.problems().to_vec(),
    }))
}

fn workload_status(id: &str, sidecar: Option<Sidecar>, endpoint: Option<&WorkloadEndpoint>) -> WorkloadStatus {
    let identity = sidecar.as_ref().map(|sidecar| &sidecar.identity).or(endpoint.map(|endpoint| &endpoint.identity));
    WorkloadStatus {
        id: id.to_owned(),
        spiffe_id: identity.map(ToString::to_string).unwrap_or_default(),
        service: endpoint.map(|endpoint| endpoint.service.to_string()),
        address: endpoint.map(|endpoint| endpoint.ports.first.address.to_string()),
        ports: endpoint.into_iter().flat_map(|endpoint| endpoint.ports.iter().copied()).collect(),
        labels: endpoint.map(|endpoint| endpoint.labels.clone()).unwrap_or_default(),
        serving: endpoint.is_some_and(|endpoint| endpoint.ports.iter().all(|port| port.serving)),
        cause: sidecar.as_ref().map(|sidecar| sidecar.cause.clone()).unwrap_or_default(),
        connected: sidecar.as_ref().is_some_and(|sidecar| sidecar.streams > 0),
        acknowledged: sidecar.as_ref().and_then(|sidecar| sidecar.acknowledged),
        rejected: sidecar.as_ref().map(rejections).unwrap_or_default(),
        svid_not_after: sidecar.as_ref().and_then(|sidecar| sidecar.svid_not_after),
        version: sidecar.map(|sidecar| sidecar.version).unwrap_or_default(),
    }
}

fn rejections(sidecar: &Sidecar) -> Vec<String> {
    sidecar.rejected.iter().map(|((kind, name), reason)| format!("{kind:?} {name}: {reason}")).collect()
}

pub async fn endpoints(State(admin): Shared, Path(name): Path<(String, String)>) -> Answer<Vec<EndpointStatus>> {
    let published = admin.mesh.published();
    let service = known(&published, name)?;
    let resolved: BTreeSet<_> = published.snapshot.input().resolved.values().flatten().collect();
    let (workloads, sidecars) = (by_id(&published), admin.fleet.sidecars());
    let mut all = Vec::new();
    for port in published.snapshot.service_ports(&service) {
        for endpoint in published.snapshot.members(&service.port(port)) {
            let workload = workloads.get(endpoint.id.as_str()).copied();
            let source = match workload {
                Some(_) => "registered",
                None if resolved.contains(&endpoint.address) => "dns",
                None => "static",
            };
            let sidecar = sidecars.get(&endpoint.id).filter(|_| workload.is_some());
            let cause = sidecar.map(|sidecar| sidecar.cause.clone()).unwrap_or_default();
            all.push(endpoint_status(port, endpoint, workload, (source, cause)));
        }
    }
    Ok(Json(all))
}

fn endpoint_status(
    port: u16,
    endpoint: Endpoint,
    workload: Option<&WorkloadEndpoint>,
    (source, cause): (&'static str, String),
) -> EndpointStatus {
    EndpointStatus {
        id: endpoint.id,
        port,
        address: endpoint.address.to_string(),
        spiffe_id: endpoint.identity.map(|identity| identity.to_string()),
        healthy: endpoint.healthy,
        cause,
        labels: workload.map(|workload| workload.labels.clone()).unwrap_or_default(),
        source: source.to_owned(),
    }
}

pub async fn routes(State(admin): Shared, Path(name): Path<(String, String)>) -> Answer<Routes> {
    let published = admin.mesh.published();
    let service = known(&published, name)?;
    let of_port = |port| PortRoutes {
        port,
        routes: snapshot::describe_routes(&published.snapshot.destination(&service.port(port))),
    };
    let ports = published.snapshot.service_ports(&service).into_iter().map(of_port).collect();
    let addresses = published.snapshot.host(&service).addresses;
    Ok(Json(Routes { service: service.to_string(), addresses, ports }))
}

pub async fn circuits(State(admin): Shared) -> Answer<Vec<CircuitStatus>> {
    let published = admin.mesh.published();
    let workloads = by_id(&published);
    let mut all = Vec::new();
    for (id, sidecar) in admin.fleet.sidecars() {
        let service = workloads.get(id.as_str()).map(|workload| workload.service.to_string());
        let caller = service.unwrap_or_else(|| sidecar.identity.to_string());
        all.extend(sidecar.circuits.into_iter().map(|circuit| CircuitStatus {
            workload: id.clone(),
            caller: caller.clone(),
            backend: circuit.backend,
            endpoint: circuit.endpoint,
            state: circuit.state.to_owned(),
            cause: circuit.cause,
            since: circuit.since,
            times_opened: circuit.times_opened,
            dry_run: circuit.dry_run,
        }));
    }
    Ok(Json(all))
}

fn by_id(published: &Published) -> BTreeMap<&str, &WorkloadEndpoint> {
    published.workloads().iter().map(|workload| (workload.id.as_str(), workload.as_ref())).collect()
}

fn known(published: &Arc<Published>, (namespace, service): (String, String)) -> Result<ServiceName, Failure> {
    let name = ServiceName::new(namespace, service);
    if !published.snapshot.service_ports(&name).is_empty() {
        return Ok(name);
    }
    let hint = published.nearest(&name).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
    Err(Failure::not_found(format!("there is no service {name}{hint}")))
}
