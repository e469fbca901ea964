//! What answers in a backend's place.

use http::{HeaderName, HeaderValue};
use weft_proxy_api::policy::FixedResponse;

use super::*;

fn fixed() -> Option<FixedResponse> {
    let headers = vec![(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"))];
    Some(FixedResponse { status: StatusCode::OK, headers, body: "[]".into() })
}

fn degraded(mesh: &Mesh, by: &str) -> u64 {
    mesh.metric(&format!("weft_degraded_total{{by=\"{by}\"}}"))
}

/// A backend at `orders` whose fallback is at `other`.
fn with_fallback(orders: SocketAddr, other: SocketAddr) -> Mesh {
    let mut mesh = Mesh::new(orders);
    mesh.endpoint("other", other);
    mesh.backend("orders", |backend| backend.fallback = Some(name("other")));
    mesh
}

/// Takes a connection, reads what comes, and ends it without an answer; how often.
async fn rude() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_fixed_response_stands_in_for_a_failure_of_the_mesh() {
    let app = App::start().await;
    let mut mesh = Mesh::new(nobody().await);
    mesh.policies(|policies| policies.fallback_response = fixed());
    let answer = mesh.get("/", &[("x-request-id", "id-1")]).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"[]"[..]));
    assert_eq!(line(answer.headers(), "content-type"), "application/json");
    assert_eq!(line(answer.headers(), "x-request-id"), "id-1");
    let why = line(answer.headers(), "proxy-status");
    assert!(why.starts_with("weft-outbound; error=connection_refused; "), "{why}");
    assert!(why.contains("answered by the fixed response of MeshService shop/orders rule 0"), "{why}");
    assert_eq!(degraded(&mesh, "fixed_response"), 1);
    assert_eq!(mesh.metric(r#"weft_failures_total{direction="outbound",reason="connect_refused"}"#), 1);
    assert_eq!(mesh.send(request("HEAD", "/", &[], "")).await.body().len(), 0);

    let call = [("content-type", "application/grpc")];
    let answer = mesh.send(request("POST", "/a.B/C", &call, "")).await;
    assert_eq!(line(answer.headers(), "grpc-status"), "14", "a call of gRPC is told the failure");

    let mut mesh = Mesh::new(app.address);
    mesh.policies(|policies| policies.fallback_response = fixed());
    app.answers(503, &[], "busy");
    let answer = mesh.get("/", &[]).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (503, &b"busy"[..]), "the backend's own answer");
}

#[tokio::test]
async fn the_fallback_takes_what_was_not_sent_with_its_body() {
    let other = App::start().await;
    let mesh = with_fallback(nobody().await, other.address);
    let answer = mesh.send(request("POST", "/a", &[("x-own", "1")], "the body")).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"the answer"[..]));
    let note = line(answer.headers(), "proxy-status");
    assert!(note.contains("shop/orders:80: ") && note.contains("answered by its fallback shop/other:80"), "{note}");
    let last = other.last.lock().unwrap();
    let last = last.as_ref().unwrap();
    assert_eq!(
        (last.method().as_str(), last.body().as_ref(), line(last.headers(), "x-own").as_str()),
        ("POST", &b"the body"[..], "1")
    );
    assert_eq!(degraded(&mesh, "fallback"), 1);
}

#[tokio::test]
async fn what_was_sent_goes_to_the_fallback_only_if_it_may_be_done_twice() {
    let other = App::start().await;
    let (address, asked) = rude().await;
    let mesh = with_fallback(address, other.address);
    for (method, body, status) in
        [("POST", "the body", 502), ("POST", "", 502), ("PUT", "the body", 502), ("PUT", "", 200)]
    {
        let answer = mesh.send(request(method, "/", &[], body)).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {body:?}: {answer:?}");
    }
    assert_eq!(other.asked(), 1);
    assert!(asked.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn the_fallback_comes_before_the_fixed_response_and_that_before_the_error() {
    let other = App::start().await;
    let mut mesh = with_fallback(nobody().await, other.address);
    mesh.policies(|policies| policies.fallback_response = fixed());
    assert_eq!(mesh.get("/", &[]).await.body(), "the answer");
    let mut mesh = with_fallback(nobody().await, nobody().await);
    let answer = mesh.get("/", &[]).await;
    let why = line(answer.headers(), "proxy-status");
    assert_eq!(answer.status(), 503);
    assert!(why.contains("shop/orders:80: ") && why.contains("its fallback: shop/other:80: "), "{why}");
    mesh.policies(|policies| policies.fallback_response = fixed());
    assert_eq!(mesh.get("/", &[]).await.body(), "[]");
}
