//! `AccessPolicy`: which connections the workloads of a service accept.
//!
//! What a policy does not say is taken from the `MeshConfig`. A workload can be behind several services: what holds for it
//! then is put together where its inbound side is compiled.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{ServiceName, inbound::Mtls};

use super::{
    problem::{Path, Report},
    route::read_service_ref,
};

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    target_ref: WrittenTarget,
    mtls: Option<WrittenMtls>,
    #[serde(default)]
    ports: Vec<WrittenPort>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct WrittenTarget {
    group: Option<String>,
    kind: String,
    name: String,
}

impl WrittenTarget {
    /// A service of the policy's own namespace.
    pub fn read(&self, namespace: &str, report: &mut Report) -> ServiceName {
        let kind = (self.group.as_deref(), self.kind.as_str());
        read_service_ref(kind, &self.name, namespace, &Path::spec().field("targetRef"), report)
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenPort {
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    mtls: WrittenMtls,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WrittenMtls {
    Strict,
    Permissive,
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPolicySpec {
    /// In the policy's own namespace.
    pub target: ServiceName,
    mtls: Option<Mtls>,
    /// Ports of the service, each once.
    pub ports: Vec<(u16, Mtls)>,
}

impl AccessPolicySpec {
    /// What holds for a port of the service, if the policy says so.
    pub fn mtls(&self, port: u16) -> Option<Mtls> {
        self.ports.iter().find(|(listed, _)| *listed == port).map(|(_, mtls)| *mtls).or(self.mtls)
    }
}

impl Written {
    pub fn read(self, namespace: &str, report: &mut Report) -> AccessPolicySpec {
        let spec = Path::spec();
        let target = self.target_ref.read(namespace, report);
        if self.mtls.is_none() && self.ports.is_empty() {
            let hint = "add mtls or ports".to_owned();
            report.error_with_hint(&spec, "the policy says nothing beside its target", hint);
        }
        let mut ports: Vec<(u16, Mtls)> = Vec::new();
        for (index, WrittenPort { port, mtls }) in self.ports.into_iter().enumerate() {
            if ports.iter().any(|(other, _)| *other == port) {
                let path = spec.field("ports").index(index).field("port");
                report.error(&path, format!("port {port} is listed twice"));
            }
            ports.push((port, mtls.into()));
        }
        AccessPolicySpec { target, mtls: self.mtls.map(Into::into), ports }
    }
}

impl From<WrittenMtls> for Mtls {
    fn from(written: WrittenMtls) -> Self {
        match written {
            WrittenMtls::Strict => Self::Strict,
            WrittenMtls::Permissive => Self::Permissive,
            WrittenMtls::Off => Self::Off,
        }
    }
}
