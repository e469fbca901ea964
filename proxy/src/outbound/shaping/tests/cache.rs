//! The cache of a rule, as callers and backends see it.

use weft_proxy_api::policy::{Cache, FixedResponse};

use super::*;

fn cached(mesh: &Mesh, result: &str) -> u64 {
    mesh.metric(&format!("weft_cache_requests_total{{result=\"{result}\"}}"))
}

/// A mesh whose rule keeps answers, for failures or for more.
fn mesh(orders: SocketAddr, serve_fresh: bool) -> Mesh {
    let mut mesh = Mesh::new(orders);
    let stale_if_error = Some(Duration::from_secs(60));
    mesh.policies(|policies| policies.cache = Some(Cache { serve_fresh, stale_if_error, ..Cache::default() }));
    mesh
}

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn fresh_answers_are_given_without_asking() {
    let app = App::start().await;
    app.answers(200, &[MINUTE, ("etag", "\"v1\"")], "one");
    let mesh = mesh(app.address, true);
    let first = mesh.get("/a", &[]).await;
    assert_eq!(line(first.headers(), "cache-status"), "weft; fwd=uri-miss; stored");
    app.answers(200, &[MINUTE], "two");
    let second = mesh.get("/a", &[]).await;
    assert_eq!((second.body().as_ref(), line(second.headers(), "age").as_str()), (&b"one"[..], "0"));
    assert!(line(second.headers(), "cache-status").starts_with("weft; hit; ttl="));
    assert_eq!(mesh.get("/a", &[("if-none-match", "\"v1\"")]).await.status(), 304);
    assert_eq!(mesh.send(request("HEAD", "/a", &[], "")).await.status(), 200);
    assert_eq!((app.asked(), cached(&mesh, "hit"), cached(&mesh, "miss")), (1, 3, 1));
    assert_eq!(mesh.get("/b", &[]).await.body(), "two");
    assert_eq!(mesh.get("/a", &[("cache-control", "no-cache")]).await.body(), "two");
    assert_eq!(mesh.get("/a", &[]).await.body(), "two");

    app.answers(204, &[], "");
    assert_eq!(mesh.send(request("POST", "/a", &[], "change")).await.status(), 204);
    app.answers(200, &[MINUTE], "three");
    assert_eq!(mesh.get("/a", &[]).await.body(), "three", "what a request has changed is asked for anew");
}

#[tokio::test]
async fn a_kept_answer_stands_in_for_failures_only() {
    let app = App::start().await;
    app.answers(200, &[("x-own", "1")], "one");
    let mesh = mesh(app.address, false);
    assert!(!mesh.get("/", &[]).await.headers().contains_key("cache-status"));
    app.answers(200, &[], "two");
    assert_eq!(mesh.get("/", &[]).await.body(), "two", "the backend is asked while it answers");
    app.answers(404, &[("cache-control", "no-store")], "gone");
    assert_eq!(mesh.get("/other", &[]).await.status(), 404);
    for status in [500, 502, 503, 504] {
        app.answers(status, &[], "broken");
        let answer = mesh.get("/", &[("x-request-id", "id-1")]).await;
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"two"[..]));
        let cache_status = line(answer.headers(), "cache-status");
        assert!(cache_status.starts_with(&format!("weft; fwd=stale; fwd-status={status}; ttl=")), "{cache_status}");
        let why = line(answer.headers(), "proxy-status");
        assert!(
            why.contains(&format!("received-status={status}")) && why.contains("answered by a stored answer"),
            "{why}"
        );
        assert_eq!(line(answer.headers(), "x-request-id"), "id-1");
        line(answer.headers(), "age").parse::<u64>().expect("how old it is");
    }
    app.answers(501, &[], "broken");
    assert_eq!(mesh.get("/", &[]).await.status(), 501);
    app.answers(503, &[], "broken");
    for (path, lines) in
        [("/other", &[][..]), ("/", &[("cookie", "user=anna")]), ("/", &[("cache-control", "no-cache")])]
    {
        assert_eq!(mesh.get(path, lines).await.status(), 503, "{path} {lines:?}");
    }
    assert_eq!(mesh.send(request("POST", "/", &[], "")).await.status(), 503);
    assert_eq!((cached(&mesh, "stale"), mesh.metric(r#"weft_degraded_total{by="stored"}"#)), (4, 4));
    let broken = r#"weft_requests_total{direction="outbound",backend="shop/orders:80",status="5xx"}"#;
    assert!(mesh.metric(broken) >= 4, "the backend's own status is counted");
}

#[tokio::test]
async fn a_kept_answer_comes_before_the_fallback_and_the_fixed_response() {
    let (app, other) = (App::start().await, App::start().await);
    let mut mesh = mesh(app.address, false);
    mesh.endpoint("other", other.address);
    mesh.backend("orders", |backend| {
        backend.fallback = Some(name("other"));
        backend.circuit_breaker.consecutive_failures = Some(1);
    });
    let fixed = FixedResponse { status: StatusCode::OK, headers: Vec::new(), body: "fixed".into() };
    mesh.policies(|policies| policies.fallback_response = Some(fixed));
    app.answers(200, &[], "one");
    assert_eq!(mesh.get("/", &[]).await.body(), "one");
    app.answers(503, &[], "broken");
    assert_eq!(mesh.get("/", &[]).await.body(), "one");
    let asked = app.asked();
    let answer = mesh.get("/", &[]).await;
    let why = line(answer.headers(), "proxy-status");
    assert_eq!((answer.body().as_ref(), app.asked()), (&b"one"[..], asked), "the circuit is open: {why}");
    assert!(line(answer.headers(), "cache-status").starts_with("weft; hit; ttl="), "it was not asked");
    assert!(
        why.contains("circuit of shop/orders:80 is open: ") && why.contains(", answered by a stored answer"),
        "{why}"
    );
    other.answers(200, &[MINUTE], "the fallback's");
    assert_eq!(mesh.get("/b", &[]).await.body(), "the fallback's");
    other.answers(503, &[], "broken");
    assert_eq!(mesh.get("/b", &[]).await.status(), 503, "a fallback's answer is not kept as the backend's");
}

#[tokio::test]
async fn what_is_kept_survives_updates_of_other_things() {
    let app = App::start().await;
    app.answers(200, &[MINUTE], "one");
    let mut mesh = mesh(app.address, true);
    assert_eq!(mesh.get("/", &[]).await.body(), "one");
    app.answers(200, &[MINUTE], "two");
    mesh.backend("orders", |backend| backend.max_ejected_percent = 10);
    mesh.policies(|policies| policies.timeouts.request = Some(Duration::from_secs(7)));
    assert_eq!(mesh.get("/", &[]).await.body(), "one");
    mesh.rule(|rule| {
        rule.filters.response.remove = vec![http::HeaderName::from_static("x-own")];
    });
    assert_eq!(mesh.get("/", &[]).await.body(), "two", "answers are not what they were");
    app.answers(200, &[MINUTE], "three");
    mesh.policies(|policies| policies.cache.as_mut().unwrap().max_bytes = 4096);
    assert_eq!(mesh.get("/", &[]).await.body(), "three");
}
