//! The admin API: credentials, errors, and what a write says.

use hyper::Method;
use serde_json::{Value, json};
use weft_control_plane::app::App;

use crate::{
    ControlPlane, config,
    harness::{Admin, apply, apply_service},
};

const PATHS: [(Method, &str); 12] = [
    (Method::POST, "/v1/apply"),
    (Method::POST, "/v1/delete"),
    (Method::POST, "/v1/rollback"),
    (Method::GET, "/v1/resources"),
    (Method::GET, "/v1/history"),
    (Method::GET, "/v1/status"),
    (Method::GET, "/v1/services/shop/orders/endpoints"),
    (Method::GET, "/v1/services/shop/orders/routes"),
    (Method::GET, "/v1/circuits"),
    (Method::POST, "/v1/tokens"),
    (Method::GET, "/metrics"),
    (Method::GET, "/no/such/path"),
];

#[tokio::test]
async fn nothing_is_served_to_who_has_no_credentials() {
    let mesh = ControlPlane::start().await;
    for token in ["", "wrong"] {
        let credentials =
            weft_control_plane::admin_api::AdminCredentials { token: token.to_owned(), ..mesh.app.credentials.clone() };
        let stranger = Admin { credentials };
        for (method, path) in PATHS {
            let (status, body) = stranger.send(method.clone(), path, json!({})).await.unwrap();
            assert_eq!(status, 401, "{method} {path}: {body}");
            assert!(body["error"].is_string(), "{body}");
        }
        for path in ["/live", "/ready"] {
            assert_eq!(stranger.get(path).await.0, 200);
        }
    }
    let (_, metrics) = mesh.admin.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("admin_unauthorized_total 24"), "{metrics}");
}

#[tokio::test]
async fn writes_make_revisions_that_can_be_read_and_rolled_back() {
    let mesh = ControlPlane::start().await;
    let (_, first) = mesh.admin.post("/v1/apply", apply_service("orders", "10.0.0.1:80")).await;
    assert_eq!(first["changes"][0]["action"], "created");
    mesh.admin.post("/v1/apply", apply_service("orders", "10.0.0.2:80")).await;
    let key = json!({"kind": "MeshService", "namespace": "shop", "name": "orders"});
    let (_, deleted) = mesh.admin.post("/v1/delete", json!({"keys": [key], "author": "bob"})).await;
    assert_eq!((&deleted["revision"], &deleted["changes"][0]["action"]), (&json!(3), &json!("deleted")));
    let (_, back) = mesh.admin.post("/v1/rollback", json!({"revision": 1, "author": "eve"})).await;
    assert_eq!(back["revision"], 4);

    let (_, now) = mesh.admin.get("/v1/resources").await;
    let (_, then) = mesh.admin.get("/v1/resources?revision=1").await;
    assert_eq!(now["items"], then["items"]);
    let (_, history) = mesh.admin.get("/v1/history").await;
    let authors: Vec<&Value> = history.as_array().unwrap().iter().map(|event| &event["author"]).collect();
    assert_eq!(authors, ["eve", "bob", "ada", "ada"]);
    let (_, newest) = mesh.admin.get("/v1/history?limit=2").await;
    assert_eq!(newest.as_array().unwrap()[..], history.as_array().unwrap()[..2]);
    let (_, routes) = mesh.admin.get("/v1/services/shop/orders/routes").await;
    assert_eq!((&routes["service"], &routes["ports"][0]["port"]), (&json!("shop/orders"), &json!(80)));
}

#[tokio::test]
async fn what_the_history_shows_cannot_move_the_cursor() {
    let mesh = ControlPlane::start().await;
    for (field, text) in [("author", "ada\u{1b}[2J"), ("message", "first\nsecond"), ("message", "\u{9b}31m")] {
        let mut request = apply_service("orders", "10.0.0.1:80");
        request[field] = json!(text);
        let (status, error) = mesh.admin.post("/v1/apply", request).await;
        assert_eq!(status, 422, "{error}");
        assert!(error["error"].as_str().unwrap().contains(field), "{error}");
    }
    assert_eq!(mesh.admin.get("/v1/history").await.1, json!([]));
}

