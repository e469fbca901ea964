use serde_json::json;
use weft_proxy_api::{Leads, Resource, State, inbound::Mtls, proto::discovery::Node};

use super::*;
use crate::{
    admin_api::ApplyRequest,
    mesh::{Mesh, tests::testing},
    snapshot::WorkloadPort,
    store::Registration,
};

const ORDERS: &str = "shop/orders:80";

struct Stream {
    mesh: Mesh,
    session: Session,
    _folder: tempfile::TempDir,
}

impl Stream {
    async fn new() -> Self {
        let (folder, mesh) = testing::mesh().await;
        Self { mesh, session: Session::new("w1".into()), _folder: folder }
    }

    fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        self.session.request(subscribe(kind, names)).unwrap();
    }

    fn responses(&mut self) -> Vec<DeltaDiscoveryResponse> {
        self.session.responses(&self.mesh.published())
    }

    fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        };
        self.session.request(request).unwrap();
    }

    fn acknowledged(&mut self) -> Option<u64> {
        self.session.acknowledged(&self.mesh.published())
    }

    async fn register(&self, port: u16) {
        self.register_as("orders-1", port).await;
    }

    async fn register_as(&self, id: &str, port: u16) {
        let registration = Registration {
            identity: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
            service: "orders".into(),
            ports: WorkloadPort { service_port: 80, address: ([127, 0, 0, 1], port).into(), serving: true }.into(),
            labels: Default::default(),
            zone: String::new(),
        };
        self.mesh.register(id, 1, registration).await.unwrap();
    }

    async fn apply_service(&self, name: &str, address: &str) {
        self.apply("MeshService", name, json!({"static": [{"address": address}]})).await;
    }

    async fn apply(&self, kind: &str, name: &str, spec: serde_json::Value) {
        let document = json!({
            "apiVersion": "weft.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        });
        let request = ApplyRequest {
            documents: vec![document],
            namespace: "default".into(),
            dry_run: false,
            author: "ada".into(),
            message: String::new(),
        };
        self.mesh.apply(request, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    }
}

fn subscribe(kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "w1".into(), ..Default::default() }),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn kinds(responses: &[DeltaDiscoveryResponse]) -> Vec<Kind> {
    responses.iter().map(|response| Kind::from_type_url(&response.type_url).unwrap()).collect()
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

#[tokio::test]
async fn an_unknown_destination_is_answered_and_updated_when_it_appears() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::Destination, &[ORDERS]);
    let [response] = &stream.responses()[..] else { panic!("one response") };
    let Resource::Destination(destination) = Resource::decode(response.resources[0].clone()).unwrap() else {
        panic!("a destination")
    };
    assert!(matches!(destination.state, State::Unknown { .. }));
    stream.ack(response);
    assert!(stream.responses().is_empty());

    stream.register(1).await;
    let [response] = &stream.responses()[..] else { panic!("one response") };
    let Resource::Destination(destination) = Resource::decode(response.resources[0].clone()).unwrap() else {
        panic!("a destination")
    };
    assert!(matches!(destination.state, State::Service(_)));
}

/// What the only resource of the only response is now, which is then acknowledged.
fn only(stream: &mut Stream) -> Resource {
    let [response] = &stream.responses()[..] else { panic!("one response") };
    let [resource] = &response.resources[..] else { panic!("one resource") };
    stream.ack(response);
    Resource::decode(resource.clone()).unwrap()
}

#[tokio::test]
async fn a_host_is_told_when_its_service_comes_and_when_it_goes() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::Host, &["shop/orders"]);
    let addresses = |stream: &mut Stream| match only(stream) {
        Resource::Host(host) => host.addresses.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(addresses(&mut stream), 0);
    stream.apply_service("payments", "10.0.0.1:80").await;
    assert!(stream.responses().is_empty());
    stream.register(1).await;
    assert_eq!(addresses(&mut stream), 2);
    stream.register(2).await;
    assert!(stream.responses().is_empty(), "its endpoint is not its address");
    stream.mesh.leave("orders-1", 1).await.unwrap();
    assert_eq!(addresses(&mut stream), 0);
}

