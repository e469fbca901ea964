//! Retries by the built-in policy: what callers see, and what applications get.

use bytes::Bytes;
use http::{Method, StatusCode};
use weft_tests::{Answer, Behaviour, Connection, ControlPlane, Sidecar, Workload, request, service};

struct Mesh {
    _control_plane: ControlPlane,
    orders: Vec<Workload>,
    caller: Sidecar,
}

/// So many workloads of one service. Its circuit never opens, so that only retries decide.
async fn mesh(workloads: usize) -> Mesh {
    let control_plane = ControlPlane::start().await;
    let mut orders = Vec::new();
    for version in 0..workloads {
        orders.push(Workload::start(&control_plane, "orders", &format!("v{version}")).await);
    }
    let caller = control_plane.sidecar("caller").start().await;
    let policy = "apiVersion: weft.dev/v1alpha1\n\
                  kind: TrafficPolicy\n\
                  metadata: {name: orders}\n\
                  spec:\n  \
                    targetRef: {kind: MeshService, name: orders}\n  \
                    circuitBreaker: {minimumRequests: 1000000}\n";
    control_plane.apply(&[service("orders"), policy.to_owned()].join("---\n")).await;
    Mesh { _control_plane: control_plane, orders, caller }
}

impl Mesh {
    async fn send(&self, method: Method, body: Bytes) -> Answer {
        let mut connection = Connection::open(self.caller.outbound()).await.unwrap();
        connection.send_body(request("http://orders/").method(method), body).await.unwrap()
    }

    fn fail(&self, workload: usize) {
        self.orders[workload].app.set(Behaviour::Fail(StatusCode::SERVICE_UNAVAILABLE));
    }

    fn begun(&self) -> u64 {
        self.orders.iter().map(|workload| workload.app.begun()).sum()
    }
}

#[tokio::test]
async fn callers_see_nothing_of_one_endpoint_that_fails() {
    let mesh = mesh(2).await;
    mesh.fail(0);
    for _ in 0..100 {
        let answer = mesh.send(Method::GET, Bytes::new()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(mesh.orders[0].app.begun() > 0, "it was asked");
    let retries = r#"weft_retries_total{backend="default/orders:80",reason="status"}"#;
    assert_eq!(mesh.caller.metric(retries).await, mesh.orders[0].app.begun() as f64);
}

#[tokio::test]
async fn a_post_gets_to_the_application_once() {
    let mesh = mesh(1).await;
    mesh.fail(0);
    for body in ["", "hello"] {
        let before = mesh.begun();
        assert_eq!(mesh.send(Method::POST, Bytes::from(body)).await.status, 503);
        assert_eq!(mesh.begun(), before + 1);
    }
}

#[tokio::test]
async fn a_small_body_is_sent_again_and_a_large_one_is_not() {
    let mesh = mesh(1).await;
    mesh.fail(0);
    for (length, attempts, why) in [(10 << 10, 3, "attempts used up"), (1 << 20, 1, "body was not kept")] {
        let before = (mesh.begun(), mesh.orders[0].app.answered());
        let answer = mesh.send(Method::PUT, Bytes::from(vec![b'x'; length])).await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("proxy-status").contains(why), "{answer:?}");
        let app = &mesh.orders[0].app;
        assert_eq!(
            (app.begun(), app.answered()),
            (before.0 + attempts, before.1 + attempts),
            "all of it came each time"
        );
    }
}

#[tokio::test]
async fn a_backend_that_fails_altogether_is_not_stormed() {
    const REQUESTS: u64 = 300;
    let mesh = mesh(2).await;
    mesh.fail(0);
    mesh.fail(1);
    let started = std::time::Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(mesh.send(Method::GET, Bytes::new()).await.status, 503);
    }
    // A fifth, and three for each second.
    let floor = 3 * (started.elapsed().as_secs() + 11);
    assert!(mesh.begun() > REQUESTS, "some were sent again");
    assert!(mesh.begun() <= REQUESTS + REQUESTS / 5 + floor, "{} requests", mesh.begun());
    let exhausted = r#"weft_retry_budget_exhausted_total{direction="outbound",backend="default/orders:80"}"#;
    assert!(mesh.caller.metric(exhausted).await > 0.0);
}
