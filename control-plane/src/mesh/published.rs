//! What is true at one moment, for everyone to read: the snapshot, and its resources as they are sent.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use weft_certs::TrustBundle;
use weft_proxy_api::{Destination, Kind, Resource, ServiceName, ServicePort, State, proto::discovery};

use super::encoded::{Encoded, Reuse};
use crate::{
    resources::{self, Objects, Problem, nearest::nearest},
    snapshot::{Input, Snapshot, Touched, Workloads},
};

pub struct Published {
    pub revision: u64,
    pub snapshot: Snapshot,
    trust_bundle: TrustBundle,
    encoded: Encoded,
    problems: OnceLock<Vec<Problem>>,
}

impl Published {
    pub fn new(revision: u64, input: Input, trust_bundle: TrustBundle) -> Self {
        let snapshot = Snapshot::compile(input);
        Self { revision, snapshot, trust_bundle, encoded: Encoded::default(), problems: OnceLock::new() }
    }

    /// What is true after a change. What the change did not touch stays as it was sent.
    pub fn after(&self, revision: u64, input: Input) -> Self {
        let (snapshot, touched): (Snapshot, Touched) = self.snapshot.after(input);
        let encoded = self.encoded.without(&touched);
        Self { revision, snapshot, trust_bundle: self.trust_bundle.clone(), encoded, problems: OnceLock::new() }
    }

    pub fn objects(&self) -> &Arc<Objects> {
        &self.snapshot.input().objects
    }

    pub fn workloads(&self) -> &Arc<Workloads> {
        &self.snapshot.input().workloads
    }

    /// What does not hold at present. Only people ask for it, so that it is sought when they do.
    pub fn problems(&self) -> &[Problem] {
        self.problems.get_or_init(|| resources::check(self.objects(), self.workloads().implied()))
    }

    /// The resource as it is sent. `None`: there can be none of this name.
    pub fn resource(&self, kind: Kind, name: &str) -> Option<Arc<discovery::Resource>> {
        self.encoded.get_or_make(kind, name, || self.compile(kind, name))
    }

    /// The known service nearest to a name that is not known.
    pub fn nearest(&self, name: &ServiceName) -> Option<ServiceName> {
        let known: Vec<String> = self.snapshot.services().iter().map(ToString::to_string).collect();
        nearest(&name.to_string(), known.iter().map(String::as_str))?.parse().ok()
    }

    fn compile(&self, kind: Kind, name: &str) -> Option<(Resource, Reuse)> {
        match kind {
            Kind::Destination => {
                let name = name.parse::<ServicePort>().ok()?;
                let destination = self.snapshot.destination(&name);
                let reuse = match &destination {
                    // Its hint can come from any service.
                    Destination { state: State::Unknown { .. }, .. } => Reuse::Never,
                    Destination { state: State::Service(_), .. } => Reuse::of(self.snapshot.used_by_destination(&name)),
                };
                Some((Resource::Destination(destination), reuse))
            }
            Kind::EndpointSet => {
                let name = name.parse::<ServicePort>().ok()?;
                let reuse = Reuse::of(self.snapshot.used_by_endpoints(&name));
                Some((Resource::EndpointSet(self.snapshot.endpoints(&name)), reuse))
            }
            Kind::Address => {
                let address = name.parse::<SocketAddr>().ok().filter(|address| address.to_string() == name)?;
                let reuse = self.snapshot.used_by_address(address).map_or(Reuse::Never, Reuse::of);
                Some((Resource::Address(self.snapshot.address(address)), reuse))
            }
            Kind::Host => {
                let name = name.parse::<ServiceName>().ok()?;
                let reuse = self.snapshot.used_by_host(&name).map_or(Reuse::Never, Reuse::of);
                Some((Resource::Host(self.snapshot.host(&name)), reuse))
            }
            Kind::Inbound => {
                let reuse = Reuse::of(self.snapshot.used_by_inbound(name));
                Some((Resource::Inbound(self.snapshot.inbound(name)), reuse))
            }
            Kind::TrustBundle => {
                let bundle = &self.trust_bundle;
                (bundle.trust_domain().as_str() == name)
                    .then(|| (Resource::TrustBundle(bundle.clone()), Reuse::of(Vec::new())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
