//! The discovery stream: incremental xDS over one gRPC stream, resumed by version after every interruption.
//!
//! Asks for a destination when a request first needs it, and for the endpoints of whatever its destinations name. What
//! is valid takes effect, also when something else in the same response does not: the NACK names each refused resource.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weft_proxy_api::{
    Kind, Resource,
    proto::{
        api::v1::Rejection,
        discovery::{
            self as xds, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
};

use super::{Backoff, channel, state::StateDir};
use crate::{mesh::Store, telemetry::Metrics};

/// What is not of the mesh is given up when nobody asked for it for so long.
const UNKNOWN_IDLE: Duration = Duration::from_secs(60);
/// Changes that come in a burst are written to the state folder together.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);
/// google.rpc.Code
const INVALID_ARGUMENT: i32 = 3;

pub struct Discovery {
    pub store: Arc<Store>,
    pub channel: Channel,
    /// This workload's id: the name of its `Inbound`.
    pub workload: String,
    pub trust_domain: String,
    pub asked: mpsc::UnboundedReceiver<(Kind, String)>,
    pub state: Option<Arc<StateDir>>,
    pub metrics: Arc<Metrics>,
}

/// What is subscribed to, and what was received for it.
#[derive(Default)]
struct Held {
    subscribed: HashMap<Kind, BTreeSet<String>>,
    resources: HashMap<(Kind, String), xds::Resource>,
    /// Whether `resources` has what the state folder has not.
    unsaved: bool,
}

type Requests = mpsc::Sender<DeltaDiscoveryRequest>;

impl Discovery {
    /// Follows the control plane for as long as it is polled.
    pub async fn run(mut self) {
        let mut held = self.restore();
        let mut backoff = Backoff::default();
        loop {
            let ended = self.session(&mut held, &mut backoff).await;
            self.metrics.discovery_connected.set(0);
            self.store.set_connected(false);
            self.save(&mut held).await;
            tracing::warn!("the discovery stream ended, the last configuration serves on: {ended}");
            backoff.wait().await;
        }
    }

    /// Puts the saved configuration into use, and subscribes to what it was made of.
    fn restore(&self) -> Held {
        let mut held = Held::default();
        held.subscribe(Kind::TrustBundle, self.trust_domain.clone());
        held.subscribe(Kind::Inbound, self.workload.clone());
        let saved = self.state.as_ref().map(|state| state.configuration()).unwrap_or_default();
        let usable: Vec<Resource> = saved.into_iter().filter_map(|wire| held.restore(wire)).collect();
        if !usable.is_empty() {
            tracing::info!(resources = usable.len(), "configuration restored from the state folder");
            self.store.apply(usable, Vec::new());
        }
        held
    }

    /// One stream, from its start to its end; returns why it ended.
    async fn session(&mut self, held: &mut Held, backoff: &mut Backoff) -> String {
        let (requests, outgoing) = mpsc::channel(64);
        for request in held.first_requests(&self.workload) {
            // The channel has room for the first four.
            let _ = requests.try_send(request);
        }
        let mut client =
            AggregatedDiscoveryServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let mut responses = match client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return channel::reason(&status),
        };
        let mut forget = tokio::time::interval(UNKNOWN_IDLE / 3);
        let mut save = tokio::time::interval(SAVE_INTERVAL);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let open = tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        backoff.reset();
                        self.metrics.discovery_connected.set(1);
                        self.store.set_connected(true);
                        self.take(held, response, &requests).await
                    }
                    Ok(None) => return "the control plane closed it".to_owned(),
                    Err(status) => return channel::reason(&status),
                },
                Some((kind, name)) = self.asked.recv() => held.want(kind, [name], &requests).await,
                _ = forget.tick() => self.forget_unused(held, &requests).await,
                _ = save.tick(), if held.unsaved => {
                    self.save(held).await;
                    true
                }
            };
            if !open {
                return "the connection was lost".to_owned();
            }
        }
    }

    /// Takes one response, acknowledges it, and follows what it names. `false`: the stream is closed.
    async fn take(&self, held: &mut Held, response: DeltaDiscoveryResponse, requests: &Requests) -> bool {
        let Some(kind) = Kind::from_type_url(&response.type_url) else {
            tracing::warn!(type_url = %response.type_url, "the control plane sent a type that was not asked for");
            return true;
        };
        let (accepted, rejected) = held.accept(kind, response.resources);
        let removed = response.removed_resources.into_iter().map(|name| (kind, name)).collect::<Vec<_>>();
        for key in &removed {
            held.resources.remove(key);
            if matches!(kind, Kind::Destination | Kind::Address | Kind::Host) {
                // Taken back: it is subscribed to again when it is asked for again.
                held.subscribed.entry(kind).or_default().remove(&key.1);
            }
        }
        self.store.apply(accepted, removed);
        for rejection in &rejected {
            self.metrics.rejected_resources.inc();
            tracing::error!(name = %rejection.name, field = %rejection.field, "a resource was refused: {}", rejection.reason);
        }
        if let Ok(revision) = response.system_version_info.parse() {
            self.metrics.revision.set(revision);
        }
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail: (!rejected.is_empty()).then(|| refusal(rejected)),
            ..Default::default()
        };
        let open = requests.send(answer).await.is_ok() && self.follow_endpoints(held, requests).await;
        held.unsaved = true;
        open
    }

    /// Subscribes to the endpoints of every backend that is named, and to no others.
    async fn follow_endpoints(&self, held: &mut Held, requests: &Requests) -> bool {
        let needed: BTreeSet<String> = self.store.needed_endpoints().iter().map(ToString::to_string).collect();
        let current = held.subscribed.get(&Kind::EndpointSet).cloned().unwrap_or_default();
        held.want(Kind::EndpointSet, needed.difference(&current).cloned(), requests).await
            && held.unwant(Kind::EndpointSet, current.difference(&needed).cloned(), requests).await
    }

    /// Gives up what is not of the mesh and nobody asks for any more.
    async fn forget_unused(&self, held: &mut Held, requests: &Requests) -> bool {
        let unused = self.store.forgotten(UNKNOWN_IDLE);
        if unused.is_empty() {
            return true;
        }
        self.store.apply(Vec::new(), unused.clone());
        for kind in [Kind::Destination, Kind::Address, Kind::Host] {
            let names = unused.iter().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone());
            if !held.unwant(kind, names, requests).await {
                return false;
            }
        }
        true
    }

    /// Writes the configuration to the state folder, on a thread that may wait for the disk.
    async fn save(&self, held: &mut Held) {
        let Some(state) = self.state.clone().filter(|_| held.unsaved) else { return };
        held.unsaved = false;
        let resources = held.resources.values().cloned().collect();
        let _ = tokio::task::spawn_blocking(move || state.save_configuration(resources)).await;
    }
}

