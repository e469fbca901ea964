//! Health checks: an application that says that it cannot work gets no requests, although its port is open.

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;
use weft_tests::{App, ControlPlane, HEALTH, Sidecar, Workload, eventually, get};

fn service(check: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: MeshService\n\
         metadata: {{name: orders}}\n\
         spec:\n  \
           workloads: {{service: orders}}\n  \
           ports: [{{port: 80, healthCheck: {{{check}, interval: 100ms}}}}]\n"
    )
}

/// Who answers 20 calls, each once.
async fn answering(caller: &Sidecar) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..20 {
        let answer = get(caller.outbound(), "http://orders/").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        names.push(answer.text());
    }
    names.sort();
    names.dedup();
    names
}

/// What `weft endpoints` says of the one endpoint that is left out.
async fn left_out(control_plane: &ControlPlane) -> Value {
    eventually("weft endpoints shows who is left out", async || {
        let all = control_plane.json(&["endpoints", "orders"]).await;
        let endpoints = all.as_array().unwrap();
        endpoints.iter().find(|endpoint| endpoint["healthy"] == false).cloned().ok_or(all.to_string())
    })
    .await
}

#[tokio::test]
async fn who_answers_503_to_its_check_is_taken_out_at_all_callers_and_comes_back() {
    let control_plane = ControlPlane::start().await;
    control_plane.apply(&service(&format!("http: {{path: {HEALTH}}}"))).await;
    let _v1 = Workload::start(&control_plane, "orders", "v1").await;
    let v2 = Workload::start(&control_plane, "orders", "v2").await;
    let callers = [control_plane.sidecar("caller").start().await, control_plane.sidecar("other").start().await];
    for caller in &callers {
        assert_eq!(answering(caller).await, ["v1", "v2"]);
    }

    v2.app.set_health(http::StatusCode::SERVICE_UNAVAILABLE);
    control_plane.serving("orders", 1).await;
    for caller in &callers {
        eventually("only v1 answers", async || match answering(caller).await {
            names if names == ["v1"] => Ok(()),
            names => Err(names.join(" ")),
        })
        .await;
    }
    let cause = "GET /healthz answered 503";
    assert_eq!(left_out(&control_plane).await["cause"], cause);
    for table in [&["endpoints", "orders"][..], &["status"]] {
        let table = control_plane.weft(table).await.expect_ok();
        assert!(table.contains(&format!("not serving: {cause}")), "{table}");
    }
    assert_eq!(v2.sidecar.log_lines(&["the application is unhealthy", cause]).len(), 1, "{:#?}", v2.sidecar.log());
    let answered = v2.app.begun();
    assert_eq!(get(callers[0].outbound(), "http://orders/").await.text(), "v1");
    assert_eq!(v2.app.begun(), answered);

    v2.app.set_health(http::StatusCode::OK);
    control_plane.serving("orders", 2).await;
    for caller in &callers {
        eventually("both answer", async || match answering(caller).await {
            names if names == ["v1", "v2"] => Ok(()),
            names => Err(names.join(" ")),
        })
        .await;
    }
}

#[tokio::test]
async fn a_workload_that_starts_unhealthy_waits_until_it_is_well() {
    let control_plane = ControlPlane::start().await;
    control_plane.apply(&service(&format!("http: {{path: {HEALTH}}}"))).await;
    let app = App::start("v1").await;
    app.set_health(http::StatusCode::NOT_FOUND);
    let _sidecar = control_plane.sidecar("orders").serves(app.address()).launch().await;
    eventually("its sidecar says why", async || {
        let all = control_plane.json(&["endpoints", "orders"]).await;
        if all[0]["cause"] == "GET /healthz answered 404" { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    assert_eq!(control_plane.json(&["endpoints", "orders"]).await[0]["healthy"], false);
    app.set_health(http::StatusCode::OK);
    control_plane.serving("orders", 1).await;
}

#[tokio::test]
async fn a_grpc_server_that_does_not_serve_is_left_out() {
    let control_plane = ControlPlane::start().await;
    let (reporter, service_of_health) = tonic_health::server::health_reporter();
    reporter.set_service_status("orders.v1.Orders", ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tonic::transport::Server::builder().add_service(service_of_health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let workload = Workload::start(&control_plane, "orders", "v1").await;
    control_plane.apply(&service(&format!("grpc: {{service: orders.v1.Orders}}, port: {port}"))).await;
    control_plane.serving("orders", 1).await;
    reporter.set_service_status("orders.v1.Orders", ServingStatus::NotServing).await;
    control_plane.serving("orders", 0).await;
    let cause = left_out(&control_plane).await["cause"].to_string();
    assert!(cause.contains("orders.v1.Orders") && cause.contains("answered NOT_SERVING"), "{cause}");
    reporter.set_service_status("orders.v1.Orders", ServingStatus::Serving).await;
    control_plane.serving("orders", 1).await;
    assert_eq!(workload.sidecar.log_lines(&["the application is healthy"]).len(), 2);
}