#[tokio::test]
async fn an_address_is_told_who_ever_has_it() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::Address, &["127.0.0.1:7"]);
    let leads = |stream: &mut Stream| match only(stream) {
        Resource::Address(address) => match address.leads {
            Leads::Member { endpoint, .. } => Some(endpoint.id),
            _ => None,
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(leads(&mut stream), None);
    stream.register(8).await;
    assert!(stream.responses().is_empty());
    stream.register(7).await;
    assert_eq!(leads(&mut stream).as_deref(), Some("orders-1"));
    stream.register_as("orders-2", 7).await;
    assert_eq!(leads(&mut stream).as_deref(), Some("orders-2"));
    stream.mesh.leave("orders-2", 1).await.unwrap();
    assert_eq!(leads(&mut stream).as_deref(), Some("orders-1"));
    stream.mesh.leave("orders-1", 1).await.unwrap();
    assert_eq!(leads(&mut stream), None);
}

#[tokio::test]
async fn a_workload_and_its_callers_are_told_of_a_policy_together() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::Inbound, &["w1"]);
    let mtls = |stream: &mut Stream| match only(stream) {
        Resource::Inbound(inbound) => inbound.ports.first().map(|port| (port.port, port.mtls)),
        other => panic!("{other:?}"),
    };
    assert_eq!(mtls(&mut stream), None);
    stream.register_as("w1", 7).await;
    assert_eq!(mtls(&mut stream), Some((7, Mtls::Strict)));

    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    only(&mut stream);
    let policy = json!({"targetRef": {"kind": "Service", "name": "orders"}, "ports": [{"port": 80, "mtls": "off"}]});
    stream.apply("AccessPolicy", "orders", policy).await;
    let responses = stream.responses();
    assert_eq!(kinds(&responses), [Kind::Inbound, Kind::EndpointSet]);
    let decoded = |response: &DeltaDiscoveryResponse| Resource::decode(response.resources[0].clone()).unwrap();
    let Resource::Inbound(inbound) = decoded(&responses[0]) else { panic!("an inbound side") };
    let Resource::EndpointSet(set) = decoded(&responses[1]) else { panic!("a set") };
    assert_eq!((inbound.port(7).mtls, &set.endpoints[0].identity), (Mtls::Off, &None));
}

#[tokio::test]
async fn what_is_no_address_and_no_service_name_is_not_there() {
    let mut stream = Stream::new().await;
    // Each has one way to be written.
    stream.subscribe(Kind::Address, &["orders:80", "[FD00::1]:80", "10.0.0.1", "010.0.0.1:80"]);
    stream.subscribe(Kind::Host, &["orders", "shop/Orders"]);
    let responses = stream.responses();
    let counts: Vec<_> = responses.iter().map(|it| (it.resources.len(), it.removed_resources.len())).collect();
    assert_eq!(counts, [(0, 4), (0, 2)]);
}

#[tokio::test]
async fn only_what_changed_is_sent_and_endpoints_go_before_routes() {
    let mut stream = Stream::new().await;
    stream.register(1).await;
    stream.subscribe(Kind::Destination, &[ORDERS]);
    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    stream.subscribe(Kind::TrustBundle, &["weft.local"]);
    stream.subscribe(Kind::Inbound, &["w1"]);
    let first = stream.responses();
    assert_eq!(kinds(&first), [Kind::TrustBundle, Kind::Inbound, Kind::EndpointSet, Kind::Destination]);
    first.iter().for_each(|response| stream.ack(response));

    stream.register(2).await;
    let second = stream.responses();
    assert_eq!(kinds(&second), [Kind::EndpointSet]);
    assert_eq!(second[0].system_version_info, "0");
}

#[tokio::test]
async fn changes_wait_for_the_answer_and_routes_wait_for_endpoints() {
    let mut stream = Stream::new().await;
    stream.register(1).await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    let first = stream.responses();
    stream.register(2).await;
    stream.register(3).await;
    stream.subscribe(Kind::Destination, &[ORDERS]);
    assert!(stream.responses().is_empty(), "the endpoints are behind, so the routes wait");
    stream.ack(&first[0]);
    let second = stream.responses();
    assert_eq!(kinds(&second), [Kind::EndpointSet, Kind::Destination]);
    let Resource::EndpointSet(set) = Resource::decode(second[0].resources[0].clone()).unwrap() else { panic!("a set") };
    assert_eq!(set.endpoints[0].address.port(), 3, "the state in between is skipped");
}

#[tokio::test]
async fn a_refused_resource_is_told_and_not_sent_again_until_it_changes() {
    let mut stream = Stream::new().await;
    stream.register(1).await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS, "shop/other:80"]);
    let [response] = &stream.responses()[..] else { panic!("one response") };
    let rejection = Rejection {
        type_url: Kind::EndpointSet.type_url().into(),
        name: ORDERS.into(),
        field: "endpoints[0]".into(),
        reason: "no".into(),
    };
    let details = prost_types::Any {
        type_url: "type.googleapis.com/weft.api.v1.Rejection".into(),
        value: rejection.encode_to_vec(),
    };
    let nack = DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: Some(discovery::Status { code: 3, message: "1 refused".into(), details: vec![details] }),
        ..Default::default()
    };
    let rejected = stream.session.request(nack).unwrap();
    assert_eq!(
        rejected,
        [Rejected { kind: Kind::EndpointSet, name: ORDERS.into(), reason: "endpoints[0]: no".into() }]
    );
    assert!(stream.responses().is_empty());
    assert_eq!(stream.acknowledged(), None, "not taken in full");
    assert_eq!(stream.session.take_rejected().map(|all| all.len()), Some(1));
    assert_eq!(stream.session.take_rejected(), None, "nothing has changed since");

    stream.register(2).await;
    let [response] = &stream.responses()[..] else { panic!("one response") };
    assert_eq!(names(response), [ORDERS]);
    stream.ack(response);
    assert_eq!(stream.session.take_rejected(), Some(BTreeMap::new()));
    assert_eq!(stream.acknowledged(), Some(0));
    stream.register(3).await;
    let responses = stream.responses();
    stream.ack(&responses[0]);
    assert_eq!(stream.session.take_rejected(), None, "nothing was refused, and nothing is");
}

