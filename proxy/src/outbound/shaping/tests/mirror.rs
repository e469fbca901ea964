//! Copies of requests: what the other backend gets, and that the callers do not notice.

use weft_proxy_api::{
    policy::{MILLION, Mirror},
    route::HeaderModifier,
};

use super::*;

fn mirror(backend: &str) -> Mirror {
    Mirror { target: Target::Backend(name(backend)), per_million: MILLION }
}

fn mirrored(mesh: &Mesh, result: &str) -> u64 {
    mesh.metric(&format!("weft_mirrored_requests_total{{result=\"{result}\"}}"))
}

/// A mesh whose requests are copied to `copies`.
fn mesh(orders: SocketAddr, copies: SocketAddr) -> Mesh {
    let mut mesh = Mesh::new(orders);
    mesh.endpoint("copies", copies);
    mesh.policies(|policies| policies.mirrors = vec![mirror("copies")]);
    mesh
}

#[tokio::test]
async fn the_copy_is_the_request_and_says_that_it_is_one() {
    let (app, other) = (App::start().await, App::start().await);
    other.answers(500, &[], "nobody sees this");
    let mut mesh = mesh(app.address, other.address);
    let set = vec![(http::HeaderName::from_static("x-rule"), "1".parse().unwrap())];
    mesh.rule(|rule| rule.filters.request = HeaderModifier { set, ..HeaderModifier::default() });
    let answer = mesh.send(request("POST", "/a?b=1", &[("weft-mirrored", "forged"), ("x-own", "2")], "the body")).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"the answer"[..]));
    until("the copy is answered", || mirrored(&mesh, "answered") == 1).await;

    assert_eq!(app.saw("weft-mirrored"), None, "stripped from callers");
    assert_eq!(other.saw("weft-mirrored").unwrap(), "MeshService shop/orders rule 0");
    for app in [&app, &other] {
        let last = app.last.lock().unwrap();
        let last = last.as_ref().unwrap();
        assert_eq!((last.method().as_str(), last.uri().path_and_query().unwrap().as_str()), ("POST", "/a?b=1"));
        assert_eq!(last.body(), "the body");
        let saw = |name| line(last.headers(), name);
        assert_eq!([saw("host"), saw("x-rule"), saw("x-own")], ["orders", "1", "2"]);
    }
    assert_eq!((app.asked(), other.asked()), (1, 1));
}

#[tokio::test]
async fn a_mirror_that_never_reads_delays_nobody_and_has_a_bound() {
    let app = App::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mesh = mesh(app.address, silent.local_addr().unwrap());
    for _ in 0..131 {
        assert_eq!(mesh.send(request("POST", "/", &[], "the body")).await.status(), 200);
    }
    assert_eq!((app.asked(), mirrored(&mesh, "dropped"), mirrored(&mesh, "answered")), (131, 3, 0));
    assert_eq!(mesh.cx.copies.0.available_permits(), 0);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_copied() {
    let (app, other) = (App::start().await, App::start().await);
    let mesh = mesh(app.address, other.address);
    let long: &'static str = "x".repeat((64 << 10) + 1).leak();
    assert_eq!(mesh.send(request("POST", "/", &[], long)).await.status(), 200);
    assert_eq!(mirrored(&mesh, "too_long"), 1);
    assert_eq!(mesh.send(request("POST", "/", &[], &long[1..])).await.status(), 200);
    until("the longest body is copied", || mirrored(&mesh, "answered") == 1).await;
    assert_eq!(other.asked(), 1);
    assert_eq!(mesh.cx.copies.0.available_permits(), 128, "every place is given back");
}

#[tokio::test]
async fn the_copies_have_the_mirrors_circuit_and_are_not_tried_again() {
    let app = App::start().await;
    let mut mesh = mesh(app.address, nobody().await);
    mesh.backend("copies", |backend| backend.circuit_breaker.consecutive_failures = Some(2));
    for failed in 1..=2 {
        assert_eq!(mesh.get("/", &[]).await.status(), 200);
        until("the copy fails", || mirrored(&mesh, "failed") == failed).await;
    }
    assert_eq!(mesh.get("/", &[]).await.status(), 200);
    until("the circuit is open", || mirrored(&mesh, "rejected") == 1).await;
    mesh.policies(|policies| {
        policies.mirrors = vec![Mirror { target: Target::Unresolved("there is none".into()), per_million: MILLION }];
    });
    assert_eq!(mesh.get("/", &[]).await.status(), 200);
    assert_eq!(mirrored(&mesh, "unresolved"), 1);
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let (app, other) = (App::start().await, App::start().await);
    let mut mesh = mesh(app.address, other.address);
    mesh.policies(|policies| policies.mirrors[0].per_million = 0);
    for _ in 0..20 {
        assert_eq!(mesh.get("/", &[]).await.status(), 200);
    }
    assert_eq!((other.asked(), mesh.cx.copies.0.available_permits()), (0, 128));
}
