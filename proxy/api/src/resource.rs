//! One discovery resource of any of the six types, with its name, its version and its place in an xDS message.

use prost::Message;
use sha2::{Digest, Sha256};
use weft_certs::TrustBundle;

use crate::{
    Address, Destination, EndpointSet, Host, Inbound,
    proto::{api::v1 as pb, discovery},
    trust_bundle,
    wire::{WireError, required},
};

/// The six types that travel in the discovery stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Destination,
    EndpointSet,
    Address,
    Host,
    Inbound,
    TrustBundle,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Destination, Kind::EndpointSet, Kind::Address, Kind::Host, Kind::Inbound, Kind::TrustBundle];

    pub fn type_url(self) -> &'static str {
        match self {
            Kind::Destination => "type.googleapis.com/weft.api.v1.Destination",
            Kind::EndpointSet => "type.googleapis.com/weft.api.v1.EndpointSet",
            Kind::Address => "type.googleapis.com/weft.api.v1.Address",
            Kind::Host => "type.googleapis.com/weft.api.v1.Host",
            Kind::Inbound => "type.googleapis.com/weft.api.v1.Inbound",
            Kind::TrustBundle => "type.googleapis.com/weft.api.v1.TrustBundle",
        }
    }

    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// The version of a resource: a digest of its content, so that it is the same after a restart of the control plane
/// and for every replica of it.
pub type Version = String;

#[derive(Clone, Debug)]
pub enum Resource {
    Destination(Destination),
    EndpointSet(EndpointSet),
    Address(Address),
    Host(Host),
    Inbound(Inbound),
    TrustBundle(TrustBundle),
}

impl Resource {
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Destination(_) => Kind::Destination,
            Resource::EndpointSet(_) => Kind::EndpointSet,
            Resource::Address(_) => Kind::Address,
            Resource::Host(_) => Kind::Host,
            Resource::Inbound(_) => Kind::Inbound,
            Resource::TrustBundle(_) => Kind::TrustBundle,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Resource::Destination(destination) => destination.name.to_string(),
            Resource::EndpointSet(set) => set.name.to_string(),
            Resource::Address(address) => address.address.to_string(),
            Resource::Host(host) => host.name.to_string(),
            Resource::Inbound(inbound) => inbound.workload.clone(),
            Resource::TrustBundle(bundle) => bundle.trust_domain().to_string(),
        }
    }

    /// The resource as it is sent. Encoding is deterministic: equal resources are equal bytes.
    pub fn encode(&self) -> discovery::Resource {
        let value = match self {
            Resource::Destination(destination) => pb::Destination::from(destination).encode_to_vec(),
            Resource::EndpointSet(set) => pb::EndpointSet::from(set).encode_to_vec(),
            Resource::Address(address) => pb::Address::from(address).encode_to_vec(),
            Resource::Host(host) => pb::Host::from(host).encode_to_vec(),
            Resource::Inbound(inbound) => pb::Inbound::from(inbound).encode_to_vec(),
            Resource::TrustBundle(bundle) => trust_bundle::to_wire(bundle).encode_to_vec(),
        };
        discovery::Resource {
            name: self.name(),
            version: version(&value),
            resource: Some(prost_types::Any { type_url: self.kind().type_url().to_owned(), value }),
        }
    }

    /// # Errors
    /// The resource cannot be decoded, is not valid, or carries another name than the envelope.
    pub fn decode(wire: discovery::Resource) -> Result<Self, WireError> {
        let any = required(wire.resource, "resource")?;
        let kind = Kind::from_type_url(&any.type_url)
            .ok_or_else(|| WireError::new("resource.type_url", format!("{} is not a known type", any.type_url)))?;
        let bytes = any.value.as_slice();
        let resource = match kind {
            Kind::Destination => Resource::Destination(decode::<pb::Destination>(bytes)?.try_into()?),
            Kind::EndpointSet => Resource::EndpointSet(decode::<pb::EndpointSet>(bytes)?.try_into()?),
            Kind::Address => Resource::Address(decode::<pb::Address>(bytes)?.try_into()?),
            Kind::Host => Resource::Host(decode::<pb::Host>(bytes)?.try_into()?),
            Kind::Inbound => Resource::Inbound(decode::<pb::Inbound>(bytes)?.try_into()?),
            Kind::TrustBundle => Resource::TrustBundle(trust_bundle::from_wire(decode(bytes)?)?),
        };
        if resource.name() != wire.name {
            return Err(WireError::new("name", format!("{} was sent under the name {}", resource.name(), wire.name)));
        }
        Ok(resource)
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, WireError> {
    M::decode(bytes).map_err(|e| WireError::new("resource", e))
}

fn version(content: &[u8]) -> Version {
    let digest = Sha256::digest(content);
    hex::encode(digest.get(..8).unwrap_or(&digest))
}
