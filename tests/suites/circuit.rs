//! The circuit breaker of a backend, by what callers and `weft circuits` see of it.

use serde_json::Value;
use weft_tests::{
    Answer, Behaviour, Connection, ControlPlane, Sidecar, Workload, eventually, get, request, split, versions,
};

struct Mesh {
    control_plane: ControlPlane,
    v1: Workload,
    v2: Workload,
    caller: Sidecar,
}

/// Everything goes to v2, whose circuit opens after three failures in a row, for `open`.
async fn mesh(open: &str, fallback: &str) -> Mesh {
    let control_plane = ControlPlane::start().await;
    let v1 = Workload::start(&control_plane, "orders", "v1").await;
    let v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    let policy = format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: TrafficPolicy\n\
         metadata: {{name: orders-v2}}\n\
         spec:\n  \
           targetRef: {{kind: MeshService, name: orders-v2}}\n  \
           circuitBreaker: {{consecutiveFailures: 3, open: {{initial: {open}, max: {open}}}, halfOpen: {{probes: 1, successes: 2}}}}\n\
         {fallback}"
    );
    control_plane.apply(&[versions("orders"), split("orders", 0, 1), policy].join("---\n")).await;
    Mesh { control_plane, v1, v2, caller }
}

const FALLBACK: &str = "  fallback: {backendRef: {group: weft.dev, kind: MeshService, name: orders-v1, port: 80}}\n";

impl Mesh {
    async fn ask(&self) -> Answer {
        get(self.caller.outbound(), "http://orders/").await
    }

    /// Lets v2 fail as often as it takes to open its circuit.
    async fn break_v2(&self) {
        self.v2.app.set(Behaviour::Fail(http::StatusCode::SERVICE_UNAVAILABLE));
        for _ in 0..3 {
            let answer = self.ask().await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "v2"), "the app's own answer");
        }
    }

    /// Waits until `weft circuits` shows v2's own circuit in this state.
    async fn circuit_is(&self, state: &str) -> Value {
        eventually(&format!("weft circuits shows {state}"), async || {
            let all = self.control_plane.json(&["circuits", "orders-v2"]).await;
            let own = all.as_array().unwrap().iter().find(|circuit| circuit["endpoint"].is_null());
            own.filter(|circuit| circuit["state"] == state).cloned().ok_or(all.to_string())
        })
        .await
    }
}

#[tokio::test]
async fn an_open_circuit_fails_fast_and_says_why() {
    let mesh = mesh("60s", "").await;
    assert_eq!(mesh.ask().await.text(), "v2");
    mesh.break_v2().await;
    let asked = mesh.v2.app.begun();
    let answer = mesh.ask().await;
    assert_eq!(answer.status, 503);
    let why = answer.header("proxy-status");
    assert!(why.starts_with("weft-outbound; error=destination_unavailable; "), "{why}");
    assert!(why.contains("the circuit of default/orders-v2:80 is open: "), "{why}");
    assert!(!answer.header("x-request-id").is_empty() && !answer.header("retry-after").is_empty(), "{answer:?}");
    assert_eq!(mesh.v2.app.begun(), asked, "the app is left alone");

    let circuit = mesh.circuit_is("open").await;
    assert!(circuit["cause"].as_str().unwrap().contains('3'), "three failures in a row: {circuit}");
    assert_eq!(circuit["timesOpened"], 1);
    let transitions = r#"weft_circuit_transitions_total{backend="default/orders-v2:80",endpoint="",to="open"}"#;
    assert_eq!(mesh.caller.metric(transitions).await, 1.0);
    let table = mesh.control_plane.weft(&["circuits"]).await.expect_ok();
    assert!(table.contains("default/orders-v2:80") && table.contains("open"), "{table}");
}