impl Held {
    fn subscribe(&mut self, kind: Kind, name: String) -> bool {
        self.subscribed.entry(kind).or_default().insert(name)
    }

    fn restore(&mut self, wire: xds::Resource) -> Option<Resource> {
        let resource = Resource::decode(wire.clone()).ok()?;
        let key = (resource.kind(), resource.name());
        // The workload may have got another id; what it enforced under the old one still holds until it is told.
        if key.0 != Kind::Inbound {
            self.subscribe(key.0, key.1.clone());
            self.resources.insert(key, wire);
        }
        Some(resource)
    }

    /// One request for each type, with the versions that are held.
    fn first_requests(&self, workload: &str) -> Vec<DeltaDiscoveryRequest> {
        let node = Node { id: workload.to_owned(), cluster: String::new() };
        let request = |kind: &Kind| DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: self.subscribed.get(kind).into_iter().flatten().cloned().collect(),
            initial_resource_versions: self
                .resources
                .iter()
                .filter(|((held, _), _)| held == kind)
                .map(|((_, name), resource)| (name.clone(), resource.version.clone()))
                .collect(),
            ..Default::default()
        };
        Kind::ALL.iter().filter(|kind| self.subscribed.contains_key(kind)).map(request).collect()
    }

    fn accept(&mut self, kind: Kind, resources: Vec<xds::Resource>) -> (Vec<Resource>, Vec<Rejection>) {
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for wire in resources {
            match Resource::decode(wire.clone()) {
                Ok(resource) => {
                    self.resources.insert((kind, wire.name.clone()), wire);
                    accepted.push(resource);
                }
                Err(error) => rejected.push(Rejection {
                    type_url: kind.type_url().to_owned(),
                    name: wire.name,
                    field: error.field,
                    reason: error.reason,
                }),
            }
        }
        (accepted, rejected)
    }

    async fn want(&mut self, kind: Kind, names: impl IntoIterator<Item = String>, requests: &Requests) -> bool {
        let fresh: Vec<String> = names.into_iter().filter(|name| self.subscribe(kind, name.clone())).collect();
        let request = DeltaDiscoveryRequest { resource_names_subscribe: fresh, ..for_type(kind) };
        request.resource_names_subscribe.is_empty() || requests.send(request).await.is_ok()
    }

    async fn unwant(&mut self, kind: Kind, names: impl IntoIterator<Item = String>, requests: &Requests) -> bool {
        let gone: Vec<String> = names.into_iter().collect();
        for name in &gone {
            self.subscribed.entry(kind).or_default().remove(name);
            self.resources.remove(&(kind, name.clone()));
        }
        let request = DeltaDiscoveryRequest { resource_names_unsubscribe: gone, ..for_type(kind) };
        request.resource_names_unsubscribe.is_empty() || requests.send(request).await.is_ok()
    }
}

fn for_type(kind: Kind) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), ..Default::default() }
}

/// A NACK's detail: one sentence for people, one `Rejection` per resource for programs.
fn refusal(rejected: Vec<Rejection>) -> xds::Status {
    let lines: Vec<String> = rejected.iter().map(|r| format!("{}: {}: {}", r.name, r.field, r.reason)).collect();
    let any = |rejection: Rejection| prost_types::Any {
        type_url: "type.googleapis.com/weft.api.v1.Rejection".to_owned(),
        value: rejection.encode_to_vec(),
    };
    xds::Status { code: INVALID_ARGUMENT, message: lines.join("; "), details: rejected.into_iter().map(any).collect() }
}
