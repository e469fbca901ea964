//! What one workload enforces on the traffic to its application, and on what leaves the mesh.

use std::time::Duration;

use crate::{
    destination::Protocol,
    policy::{HealthCheck, RateLimit},
    proto::api::v1 as pb,
    wire::{WireError, each, millis, port, to_millis},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The workload's id: the resource's name.
    pub workload: String,
    /// One JSON line for each request, in both directions.
    pub access_log: bool,
    /// How long requests in flight may take to end when the sidecar stops.
    pub drain_timeout: Duration,
    /// Of the ports that `ports` does not list.
    pub mtls: Mtls,
    pub ports: Vec<InboundPort>,
    pub egress: Egress,
    pub rate_limits: Vec<RateLimit>,
    /// At most one for each port.
    pub health_checks: Vec<HealthCheck>,
}

/// A port on which the application listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundPort {
    pub port: u16,
    pub mtls: Mtls,
    pub protocol: Protocol,
}

/// Which connections to a port are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mtls {
    /// Mutual TLS or nothing.
    #[default]
    Strict,
    /// Mutual TLS from the mesh, plaintext from others.
    Permissive,
    /// Plaintext: the sidecar does not look at it.
    Off,
}

/// What becomes of connections to addresses outside the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// They pass as they are.
    #[default]
    Allow,
    Deny,
}

impl Inbound {
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

    /// What a workload enforces about which nothing is said.
    pub fn new(workload: impl Into<String>) -> Self {
        Self {
            workload: workload.into(),
            access_log: false,
            drain_timeout: Self::DEFAULT_DRAIN_TIMEOUT,
            mtls: Mtls::default(),
            ports: Vec::new(),
            egress: Egress::default(),
            rate_limits: Vec::new(),
            health_checks: Vec::new(),
        }
    }

    /// What holds for the application's port.
    pub fn port(&self, port: u16) -> InboundPort {
        let listed = self.ports.iter().find(|listed| listed.port == port);
        listed.copied().unwrap_or(InboundPort { port, mtls: self.mtls, protocol: Protocol::Detect })
    }
}

impl From<&Inbound> for pb::Inbound {
    fn from(value: &Inbound) -> Self {
        Self {
            workload: value.workload.clone(),
            access_log: value.access_log,
            drain_timeout_ms: to_millis(Some(value.drain_timeout)),
            mtls: pb::Mtls::from(value.mtls).into(),
            ports: value.ports.iter().map(Into::into).collect(),
            egress: match value.egress {
                Egress::Allow => pb::Egress::Allow,
                Egress::Deny => pb::Egress::Deny,
            }
            .into(),
            rate_limits: value.rate_limits.iter().map(Into::into).collect(),
            health_checks: value.health_checks.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Inbound> for Inbound {
    type Error = WireError;

    fn try_from(wire: pb::Inbound) -> Result<Self, WireError> {
        if wire.workload.is_empty() {
            return Err(WireError::new("workload", "is missing"));
        }
        Ok(Self {
            access_log: wire.access_log,
            drain_timeout: millis(wire.drain_timeout_ms).unwrap_or(Self::DEFAULT_DRAIN_TIMEOUT),
            mtls: wire.mtls().into(),
            egress: match wire.egress() {
                pb::Egress::Unspecified | pb::Egress::Allow => Egress::Allow,
                pb::Egress::Deny => Egress::Deny,
            },
            workload: wire.workload,
            ports: each(wire.ports, "ports", TryInto::try_into)?,
            rate_limits: each(wire.rate_limits, "rate_limits", TryInto::try_into)?,
            health_checks: each(wire.health_checks, "health_checks", TryInto::try_into)?,
        })
    }
}

impl From<&InboundPort> for pb::InboundPort {
    fn from(value: &InboundPort) -> Self {
        Self {
            port: value.port.into(),
            mtls: pb::Mtls::from(value.mtls).into(),
            protocol: pb::Protocol::from(value.protocol).into(),
        }
    }
}

impl TryFrom<pb::InboundPort> for InboundPort {
    type Error = WireError;

    fn try_from(wire: pb::InboundPort) -> Result<Self, WireError> {
        Ok(Self { port: port(wire.port, "port")?, mtls: wire.mtls().into(), protocol: wire.protocol().into() })
    }
}

impl From<Mtls> for pb::Mtls {
    fn from(value: Mtls) -> Self {
        match value {
            Mtls::Strict => Self::Strict,
            Mtls::Permissive => Self::Permissive,
            Mtls::Off => Self::Off,
        }
    }
}

impl From<pb::Mtls> for Mtls {
    fn from(wire: pb::Mtls) -> Self {
        match wire {
            pb::Mtls::Unspecified | pb::Mtls::Strict => Self::Strict,
            pb::Mtls::Permissive => Self::Permissive,
            pb::Mtls::Off => Self::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire_and_says_what_holds_for_each_port() {
        let listed = InboundPort { port: 5432, mtls: Mtls::Permissive, protocol: Protocol::Tcp };
        let inbound = Inbound { ports: vec![listed], mtls: Mtls::Off, egress: Egress::Deny, ..Inbound::new("db-1") };
        assert_eq!(Inbound::try_from(pb::Inbound::from(&inbound)), Ok(inbound.clone()));
        assert_eq!(inbound.port(5432), listed);
        assert_eq!(inbound.port(80), InboundPort { port: 80, mtls: Mtls::Off, protocol: Protocol::Detect });
        let mut wire = pb::Inbound::from(&inbound);
        wire.ports[0].port = 70_000;
        assert_eq!(Inbound::try_from(wire).unwrap_err().field, "ports[0].port");
    }
}