#[tokio::test]
async fn a_dry_run_lets_everything_pass_and_shows_what_it_would_have_done() {
    let mesh = mesh("60s", "").await;
    let dry_run = "apiVersion: weft.dev/v1alpha1\n\
         kind: TrafficPolicy\n\
         metadata: {name: orders-v2}\n\
         spec:\n  \
           targetRef: {kind: MeshService, name: orders-v2}\n  \
           circuitBreaker: {consecutiveFailures: 3, dryRun: true}\n  \
           endpointCircuitBreaker: {consecutiveFailures: 3, dryRun: true}\n\
         ---\n\
         apiVersion: weft.dev/v1alpha1\n\
         kind: MeshConfig\n\
         metadata: {name: default}\n\
         spec: {defaults: {retry: {attempts: 0}}}\n";
    mesh.control_plane.apply(dry_run).await;
    mesh.break_v2().await;
    let circuit = mesh.circuit_is("open").await;
    assert_eq!(circuit["dryRun"], true);
    for _ in 0..5 {
        assert_eq!(mesh.ask().await.text(), "v2", "the app is asked all the same");
    }
    mesh.v2.app.set(Behaviour::Answer);
    assert_eq!((mesh.ask().await.status.as_u16(), mesh.v2.app.answered()), (200, 9));
    let rejections = r#"weft_circuit_dry_run_rejections_total{backend="default/orders-v2:80",endpoint=""}"#;
    assert_eq!(mesh.caller.metric(rejections).await, 6.0);
    let transitions = r#"weft_circuit_transitions_total{backend="default/orders-v2:80",endpoint="",to="open"}"#;
    assert_eq!(mesh.caller.metric(transitions).await, 0.0, "no alarm for a dry run");
    let lines = mesh.caller.log_lines(&["circuit open (dry run, every request passes): 3 failures in a row"]);
    assert_eq!(lines.len(), 2, "of the backend, and of its endpoint: {lines:?}");
    let table = mesh.control_plane.weft(&["circuits"]).await.expect_ok();
    assert!(table.contains("open (dry run)"), "{table}");
}

#[tokio::test]
async fn the_fallback_answers_and_is_marked() {
    let mesh = mesh("60s", FALLBACK).await;
    mesh.break_v2().await;
    let answer = mesh.ask().await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "v1"));
    let note = answer.header("proxy-status");
    assert!(note.contains("default/orders-v2:80") && note.contains("fallback default/orders-v1:80"), "{note}");
    assert_eq!(mesh.v1.app.answered(), 1);
}

#[tokio::test]
async fn half_open_lets_probes_through_and_closes_after_recovery() {
    let mesh = mesh("300ms", "").await;
    mesh.break_v2().await;
    mesh.v2.app.set(Behaviour::Hold);
    let asked = mesh.v2.app.begun();
    let mut connection = Connection::open(mesh.caller.outbound()).await.unwrap();
    // Refused until the circuit lets a probe through, which the app then holds.
    let probe = eventually("a probe is answered", async || {
        let answer = connection.send(request("http://orders/")).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    let meanwhile = async {
        eventually(
            "a probe reaches the app",
            async || if mesh.v2.app.begun() > asked { Ok(()) } else { Err("none yet") },
        )
        .await;
        mesh.circuit_is("half-open").await;
        let refused = mesh.ask().await;
        assert_eq!((refused.status.as_u16(), mesh.v2.app.begun()), (503, asked + 1), "one probe at a time");
        mesh.v2.app.set(Behaviour::Answer);
    };
    tokio::join!(probe, meanwhile);
    assert_eq!(mesh.ask().await.text(), "v2", "the second probe");
    mesh.circuit_is("closed").await;
    for _ in 0..10 {
        assert_eq!(mesh.ask().await.text(), "v2");
    }
}

#[tokio::test]
async fn a_cancelled_request_counts_as_neither() {
    let mesh = mesh("60s", "").await;
    let cancel = async || {
        mesh.v2.app.set(Behaviour::Hold);
        let caller = mesh.caller.outbound();
        let asking = tokio::spawn(async move { get(caller, "http://orders/").await });
        eventually(
            "the request is with the app",
            async || if mesh.v2.app.in_flight() == 1 { Ok(()) } else { Err("not yet") },
        )
        .await;
        asking.abort();
        eventually("the app hears of it", async || if mesh.v2.app.in_flight() == 0 { Ok(()) } else { Err("not yet") })
            .await;
    };
    for _ in 0..5 {
        cancel().await;
    }
    mesh.v2.app.set(Behaviour::Answer);
    assert_eq!(mesh.ask().await.text(), "v2", "five cancelled requests are no failures");

    mesh.v2.app.set(Behaviour::Fail(http::StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(mesh.ask().await.text(), "v2");
    assert_eq!(mesh.ask().await.text(), "v2");
    cancel().await;
    mesh.v2.app.set(Behaviour::Fail(http::StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(mesh.ask().await.text(), "v2", "the third failure in a row: a cancelled one is no success either");
    assert!(mesh.ask().await.text().contains("the circuit of default/orders-v2:80 is open"));
}
