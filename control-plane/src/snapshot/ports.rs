//! The ports at which a workload serves: as it registers them, as they are kept, and as they are compiled.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A port of a service, and where a workload serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPort {
    /// The port of the service, not of the application.
    pub service_port: u16,
    /// Where others reach it.
    pub address: SocketAddr,
    /// The application answers there; where it does not, the workload is no endpoint, though the service exists.
    pub serving: bool,
}

/// At least one; no service port and no address twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPorts {
    #[serde(flatten)]
    pub first: WorkloadPort,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_ports: Vec<WorkloadPort>,
}

impl WorkloadPorts {
    /// The first one first.
    pub fn iter(&self) -> impl Iterator<Item = &WorkloadPort> {
        std::iter::once(&self.first).chain(&self.further_ports)
    }
}

impl From<WorkloadPort> for WorkloadPorts {
    fn from(first: WorkloadPort) -> Self {
        Self { first, further_ports: Vec::new() }
    }
}
