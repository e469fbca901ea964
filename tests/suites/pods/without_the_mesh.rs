//! Every program of the suites between two pods and no mesh: what must hold with it holds without it, and a capture of
//! the cable shows what was said. Without this, neither would mean anything.

use weft_tests::pods::{
    Capture, LoadRun, Network, Pod,
    load::Plan,
    require_pods, require_pods_with_python,
    software::{Bytes, Datagrams, Grpc, Iperf, Mail, MariaDb, Postgres, Redis, Web, WebSocket, marker},
};

const NAME: &str = "server";

/// A server, and a client that knows it by name.
fn pair() -> (Network, Pod, Pod) {
    let network = Network::new();
    let (server, client) = (network.pod(NAME), network.pod("client"));
    client.knows(NAME, server.v4());
    (network, server, client)
}

/// The ways to the server: its name and its addresses.
fn ways(server: &Pod) -> [String; 3] {
    [NAME.to_owned(), server.v4().to_string(), server.v6().to_string()]
}

/// Everything that `talk` does passes the server's cable, where the marker can be read.
async fn in_plain_sight(server: &Pod, marker: &str, talk: impl Future<Output = ()>) {
    let capture = Capture::start(server).await;
    talk.await;
    assert!(capture.finish().await.contains(marker), "the capture would not show plain text");
}

#[tokio::test]
async fn nginx() {
    if !require_pods(&[&["tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let web = Web::serve(&server, &marker, &[NAME]).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, web.talk(&client, &way)).await;
    }
    web.hurry(&client, NAME).await;
}

#[tokio::test]
async fn tls_of_its_own() {
    if !require_pods(&[&["tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let web = Web::serve(&server, &marker, &[NAME]).await;
    let capture = Capture::start(&server).await;
    for way in ways(&server) {
        web.talk_tls(&client, &way).await;
    }
    let captured = capture.finish().await;
    assert!(captured.contains("server") && !captured.contains(&marker), "only its name can be read");
}

#[tokio::test]
async fn postgres() {
    if !require_pods(&[&["tcpdump"], Postgres::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let postgres = Postgres::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, postgres.talk(&client, &way)).await;
    }
    postgres.bulk(&client, NAME).await;
    postgres.hurry(&client, NAME).await;
    postgres.linger(&client, NAME).await;
}

#[tokio::test]
async fn mariadb() {
    if !require_pods(&[&["tcpdump"], MariaDb::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let mariadb = MariaDb::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, mariadb.talk(&client, &way)).await;
    }
    mariadb.bulk(&client, NAME).await;
    mariadb.linger(&client, NAME).await;
}

#[tokio::test]
async fn redis() {
    if !require_pods(&[&["tcpdump"], Redis::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let redis = Redis::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, redis.talk(&client, &way)).await;
    }
    redis.hurry(&client, NAME).await;
}

#[tokio::test]
async fn smtp() {
    if !require_pods(&["tcpdump"]) || !require_pods_with_python(Mail::MODULE) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let mail = Mail::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, mail.talk(&client, &way)).await;
    }
}

#[tokio::test]
async fn grpc() {
    if !require_pods(&["tcpdump"]) || !require_pods_with_python(Grpc::MODULE) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let grpc = Grpc::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, grpc.talk(&client, &way, "nobody")).await;
    }
}

#[tokio::test]
async fn websocket() {
    if !require_pods(&["tcpdump"]) || !require_pods_with_python(WebSocket::MODULE) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let websocket = WebSocket::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, websocket.talk(&client, &way)).await;
    }
    websocket.linger(&client, NAME).await;
}

#[tokio::test]
async fn bytes() {
    if !require_pods(&[&["tcpdump"], Bytes::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let bytes = Bytes::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, bytes.half_close(&client, &way)).await;
    }
    bytes.transfer(&client, NAME, 1024).await;
    bytes.transfer(&client, &server.v6().to_string(), 64).await;
}

#[tokio::test]
async fn iperf() {
    if !require_pods(Iperf::PROGRAMS) {
        return;
    }
    let (_network, server, client) = pair();
    Iperf::serve(&server).await.hurry(&client, NAME).await;
}

#[tokio::test]
async fn datagrams() {
    if !require_pods(&[&["tcpdump"], Datagrams::PROGRAMS].concat()) {
        return;
    }
    let (_network, server, client) = pair();
    let marker = marker();
    let datagrams = Datagrams::serve(&server, &marker).await;
    for way in ways(&server) {
        in_plain_sight(&server, &marker, datagrams.talk(&client, &way)).await;
    }
}

#[tokio::test]
async fn steady_load() {
    if !require_pods(Web::PROGRAMS) {
        return;
    }
    let (_network, server, client) = pair();
    let web = Web::serve(&server, &marker(), &[NAME]).await;
    let program = env!("CARGO_BIN_EXE_weft-tests-load");
    let plan = Plan::steady(&format!("http://{NAME}/hello.txt")).seconds(3);
    let report = LoadRun::start(&client, program, &plan).await.report().await;
    report.assert_none_failed();
    assert_eq!((report.ok, report.connections), (3000, 16), "{report:?}");

    let load = LoadRun::start(&client, program, &Plan::steady(&format!("http://{NAME}/hello.txt"))).await;
    load.more(500).await;
    drop(web);
    load.more(500).await;
    let report = load.stop().await;
    assert!(report.ok >= 500 && report.connect > 0 && report.timeout == 0, "{report:?}");
}
