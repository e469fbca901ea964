//! What is true at one moment, for everyone to read: the snapshot, and its resources as they are sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use weft_certs::TrustBundle;
use weft_proxy_api::{Kind, Resource, ServiceName, ServicePort, proto::discovery};

use crate::{
    endpoints::dns::Resolved,
    resources::{Objects, Problem, nearest::nearest},
    snapshot::{Snapshot, WorkloadEndpoint},
};

/// Encoded resources that are kept for other streams; names come from outside, so that there must be an end.
const CACHED: usize = 65_536;

pub struct Published {
    pub revision: u64,
    pub objects: Arc<Objects>,
    pub workloads: Vec<WorkloadEndpoint>,
    pub resolved: Resolved,
    pub snapshot: Snapshot,
    /// What does not hold at present.
    pub problems: Vec<Problem>,
    pub(super) trust_bundle: TrustBundle,
    pub(super) encoded: Mutex<HashMap<(Kind, String), Arc<discovery::Resource>>>,
}

impl Published {
    /// The resource as it is sent. `None`: there can be none of this name.
    pub fn resource(&self, kind: Kind, name: &str) -> Option<Arc<discovery::Resource>> {
        let key = (kind, name.to_owned());
        if let Some(known) = self.cache().get(&key) {
            return Some(known.clone());
        }
        let resource = Arc::new(self.compile(kind, name)?.encode());
        let mut cache = self.cache();
        if cache.len() < CACHED {
            cache.insert(key, resource.clone());
        }
        Some(resource)
    }

    /// The known service nearest to a name that is not known.
    pub fn nearest(&self, name: &ServiceName) -> Option<ServiceName> {
        let known: Vec<String> = self.snapshot.services().map(ToString::to_string).collect();
        nearest(&name.to_string(), known.iter().map(String::as_str))?.parse().ok()
    }

    fn compile(&self, kind: Kind, name: &str) -> Option<Resource> {
        let port = || name.parse::<ServicePort>().ok();
        Some(match kind {
            Kind::Destination => Resource::Destination(self.snapshot.destination(&port()?)),
            Kind::EndpointSet => Resource::EndpointSet(self.snapshot.endpoints(&port()?)),
            Kind::Inbound => Resource::Inbound(self.snapshot.inbound(name)),
            Kind::TrustBundle => {
                let bundle = &self.trust_bundle;
                (bundle.trust_domain().as_str() == name).then(|| Resource::TrustBundle(bundle.clone()))?
            }
        })
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, String), Arc<discovery::Resource>>> {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
