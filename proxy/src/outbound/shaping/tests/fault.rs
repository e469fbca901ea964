//! Faults, as callers and backends see them.

use weft_proxy_api::policy::{Abort, Delay, Fault, MILLION, Timeouts};

use super::*;

fn abort(status: u16) -> Fault {
    let status = StatusCode::from_u16(status).unwrap();
    Fault { header: None, delay: None, abort: Some(Abort { status, grpc_code: None, per_million: MILLION }) }
}

#[tokio::test]
async fn a_fault_is_answered_without_the_backend_and_says_so() {
    let app = App::start().await;
    let mut mesh = Mesh::new(app.address);
    mesh.policies(|policies| policies.fault = Some(abort(503)));
    mesh.backend("orders", |backend| backend.circuit_breaker.consecutive_failures = Some(1));
    for _ in 0..3 {
        let answer = mesh.get("/", &[("x-request-id", "id-1")]).await;
        assert_eq!(answer.status(), 503);
        let why = line(answer.headers(), "proxy-status");
        assert!(why.starts_with("weft-outbound; error=proxy_internal_response; "), "{why}");
        assert!(why.contains("fault injected by MeshService shop/orders rule 0"), "{why}");
        assert_eq!(line(answer.headers(), "x-request-id"), "id-1");
    }
    assert_eq!((app.asked(), mesh.metric(r#"weft_faults_total{kind="abort"}"#)), (0, 3));
    mesh.policies(|policies| policies.fault = None);
    assert_eq!(mesh.get("/", &[]).await.status(), 200, "no circuit has heard of it");
}

#[tokio::test]
async fn a_grpc_call_gets_a_grpc_status() {
    let mut mesh = Mesh::new(nobody().await);
    mesh.policies(|policies| policies.fault = Some(abort(503)));
    let call = [("content-type", "application/grpc")];
    let answer = mesh.send(request("POST", "/a.B/C", &call, "")).await;
    assert_eq!((answer.status().as_u16(), line(answer.headers(), "grpc-status").as_str()), (200, "14"));
}

/// The status, and after how many seconds it comes.
async fn delayed(of: u64) -> (u16, u64, String) {
    let mut mesh = Mesh::new(nobody().await);
    mesh.policies(|policies| {
        policies.timeouts = Timeouts { request: Some(Duration::from_secs(5)), ..Timeouts::NONE };
        policies.fault =
            Some(Fault { delay: Some(Delay { of: Duration::from_secs(of), per_million: MILLION }), ..abort(418) });
    });
    let started = tokio::time::Instant::now();
    let answer = mesh.get("/", &[]).await;
    assert_eq!(mesh.metric(r#"weft_faults_total{kind="delay"}"#), 1);
    (answer.status().as_u16(), started.elapsed().as_secs(), line(answer.headers(), "proxy-status"))
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_failure() {
    let (status, after, _) = delayed(3).await;
    assert_eq!((status, after), (418, 3));
}

#[tokio::test(start_paused = true)]
async fn a_delay_ends_when_the_requests_time_is_over() {
    let (status, after, why) = delayed(60).await;
    assert_eq!((status, after), (504, 5), "{why}");
    assert!(why.contains("injected by MeshService shop/orders rule 0"), "{why}");
}
