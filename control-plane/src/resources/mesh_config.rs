//! `MeshConfig`: what holds for the whole mesh, and the defaults under every policy. One object, named `default`.

use std::time;

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{
    Inbound,
    inbound::{Egress, Mtls},
};

use super::{
    access_policy::WrittenMtls,
    duration::Duration,
    policy::{BackendSpec, RequestSpec, WrittenBackend, WrittenRetry, WrittenTimeouts},
    problem::{Path, Report},
};

/// The only name that a `MeshConfig` may have.
pub(super) const NAME: &str = "default";

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(default)]
    access_log: bool,
    drain_timeout: Option<Duration>,
    egress: Option<WrittenEgress>,
    mtls: Option<WrittenMtls>,
    defaults: Option<WrittenDefaults>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WrittenEgress {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenDefaults {
    #[serde(flatten)]
    backend: WrittenBackend,
    timeouts: Option<WrittenTimeouts>,
    retry: Option<WrittenRetry>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfigSpec {
    pub access_log: bool,
    pub drain_timeout: time::Duration,
    pub egress: Egress,
    /// Of the ports about which no `AccessPolicy` says anything.
    pub mtls: Mtls,
    pub defaults: Defaults,
}

/// What a `TrafficPolicy` or a route does not say itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    pub backend: BackendSpec,
    pub requests: RequestSpec,
}

impl Default for MeshConfigSpec {
    fn default() -> Self {
        Self {
            access_log: false,
            drain_timeout: Inbound::DEFAULT_DRAIN_TIMEOUT,
            egress: Egress::default(),
            mtls: Mtls::default(),
            defaults: Defaults::default(),
        }
    }
}

impl Written {
    pub fn read(self, name: &str, report: &mut Report) -> MeshConfigSpec {
        if name != NAME {
            let path = Path::from("metadata.name");
            let reason = format!("there is one MeshConfig, and its name is {NAME:?}, not {name:?}");
            report.error(&path, reason);
        }
        if self.drain_timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            report.error(&Path::spec().field("drainTimeout"), "must be more than 0s");
        }
        MeshConfigSpec {
            access_log: self.access_log,
            drain_timeout: self.drain_timeout.map_or(Inbound::DEFAULT_DRAIN_TIMEOUT, |d| d.0),
            egress: match self.egress {
                Some(WrittenEgress::Deny) => Egress::Deny,
                Some(WrittenEgress::Allow) | None => Egress::Allow,
            },
            mtls: self.mtls.map(Into::into).unwrap_or_default(),
            defaults: self.defaults.map(|written| written.read(report)).unwrap_or_default(),
        }
    }
}

impl WrittenDefaults {
    fn read(self, report: &mut Report) -> Defaults {
        let path = Path::spec().field("defaults");
        let timeouts = self.timeouts.unwrap_or_default();
        Defaults {
            backend: self.backend.read(timeouts.connect, &path, report),
            requests: RequestSpec {
                timeouts: timeouts.read(&path.field("timeouts"), report),
                retry: self.retry.map(|written| written.read(&path.field("retry"), report)).unwrap_or_default(),
                ..RequestSpec::default()
            },
        }
    }
}
