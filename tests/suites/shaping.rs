//! Faults, copies, CORS, kept answers and stand-ins, as a user writes them and as callers see them.

use http::{Method, Request, StatusCode, header};
use weft_tests::{Answer, Behaviour, ControlPlane, Sidecar, Workload, eventually, get, request, send, split, versions};

struct Mesh {
    control_plane: ControlPlane,
    v1: Workload,
    v2: Workload,
    caller: Sidecar,
}

/// Everything goes to v1.
async fn mesh() -> Mesh {
    let control_plane = ControlPlane::start().await;
    let v1 = Workload::start(&control_plane, "orders", "v1").await;
    let v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&[versions("orders"), split("orders", 1, 0)].join("---\n")).await;
    Mesh { control_plane, v1, v2, caller }
}

impl Mesh {
    /// Has the route have these policies, and waits until `holds` of an answer.
    async fn policy(&self, spec: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        let policy = format!(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: TrafficPolicy\n\
             metadata: {{name: orders}}\n\
             spec:\n  \
               targetRef: {{kind: HTTPRoute, name: orders}}\n{spec}"
        );
        self.control_plane.apply(&policy).await;
        self.until(holds).await
    }

    async fn until(&self, holds: impl Fn(&Answer) -> bool) -> Answer {
        eventually("the policy holds", async || {
            let answer = self.ask().await;
            if holds(&answer) { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    /// Adds these filters to the rule of the route.
    async fn filters(&self, filters: &str) {
        let route = split("orders", 1, 0);
        let only_v1 = route.lines().filter(|line| !line.contains("orders-v2")).map(|line| format!("{line}\n"));
        let route = only_v1
            .collect::<String>()
            .replace("    - backendRefs:", &format!("    - filters:\n{filters}      backendRefs:"));
        self.control_plane.apply(&route).await;
    }

    async fn ask(&self) -> Answer {
        get(self.caller.outbound(), "http://orders/").await
    }
}

#[tokio::test]
async fn faults_are_for_whom_they_are_meant_for() {
    let mesh = mesh().await;
    let spec = "  fault: {header: {name: x-user, value: test}, abort: {status: 418}}\n  timeouts: {request: 7s}\n";
    mesh.policy(spec, |answer| answer.status == 200).await;
    let ask = || send(mesh.caller.outbound(), request("http://orders/").header("x-user", "test"));
    let answer = eventually("the fault is injected", async || {
        let answer = ask().await;
        if answer.status == 418 { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let why = answer.header("proxy-status");
    assert!(why.contains("fault injected by HTTPRoute default/orders rule 0"), "{why}");
    assert_eq!(mesh.ask().await.text(), "v1");
    assert!(mesh.caller.metric(r#"weft_faults_total{kind="abort"}"#).await >= 1.0);
}

#[tokio::test]
async fn copies_reach_the_other_version_marked() {
    let mesh = mesh().await;
    mesh.filters(
        "        - type: RequestMirror\n          \
         requestMirror: {backendRef: {group: weft.dev, kind: MeshService, name: orders-v2, port: 80}}\n",
    )
    .await;
    mesh.v2.app.set(Behaviour::Fail(StatusCode::INTERNAL_SERVER_ERROR));
    eventually("a copy arrives", async || {
        assert_eq!(mesh.ask().await.text(), "v1");
        if mesh.v2.app.answered() > 0 { Ok(()) } else { Err("none yet") }
    })
    .await;
    assert_eq!(mesh.v2.app.saw("weft-mirrored").unwrap(), "HTTPRoute default/orders rule 0");
    assert_eq!((mesh.v1.app.saw("weft-mirrored"), mesh.v2.app.saw("host").unwrap().as_str()), (None, "orders"));

    mesh.v2.app.set(Behaviour::Hold);
    let before = mesh.v1.app.answered();
    for _ in 0..200 {
        assert_eq!(mesh.ask().await.text(), "v1", "a mirror that does not answer holds nobody up");
    }
    assert_eq!(mesh.v1.app.answered(), before + 200);
    eventually("there are more copies than may be under way", async || {
        assert_eq!(mesh.ask().await.text(), "v1");
        match mesh.caller.metric(r#"weft_mirrored_requests_total{result="dropped"}"#).await {
            1.0.. => Ok(()),
            dropped => Err(dropped.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_browser_is_told_what_it_may_do() {
    let mesh = mesh().await;
    mesh.filters(
        "        - type: CORS\n          \
         cors: {allowOrigins: [\"https://*.example.com\"], allowMethods: [PUT], allowCredentials: true}\n",
    )
    .await;
    let shop = "https://shop.example.com";
    let preflight = |origin| {
        let asked = Request::builder().method(Method::OPTIONS).uri("http://orders/").header(header::HOST, "orders");
        asked.header("origin", origin).header("access-control-request-method", "PUT")
    };
    let answer = eventually("the preflight is answered", async || {
        let answer = send(mesh.caller.outbound(), preflight(shop)).await;
        if answer.status == 204 { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let said = ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-credentials"];
    assert_eq!(said.map(|name| answer.header(name)), [shop, "PUT", "true"]);
    let answer = send(mesh.caller.outbound(), request("http://orders/").header("origin", shop)).await;
    assert_eq!((answer.text().as_str(), answer.header(said[0]).as_str()), ("v1", shop));
    let answer = send(mesh.caller.outbound(), preflight("https://example.org")).await;
    assert_eq!(answer.header(said[0]), "");
}

#[tokio::test]
async fn what_was_kept_answers_and_then_what_was_written_down() {
    let mut mesh = mesh().await;
    let kept =
        "  cache: {staleIfError: 60s}\n  fallback: {response: {status: 200, body: \"[]\"}}\n  retry: {attempts: 0}\n";
    mesh.policy("  cache: {serveFresh: true, staleIfError: 60s}\n", |answer| !answer.header("cache-status").is_empty())
        .await;
    mesh.policy(kept, |answer| answer.header("cache-status").is_empty()).await;
    mesh.v1.app.set(Behaviour::Fail(StatusCode::SERVICE_UNAVAILABLE));
    let answer = mesh.ask().await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "v1"));
    let cache_status = answer.header("cache-status");
    assert!(cache_status.starts_with("weft; fwd=stale; fwd-status=503; ttl="), "{cache_status}");
    assert!(!answer.header("age").is_empty());

    mesh.v1.sidecar.kill();
    let answer = mesh.ask().await;
    assert_eq!(answer.text(), "v1", "{answer:?}");
    assert!(answer.header("proxy-status").contains("answered by a stored answer"), "{answer:?}");
    let answer = get(mesh.caller.outbound(), "http://orders/other").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "[]"));
    let why = answer.header("proxy-status");
    assert!(why.contains("answered by the fixed response of HTTPRoute default/orders rule 0"), "{why}");
    assert!(mesh.caller.metric(r#"weft_degraded_total{by="stored"}"#).await >= 2.0);
}
