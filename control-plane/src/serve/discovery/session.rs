//! One discovery stream as a state machine: requests and publications in, responses out.
//!
//! Per type at most one response is unanswered, and what changes meanwhile is sent as one after the answer: a slow
//! sidecar costs a bounded queue and skips states that nobody needs any more. EndpointSets go before Destinations, so
//! that a sidecar knows where a backend is before it is told to use it. A resource that was refused is not sent again
//! until it changes.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tonic::Status;
use weft_proxy_api::{
    Kind, Version,
    proto::{
        api::v1::Rejection,
        discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
};

use crate::mesh::Published;

/// Names that one stream may be subscribed to, over all types.
const MAX_SUBSCRIPTIONS: usize = 10_000;
/// Bytes of a name or a version; a trust domain has up to 255, the names of services and workloads fewer.
const MAX_NAME: usize = 256;
/// Characters of the reason for a refusal that are kept, for people.
const MAX_REASON: usize = 512;
/// gRPC clients take 4 MiB by default; a response may go over this by its last resource.
const RESPONSE_BYTES: usize = 1 << 20;
/// Before the routes that lead to them: anchors, own settings, endpoints.
const SEND_ORDER: [Kind; 6] =
    [Kind::TrustBundle, Kind::Inbound, Kind::Address, Kind::Host, Kind::EndpointSet, Kind::Destination];

pub struct Session {
    /// The workload's id: the only Inbound that it may have.
    workload: String,
    types: BTreeMap<Kind, Subscriptions>,
    nonces: u64,
    acknowledged: Option<u64>,
    /// What the sidecar refuses is not as it was when it was last taken.
    is_rejected_changed: bool,
}

#[derive(Default)]
struct Subscriptions {
    /// What the sidecar holds, by name, as far as it was sent.
    held: BTreeMap<String, Held>,
    unanswered: Option<Unanswered>,
    rejected: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Held {
    Nothing,
    Version(Version),
    /// It was told that there is no such resource.
    Removed,
}

struct Unanswered {
    nonce: String,
    names: Vec<String>,
}

/// A resource that the sidecar refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    pub kind: Kind,
    pub name: String,
    pub reason: String,
}

impl Session {
    pub fn new(workload: String) -> Self {
        Self { workload, types: BTreeMap::new(), nonces: 0, acknowledged: None, is_rejected_changed: false }
    }

    /// Takes in what the sidecar says: subscriptions, what it still holds from earlier, and its answer to a response.
    /// Returns what it refused.
    pub fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<Vec<Rejected>, Status> {
        let kind = Kind::from_type_url(&request.type_url)
            .ok_or_else(|| Status::invalid_argument(format!("unknown resource type {:?}", request.type_url)))?;
        check_names(&request)?;
        let subscriptions = self.types.entry(kind).or_default();
        let before = subscriptions.rejected.len();
        let rejected = subscriptions.answer(kind, &request.response_nonce, request.error_detail);
        for name in request.resource_names_unsubscribe {
            subscriptions.held.remove(&name);
            subscriptions.rejected.remove(&name);
        }
        // Whatever is refused anew is in `rejected`, also where it takes the place of something that no longer is.
        self.is_rejected_changed |= !rejected.is_empty() || subscriptions.rejected.len() != before;
        let mut versions = request.initial_resource_versions;
        for name in request.resource_names_subscribe {
            // Subscribing again to a name asks for it again.
            let held = versions.remove(&name).map_or(Held::Nothing, Held::Version);
            subscriptions.held.insert(name, held);
        }
        self.check_size()?;
        Ok(rejected)
    }

    /// What is to be sent now.
    pub fn responses(&mut self, published: &Published) -> Vec<DeltaDiscoveryResponse> {
        let mut responses = Vec::new();
        let mut withheld = false;
        for kind in SEND_ORDER {
            if kind == Kind::Destination && withheld {
                break;
            }
            let Some(subscriptions) = self.types.get_mut(&kind) else { continue };
            if subscriptions.unanswered.is_none() {
                self.nonces += 1;
                let nonce = format!("{}", self.nonces);
                responses.extend(subscriptions.respond(kind, &self.workload, published, nonce));
            }
            withheld |= kind == Kind::EndpointSet && subscriptions.is_behind(kind, &self.workload, published);
        }
        responses
    }

    /// The newest revision that the sidecar has taken in full. One that has nothing to be sent has taken the current.
    pub fn acknowledged(&mut self, published: &Published) -> Option<u64> {
        let is_done = |(kind, subscriptions): (&Kind, &Subscriptions)| {
            subscriptions.unanswered.is_none()
                && subscriptions.rejected.is_empty()
                && !subscriptions.is_behind(*kind, &self.workload, published)
        };
        if self.types.iter().all(is_done) {
            self.acknowledged = Some(published.revision);
        }
        self.acknowledged
    }

    /// Everything that the sidecar refuses at present, with the reason; `None`: the same as when this was last asked.
    pub fn take_rejected(&mut self) -> Option<BTreeMap<(Kind, String), String>> {
        std::mem::take(&mut self.is_rejected_changed).then(|| self.rejected())
    }

    fn rejected(&self) -> BTreeMap<(Kind, String), String> {
        let of = |(kind, subscriptions): (&Kind, &Subscriptions)| {
            let kind = *kind;
            subscriptions.rejected.clone().into_iter().map(move |(name, reason)| ((kind, name), reason))
        };
        self.types.iter().flat_map(of).collect()
    }

    fn check_size(&self) -> Result<(), Status> {
        let count: usize = self.types.values().map(|subscriptions| subscriptions.held.len()).sum();
        if count > MAX_SUBSCRIPTIONS {
            return Err(Status::resource_exhausted(format!("a stream may have {MAX_SUBSCRIPTIONS} subscriptions")));
        }
        Ok(())
    }
}

/// Names and versions are kept for as long as the stream lives.
fn check_names(request: &DeltaDiscoveryRequest) -> Result<(), Status> {
    let versions = request.initial_resource_versions.values();
    match request.resource_names_subscribe.iter().chain(versions).any(|text| text.len() > MAX_NAME) {
        true => Err(Status::invalid_argument(format!("a name or version may have {MAX_NAME} bytes"))),
        false => Ok(()),
    }
}

impl Subscriptions {
    /// An ACK or a NACK of the response that is open; anything else, such as a late answer, says nothing.
    fn answer(&mut self, kind: Kind, nonce: &str, error: Option<discovery::Status>) -> Vec<Rejected> {
        let Some(answered) = self.unanswered.take_if(|open| open.nonce == nonce) else { return Vec::new() };
        for name in &answered.names {
            self.rejected.remove(name);
        }
        let Some(error) = error else { return Vec::new() };
        let rejected = refused(kind, &answered, error);
        let still_held = rejected.iter().filter(|one| self.held.contains_key(&one.name));
        self.rejected.extend(still_held.map(|one| (one.name.clone(), one.reason.clone())));
        rejected
    }

    fn respond(
        &mut self,
        kind: Kind,
        workload: &str,
        published: &Published,
        nonce: String,
    ) -> Option<DeltaDiscoveryResponse> {
        let (mut resources, mut removed, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (name, held) in &mut self.held {
            let resource = find(kind, name, workload, published);
            let current = resource.as_ref().map_or(Held::Removed, |resource| Held::Version(resource.version.clone()));
            if *held == current {
                continue;
            }
            match resource {
                Some(resource) => {
                    bytes += resource.encoded_len();
                    resources.push(discovery::Resource::clone(&resource));
                }
                None => removed.push(name.clone()),
            }
            *held = current;
            if bytes > RESPONSE_BYTES {
                break;
            }
        }
        if resources.is_empty() && removed.is_empty() {
            return None;
        }
        let names = resources.iter().map(|resource| resource.name.clone()).chain(removed.iter().cloned()).collect();
        self.unanswered = Some(Unanswered { nonce: nonce.clone(), names });
        Some(DeltaDiscoveryResponse {
            system_version_info: published.revision.to_string(),
            resources,
            type_url: kind.type_url().to_owned(),
            nonce,
            removed_resources: removed,
        })
    }

    /// Whether something is still to be sent.
    fn is_behind(&self, kind: Kind, workload: &str, published: &Published) -> bool {
        self.held.iter().any(|(name, held)| match find(kind, name, workload, published) {
            Some(resource) => !matches!(held, Held::Version(version) if *version == resource.version),
            None => *held != Held::Removed,
        })
    }
}

fn find(kind: Kind, name: &str, workload: &str, published: &Published) -> Option<std::sync::Arc<discovery::Resource>> {
    if kind == Kind::Inbound && name != workload {
        return None;
    }
    published.resource(kind, name)
}

/// Which resources a NACK is about: those of the sent ones that its details name, or all.
fn refused(kind: Kind, answered: &Unanswered, error: discovery::Status) -> Vec<Rejected> {
    let mut sent: BTreeSet<&str> = answered.names.iter().map(String::as_str).collect();
    let details = error.details.iter().filter_map(|any| Rejection::decode(any.value.as_slice()).ok());
    let named: Vec<Rejected> = details
        .filter(|rejection| rejection.type_url == kind.type_url() && sent.remove(rejection.name.as_str()))
        .map(|rejection| {
            let place = if rejection.field.is_empty() { String::new() } else { format!("{}: ", rejection.field) };
            let reason = shortened(&format!("{place}{}", rejection.reason));
            Rejected { kind, name: rejection.name, reason }
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let reason = shortened(&error.message);
    let all = |name: &String| Rejected { kind, name: name.clone(), reason: reason.clone() };
    answered.names.iter().map(all).collect()
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

pub fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Destination => "destination",
        Kind::EndpointSet => "endpoint_set",
        Kind::Address => "address",
        Kind::Host => "host",
        Kind::Inbound => "inbound",
        Kind::TrustBundle => "trust_bundle",
    }
}

#[cfg(test)]
mod tests;