#[tokio::test]
async fn every_problem_is_reported_and_nothing_is_written() {
    let mesh = ControlPlane::start().await;
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"group": "weft.dev", "kind": "MeshService", "name": "nowhere"}],
                 "rules": [{"backendRefs": [{"group": "weft.dev", "kind": "MeshService", "name": "nobody", "port": 80}]}]},
    });
    let (status, error) = mesh.admin.post("/v1/apply", apply(vec![route])).await;
    assert_eq!(status, 422, "{error}");
    assert!(error["problems"].as_array().unwrap().len() >= 2, "{error}");
    assert_eq!(mesh.admin.get("/v1/resources").await.1["revision"], 0);
}

#[tokio::test]
async fn bad_requests_are_answered_in_json_with_their_reason() {
    let mesh = ControlPlane::start().await;
    let cases = [
        (Method::POST, "/v1/apply", json!({"documents": []}), 400, "namespace"),
        (
            Method::POST,
            "/v1/apply",
            json!({"documents": [], "namespace": "a", "author": "b", "x": 1}),
            400,
            "unknown field",
        ),
        (Method::GET, "/v1/apply", Value::Null, 405, "method"),
        (Method::GET, "/v1/nothing", Value::Null, 404, "no such path"),
        (Method::GET, "/v1/resources?revision=9", Value::Null, 404, "no revision 9"),
        (Method::GET, "/v1/resources?revision=x", Value::Null, 400, "revision"),
        (Method::GET, "/v1/services/shop/none/endpoints", Value::Null, 404, "no service shop/none"),
        (Method::POST, "/v1/rollback", json!({"author": "a"}), 409, "no revision before 0"),
        (
            Method::POST,
            "/v1/tokens",
            json!({"namespace": "A", "serviceAccount": "b", "ttlSeconds": 1, "uses": 1}),
            422,
            "DNS label",
        ),
        (
            Method::POST,
            "/v1/tokens",
            json!({"namespace": "a", "serviceAccount": "b", "ttlSeconds": 0, "uses": 1}),
            422,
            "from 1 second",
        ),
        (
            Method::POST,
            "/v1/tokens",
            json!({"namespace": "a", "serviceAccount": "b", "ttlSeconds": 1, "uses": 0}),
            422,
            "uses",
        ),
        (
            Method::POST,
            "/v1/tokens",
            json!({"namespace": "a", "serviceAccount": "b", "services": ["c/d"], "ttlSeconds": 1, "uses": 1}),
            422,
            "not a service of the namespace a",
        ),
    ];
    for (method, path, body, expected, reason) in cases {
        let (status, answer) = mesh.admin.send(method, path, body.clone()).await.unwrap();
        assert_eq!(status, expected, "{path} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{path} {body}: {answer}");
    }
    let huge = json!({"documents": ["x".repeat(9 << 20)], "namespace": "a", "author": "b"});
    // The server may close before it has read all of it; it must be alive afterwards.
    if let Ok((status, _)) = mesh.admin.send(Method::POST, "/v1/apply", huge).await {
        assert_eq!(status, 413);
    }
    assert_eq!(mesh.admin.get("/ready").await.0, 200);
}

#[tokio::test]
async fn what_keeps_it_from_starting_names_the_setting() {
    let mesh = ControlPlane::start().await;
    let data = mesh.folder.path().join("data");
    let start = async |data_dir: &std::path::Path| {
        App::start(config(data_dir)).await.err().expect("it cannot start").to_string()
    };
    let error = start(&data).await;
    assert!(error.contains("another control plane is running on this folder"), "{error}");

    let other = tempfile::tempdir().unwrap();
    let taken = mesh.app.grpc.to_string();
    let mut config = config(other.path());
    config.grpc_listen = taken.parse().unwrap();
    let error = App::start(config).await.err().expect("it cannot start").to_string();
    assert!(error.contains(&format!("--grpc-listen {taken}: the port is in use")), "{error}");

    let file = other.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = start(&file.join("data")).await;
    assert!(error.contains("--data-dir"), "{error}");
}
