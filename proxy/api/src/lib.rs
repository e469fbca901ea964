//! The data-plane API: what a sidecar can be told, and the wire that tells it.
//!
//! The control plane compiles resources into these types; the proxy turns them into live objects. Each domain type
//! stands beside its conversion to and from the wire, so that neither side sees protobuf anywhere else.
//! A value that converts without error is valid: regexes compile, indices point somewhere, weights have a sum.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod address;
pub mod destination;
pub mod endpoint_set;
pub mod inbound;
pub mod name;
pub mod policy;
pub mod resource;
pub mod route;
pub mod settings;
pub mod trust_bundle;
pub mod virtual_address;
mod wire;

pub use address::{Address, Host, Leads};
pub use destination::{Backend, Destination, Service, State};
pub use endpoint_set::{Endpoint, EndpointSet};
pub use inbound::Inbound;
pub use name::{ServiceName, ServicePort};
pub use resource::{Kind, Resource, Version};
pub use wire::WireError;

/// At how many ports a workload may serve.
pub const MOST_PORTS: usize = 64;

/// Generated gRPC and protobuf code, checked in; `tests/generated.rs` keeps it true to `proto/`.
#[allow(clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
pub mod proto {
    pub mod discovery {
        include!("generated/envoy.service.discovery.v3.rs");
    }
    pub mod api {
        pub mod v1 {
            include!("generated/weft.api.v1.rs");
        }
    }
    pub mod identity {
        pub mod v1 {
            include!("generated/weft.identity.v1.rs");
        }
    }
    pub mod quota {
        pub mod v1 {
            include!("generated/weft.quota.v1.rs");
        }
    }
    pub mod workload {
        pub mod v1 {
            include!("generated/weft.workload.v1.rs");
        }
    }
}
