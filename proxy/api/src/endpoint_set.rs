//! The endpoints of one service port. They come and go far more often than routes do, so they travel apart.

use std::net::SocketAddr;

use weft_certs::SpiffeId;

use crate::{
    name::{ServicePort, named},
    proto::api::v1 as pb,
    wire::{WireError, each},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSet {
    pub name: ServicePort,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Stable for the life of the workload; an address can come to another workload, this cannot.
    pub id: String,
    pub address: SocketAddr,
    /// Who must answer there. `None`: outside the mesh, reached in plaintext.
    pub identity: Option<SpiffeId>,
    /// Relative to the other endpoints; at least 1.
    pub weight: u32,
    pub zone: String,
    pub healthy: bool,
}

impl From<&EndpointSet> for pb::EndpointSet {
    fn from(value: &EndpointSet) -> Self {
        Self { name: Some((&value.name).into()), endpoints: value.endpoints.iter().map(Into::into).collect() }
    }
}

impl TryFrom<pb::EndpointSet> for EndpointSet {
    type Error = WireError;

    fn try_from(wire: pb::EndpointSet) -> Result<Self, WireError> {
        Ok(Self { name: named(wire.name)?, endpoints: each(wire.endpoints, "endpoints", TryInto::try_into)? })
    }
}

impl From<&Endpoint> for pb::Endpoint {
    fn from(value: &Endpoint) -> Self {
        Self {
            id: value.id.clone(),
            address: value.address.to_string(),
            spiffe_id: value.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            weight: value.weight,
            zone: value.zone.clone(),
            healthy: value.healthy,
        }
    }
}

impl TryFrom<pb::Endpoint> for Endpoint {
    type Error = WireError;

    fn try_from(wire: pb::Endpoint) -> Result<Self, WireError> {
        let identity = match wire.spiffe_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|e| WireError::new("spiffe_id", e))?),
        };
        Ok(Self {
            address: wire.address.parse().map_err(|e| WireError::new("address", e))?,
            id: wire.id,
            identity,
            weight: wire.weight.max(1),
            zone: wire.zone,
            healthy: wire.healthy,
        })
    }
}
