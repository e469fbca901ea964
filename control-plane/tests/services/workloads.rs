//! Reports, and the endpoints that come of them.

use serde_json::Value;
use tonic::Code;
use weft_proxy_api::proto::workload::v1::{Circuit, FurtherPort, WorkloadReport, circuit::State};

use crate::{
    ControlPlane,
    sidecar::{Reports, join, serving},
};

async fn endpoints(mesh: &ControlPlane, service: &str) -> Vec<Value> {
    let (status, endpoints) = mesh.admin.get(&format!("/v1/services/shop/{service}/endpoints")).await;
    if status == 404 { Vec::new() } else { endpoints.as_array().unwrap().clone() }
}

#[tokio::test]
async fn a_workload_comes_into_balancing_and_leaves_it() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    assert_eq!(reports.send(WorkloadReport { serving: false, ..serving("orders", 4001) }).await.unwrap(), "");
    assert_eq!(mesh.status("orders-1").await["serving"], false);

    assert_eq!(reports.send(serving("orders", 4001)).await.unwrap(), "");
    let all = endpoints(&mesh, "orders").await;
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["id"], &all[0]["source"]), (&"orders-1".into(), &"registered".into()));
    assert_eq!(all[0]["labels"]["version"], "v1");
    assert_eq!(mesh.status("orders-1").await["spiffeId"], "spiffe://weft.local/ns/shop/sa/orders");

    assert_eq!(reports.send(WorkloadReport { leaving: true, ..serving("orders", 4001) }).await.unwrap(), "");
    assert!(endpoints(&mesh, "orders").await.is_empty());
}

#[tokio::test]
async fn each_port_of_a_workload_comes_into_balancing_by_itself() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    let with_further = |is_serving: bool| {
        let mut report = serving("orders", 4001);
        let further = FurtherPort { service_port: 9090, address: "127.0.0.1:9090".to_owned(), serving: is_serving };
        report.registration.as_mut().unwrap().further_ports.push(further);
        report
    };
    for is_serving in [false, true, false] {
        assert_eq!(reports.send(with_further(is_serving)).await.unwrap(), "");
        let all = endpoints(&mesh, "orders").await;
        let healthy: Vec<_> = all.iter().map(|endpoint| (&endpoint["port"], &endpoint["healthy"])).collect();
        assert_eq!(healthy, [(&80.into(), &true.into()), (&9090.into(), &is_serving.into())]);
        let status = mesh.status("orders-1").await;
        assert_eq!(
            (&status["serving"], &status["ports"][1]["address"]),
            (&is_serving.into(), &"127.0.0.1:9090".into())
        );
    }
    assert_eq!(reports.send(serving("orders", 4001)).await.unwrap(), "");
    assert_eq!(endpoints(&mesh, "orders").await.len(), 1, "it has the one port only");
}

#[tokio::test]
async fn a_service_that_was_not_granted_is_refused_with_the_reason() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    let refused = reports.send(serving("payments", 4001)).await.unwrap();
    assert!(refused.contains("no right to register the service shop/payments"), "{refused}");
    assert!(endpoints(&mesh, "payments").await.is_empty());
    assert_eq!(reports.send(serving("orders", 4001)).await.unwrap(), "", "the stream goes on");
}

#[tokio::test]
async fn nobody_reports_for_the_workload_of_another() {
    let mesh = ControlPlane::start().await;
    let (orders, other) = (join(&mesh, "orders").await, join(&mesh, "other").await);
    let mut reports = Reports::open(&mesh, &orders, "orders-1").await;
    reports.send(serving("orders", 4001)).await.unwrap();
    let mut theirs = Reports::open(&mesh, &other, "orders-1").await;
    let refused = theirs.send(serving("other", 4002)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(endpoints(&mesh, "orders").await[0]["address"], "127.0.0.1:4001");
}

#[tokio::test]
async fn endpoints_survive_a_broken_stream_and_a_restart_of_the_control_plane() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    reports.send(serving("orders", 4001)).await.unwrap();
    drop(reports);
    mesh.until("orders-1", |status| status["connected"] == false).await;
    assert_eq!(endpoints(&mesh, "orders").await.len(), 1);

    let token = mesh.admin.credentials.token.clone();
    let mesh = mesh.restart().await;
    assert_eq!(mesh.admin.credentials.token, token);
    assert_eq!(endpoints(&mesh, "orders").await.len(), 1);
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    assert_eq!(reports.send(serving("orders", 4001)).await.unwrap(), "");
}

#[tokio::test]
async fn circuits_are_shown_with_who_holds_them() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let mut reports = Reports::open(&mesh, &identity, "orders-1").await;
    let circuit = Circuit {
        backend: "shop/payments:80".into(),
        state: State::HalfOpen.into(),
        cause: "5 failures in a row".into(),
        since_ms: 1_000,
        times_opened: 2,
        ..Default::default()
    };
    reports.send(WorkloadReport { circuits: vec![circuit], ..serving("orders", 4001) }).await.unwrap();
    let (_, circuits) = mesh.admin.get("/v1/circuits").await;
    assert_eq!(circuits[0]["caller"], "shop/orders");
    assert_eq!(circuits[0]["state"], "half-open");
    assert_eq!(circuits[0]["timesOpened"], 2);
}