#[tokio::test]
async fn what_a_sidecar_says_has_a_limit() {
    let mut stream = Stream::new().await;
    let long = "x".repeat(MAX_NAME + 1);
    let name = stream.session.request(subscribe(Kind::EndpointSet, &[&long])).unwrap_err();
    let mut request = subscribe(Kind::EndpointSet, &[ORDERS]);
    request.initial_resource_versions.insert(ORDERS.into(), long);
    let version = stream.session.request(request).unwrap_err();
    assert_eq!((name.code(), version.code()), (tonic::Code::InvalidArgument, tonic::Code::InvalidArgument));
    assert!(stream.responses().is_empty(), "nothing was taken in");

    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    let responses = stream.responses();
    let details = [ORDERS, ORDERS, "shop/never-sent:80"].map(|name| prost_types::Any {
        value: Rejection {
            type_url: Kind::EndpointSet.type_url().into(),
            name: name.into(),
            reason: "é".repeat(MAX_REASON * 2),
            ..Default::default()
        }
        .encode_to_vec(),
        ..Default::default()
    });
    let nack = DeltaDiscoveryRequest {
        type_url: responses[0].type_url.clone(),
        response_nonce: responses[0].nonce.clone(),
        error_detail: Some(discovery::Status { details: details.into(), ..Default::default() }),
        ..Default::default()
    };
    let reason = "é".repeat(MAX_REASON);
    let expected = [Rejected { kind: Kind::EndpointSet, name: ORDERS.into(), reason }];
    assert_eq!(stream.session.request(nack).unwrap(), expected);
}

#[tokio::test]
async fn a_nack_without_details_is_about_all_that_was_sent() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS, "shop/other:80"]);
    let [response] = &stream.responses()[..] else { panic!("one response") };
    let nack = DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: Some(discovery::Status { code: 3, message: "no".into(), details: Vec::new() }),
        ..Default::default()
    };
    assert_eq!(stream.session.request(nack).unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_sidecar_still_holds_is_not_sent_again() {
    let mut stream = Stream::new().await;
    stream.register(1).await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    let version = stream.responses()[0].resources[0].version.clone();

    stream.session = Session::new("w1".into());
    let mut request = subscribe(Kind::EndpointSet, &[ORDERS, "shop/other:80"]);
    request.initial_resource_versions.insert(ORDERS.into(), version.clone());
    stream.session.request(request).unwrap();
    assert_eq!(names(&stream.responses()[0]), ["shop/other:80"]);

    stream.register(2).await;
    stream.session = Session::new("w1".into());
    let mut request = subscribe(Kind::EndpointSet, &[ORDERS]);
    request.initial_resource_versions.insert(ORDERS.into(), version);
    stream.session.request(request).unwrap();
    assert_eq!(names(&stream.responses()[0]), [ORDERS]);
}

#[tokio::test]
async fn the_acknowledged_revision_follows_also_what_does_not_concern_the_stream() {
    let mut stream = Stream::new().await;
    stream.register(1).await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    let first = stream.responses();
    assert_eq!(stream.acknowledged(), None);
    stream.ack(&first[0]);
    assert_eq!(stream.acknowledged(), Some(0));
    stream.apply_service("payments", "10.0.0.1:80").await;
    assert!(stream.responses().is_empty());
    assert_eq!(stream.acknowledged(), Some(1));
}

#[tokio::test]
async fn the_inbound_of_another_workload_is_not_given_away() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::Inbound, &["w1", "w2"]);
    let [response] = &stream.responses()[..] else { panic!("one response") };
    assert_eq!(names(response), ["w1"]);
    assert_eq!(response.removed_resources, ["w2"]);
    stream.ack(response);
    assert!(stream.responses().is_empty());
}

#[tokio::test]
async fn subscriptions_end_and_have_a_limit() {
    let mut stream = Stream::new().await;
    stream.subscribe(Kind::EndpointSet, &[ORDERS]);
    let first = stream.responses();
    stream.ack(&first[0]);
    let mut request = subscribe(Kind::EndpointSet, &[]);
    request.resource_names_unsubscribe = vec![ORDERS.into()];
    stream.session.request(request).unwrap();
    stream.register(1).await;
    assert!(stream.responses().is_empty());

    let many: Vec<String> = (0..=MAX_SUBSCRIPTIONS).map(|n| format!("shop/s{n}:80")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = stream.session.request(subscribe(Kind::Destination, &many)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn an_unknown_type_is_refused() {
    let mut session = Session::new("w1".into());
    let request = DeltaDiscoveryRequest { type_url: "envoy.config.cluster.v3.Cluster".into(), ..Default::default() };
    assert_eq!(session.request(request).unwrap_err().code(), tonic::Code::InvalidArgument);
}
