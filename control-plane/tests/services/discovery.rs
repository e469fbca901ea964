//! The discovery stream over the network: subscribe, update, answer, resume.

use tonic::Code;
use weft_proxy_api::{Kind, Resource, State, proto::discovery::DeltaDiscoveryResponse};

use crate::{
    ControlPlane,
    harness::apply_service,
    sidecar::{Discovery, Reports, connect, join, serving},
};

const ORDERS: &str = "shop/orders:80";

fn state(response: &DeltaDiscoveryResponse) -> State {
    match Resource::decode(response.resources[0].clone()).unwrap() {
        Resource::Destination(destination) => destination.state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_destination_is_answered_updated_acknowledged_and_resumed() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "frontend").await;
    let mut stream = Discovery::open(&mesh, &identity, "frontend-1").await;
    stream.subscribe(Kind::Destination, ORDERS, None).await;
    let first = stream.next().await;
    assert!(matches!(state(&first), State::Unknown { .. }));
    stream.answer(&first, None).await;

    let (status, change) = mesh.admin.post("/v1/apply", apply_service("orders", "10.0.0.1:80")).await;
    assert_eq!((status.as_u16(), change["revision"].as_u64()), (200, Some(1)), "{change}");
    let second = stream.next().await;
    assert!(matches!(state(&second), State::Service(_)));
    assert_eq!(second.system_version_info, "1");
    assert_eq!(mesh.status("frontend-1").await["acknowledged"], 0, "not before it says so");
    stream.answer(&second, None).await;
    mesh.until("frontend-1", |status| status["acknowledged"] == 1).await;

    let version = second.resources[0].version.clone();
    drop(stream);
    let mut again = Discovery::open(&mesh, &identity, "frontend-1").await;
    again.subscribe(Kind::Destination, ORDERS, Some(&version)).await;
    again.subscribe(Kind::EndpointSet, ORDERS, None).await;
    let response = again.next().await;
    assert_eq!(response.type_url, Kind::EndpointSet.type_url(), "what it still holds is not sent again");
}

#[tokio::test]
async fn a_refused_resource_shows_in_the_status_and_the_revision_is_not_acknowledged() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "frontend").await;
    let mut stream = Discovery::open(&mesh, &identity, "frontend-1").await;
    stream.subscribe(Kind::Destination, ORDERS, None).await;
    let first = stream.next().await;
    stream.answer(&first, None).await;
    mesh.until("frontend-1", |status| status["acknowledged"] == 0).await;
    mesh.admin.post("/v1/apply", apply_service("orders", "10.0.0.1:80")).await;
    let second = stream.next().await;
    stream.answer(&second, Some("cannot do that")).await;
    let status = mesh.until("frontend-1", |status| status["rejected"] != serde_json::json!([])).await;
    assert_eq!(status["rejected"][0], "Destination shop/orders:80: cannot do that");
    assert_eq!(status["acknowledged"], 0);

    mesh.admin.post("/v1/rollback", serde_json::json!({"revision": 0, "author": "ada"})).await;
    let third = stream.next().await;
    stream.answer(&third, None).await;
    mesh.until("frontend-1", |status| status["acknowledged"] == 2 && status["rejected"] == serde_json::json!([])).await;
}

#[tokio::test]
async fn the_endpoints_of_a_workload_reach_its_callers() {
    let mesh = ControlPlane::start().await;
    let caller = join(&mesh, "frontend").await;
    let mut stream = Discovery::open(&mesh, &caller, "frontend-1").await;
    stream.subscribe(Kind::EndpointSet, ORDERS, None).await;
    let empty = stream.next().await;
    stream.answer(&empty, None).await;

    let orders = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &orders, "orders-1").await;
    assert_eq!(reports.send(serving("orders", 4001)).await.unwrap(), "");
    let response = stream.next().await;
    let Resource::EndpointSet(set) = Resource::decode(response.resources[0].clone()).unwrap() else { panic!("a set") };
    assert_eq!(set.endpoints[0].address.port(), 4001);
    assert_eq!(set.endpoints[0].identity.as_ref(), Some(orders.svid().id()));
}

#[tokio::test]
async fn a_stream_needs_an_svid_and_an_id_of_its_own() {
    let mesh = ControlPlane::start().await;
    let channel = connect(&mesh, None).await.unwrap();
    let mut client =
        weft_proxy_api::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient::new(
            channel,
        );
    let refused = client.delta_aggregated_resources(tokio_stream::empty()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let (orders, other) = (join(&mesh, "orders").await, join(&mesh, "other").await);
    let mut mine = Discovery::open(&mesh, &orders, "orders-1").await;
    mine.subscribe(Kind::Inbound, "orders-1", None).await;
    mine.next().await;
    let mut theirs = Discovery::open(&mesh, &other, "orders-1").await;
    theirs.subscribe(Kind::Inbound, "orders-1", None).await;
    assert_eq!(theirs.try_next().await.unwrap_err().code(), Code::PermissionDenied);
}
