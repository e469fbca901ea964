//! What works without the mesh and is easily lost with it.

use weft_tests::pods::{
    Mesh, Pod, require_pods,
    software::{Redis, Web, marker},
};

use super::pair::{NAME, NAMES, Pair};

/// The ports from which a machine connects are given out anew for each destination, so that the application's connection
/// to a service and the sidecar's to an endpoint may come from the same one. With fewer ports than connections they must.
#[tokio::test]
async fn the_application_and_its_sidecar_connect_from_the_same_ports() {
    if !require_pods(&[&["nft"], Redis::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Redis::PORT).await;
    let _redis = Redis::serve(&pair.server, &marker()).await;
    pair.serving().await;
    pair.client.has_ports(40000..=40013);
    let mut subscribers = Vec::new();
    for _ in 0..9 {
        let mut subscriber = pair.client.start(&["redis-cli", "-h", NAME, "subscribe", "news"]);
        // The third line of the server's answer.
        subscriber.announces("1").await;
        subscribers.push(subscriber);
    }
    let published = pair.server.run(&["redis-cli", "publish", "news", "all"]).await.expect_ok();
    assert_eq!(published, "9\n");
    for mut subscriber in subscribers {
        subscriber.announces("message").await;
    }
}

/// `printf REQUEST | nc`, from which some health checks are made.
async fn request(client: &Pod, nc: &str, request: &str) -> String {
    let call = format!("printf '{request}' | {nc} -w 10 {NAME} {}", Web::PORT);
    client.run(&["sh", "-c", &call]).await.expect_ok()
}

#[tokio::test]
async fn a_request_after_which_the_client_closes_its_side() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let marker = marker();
    let _web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    let said = request(&pair.client, "nc -N", "GET /hello.txt HTTP/1.1\\r\\nhost: db\\r\\n\\r\\n").await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(&marker), "{said:?}");
}

/// HTTP/1.0 does not ask for one, and the connection's destination says all that there is to say.
#[tokio::test]
async fn a_request_that_names_no_host() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let marker = marker();
    let _web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    let said = request(&pair.client, "nc", "GET /hello.txt HTTP/1.0\\r\\n\\r\\n").await;
    assert!(said.contains(" 200 ") && said.ends_with(&marker), "{said:?}");
}

#[tokio::test]
async fn an_application_that_listens_on_loopback_only() {
    if !require_pods(&[&["nft"], Redis::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let server = mesh.pod(NAME).serves(Redis::PORT).on_loopback().start();
    let (server, client) = tokio::join!(server, mesh.pod("client").start());
    let _redis = server.start(&["redis-server", "--bind", "127.0.0.1", "--save", "", "--dir", "."]);
    mesh.control_plane().serving(NAME, 1).await;
    let said = client.run(&["redis-cli", "-h", NAME, "ping"]).await;
    assert_eq!(said.stdout, "PONG\n", "it is said to serve: {said:?}");
}
