//! Every program of the suites between two pods of the mesh, none of them changed or told anything: by every name and
//! address, with what the port speaks found out and declared.

use weft_tests::pods::{
    Capture, LoadRun,
    load::Plan,
    require_pods, require_pods_with_python,
    software::{Bytes, Datagrams, Grpc, Iperf, Mail, MariaDb, Postgres, Redis, Web, WebSocket, marker},
};

use super::pair::{CALLER, NAME, NAMES, Pair};

/// In MiB.
const GIB: u64 = 1024;

#[tokio::test]
async fn nginx() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let marker = marker();
    let web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, web.talk(&pair.client, &way)).await;
    }
    let seen = pair.client.run(&["curl", "--silent", "--head", &format!("http://{NAME}/hello.txt")]).await.expect_ok();
    assert!(seen.contains(&format!("x-saw-client: {CALLER}\r\n")), "{seen}");
    pair.out_of_sight(&marker, web.hurry(&pair.client, NAME)).await;
    pair.declare("http").await;
    pair.out_of_sight(&marker, web.talk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn tls_of_its_own() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::TLS_PORT).await;
    let marker = marker();
    let web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    // The service's own addresses are in no certificate.
    for way in NAMES.map(str::to_owned).into_iter().chain([pair.server.v4().to_string()]) {
        pair.out_of_sight(&marker, web.talk_tls(&pair.client, &way)).await;
    }
    for protocol in ["tls", "tcp"] {
        pair.declare(protocol).await;
        pair.out_of_sight(&marker, web.talk_tls(&pair.client, NAME)).await;
    }
}

#[tokio::test]
async fn postgres() {
    if !require_pods(&[&["nft", "tcpdump"], Postgres::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Postgres::PORT).await;
    let marker = marker();
    let postgres = Postgres::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, postgres.talk(&pair.client, &way)).await;
    }
    pair.out_of_sight(&marker, postgres.bulk(&pair.client, NAME)).await;
    postgres.hurry(&pair.client, NAME).await;
    postgres.linger(&pair.client, NAME).await;
    pair.declare("tcp").await;
    pair.out_of_sight(&marker, postgres.talk(&pair.client, NAME)).await;
    pair.out_of_sight(&marker, postgres.bulk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn mariadb() {
    if !require_pods(&[&["nft", "tcpdump"], MariaDb::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(MariaDb::PORT).await;
    let marker = marker();
    let mariadb = MariaDb::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, mariadb.talk(&pair.client, &way)).await;
    }
    pair.out_of_sight(&marker, mariadb.bulk(&pair.client, NAME)).await;
    mariadb.linger(&pair.client, NAME).await;
    pair.declare("tcp").await;
    pair.out_of_sight(&marker, mariadb.talk(&pair.client, NAME)).await;
    pair.out_of_sight(&marker, mariadb.bulk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn redis() {
    if !require_pods(&[&["nft", "tcpdump"], Redis::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Redis::PORT).await;
    let marker = marker();
    let redis = Redis::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, redis.talk(&pair.client, &way)).await;
    }
    redis.hurry(&pair.client, NAME).await;
    pair.declare("tcp").await;
    pair.out_of_sight(&marker, redis.talk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn smtp() {
    if !require_pods(&["nft", "tcpdump"]) || !require_pods_with_python(Mail::MODULE) {
        return;
    }
    let pair = Pair::start(Mail::PORT).await;
    let marker = marker();
    let mail = Mail::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, mail.talk(&pair.client, &way)).await;
    }
    pair.declare("tcp").await;
    pair.out_of_sight(&marker, mail.talk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn grpc() {
    if !require_pods(&["nft", "tcpdump"]) || !require_pods_with_python(Grpc::MODULE) {
        return;
    }
    let pair = Pair::start(Grpc::PORT).await;
    let marker = marker();
    let grpc = Grpc::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, grpc.talk(&pair.client, &way, CALLER)).await;
    }
    pair.declare("grpc").await;
    pair.out_of_sight(&marker, grpc.talk(&pair.client, NAME, CALLER)).await;
}

#[tokio::test]
async fn websocket() {
    if !require_pods(&["nft", "tcpdump"]) || !require_pods_with_python(WebSocket::MODULE) {
        return;
    }
    let pair = Pair::start(WebSocket::PORT).await;
    let marker = marker();
    let websocket = WebSocket::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, websocket.talk(&pair.client, &way)).await;
    }
    websocket.linger(&pair.client, NAME).await;
    pair.declare("http").await;
    pair.out_of_sight(&marker, websocket.talk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn bytes() {
    if !require_pods(&[&["nft", "tcpdump"], Bytes::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Bytes::PORT).await;
    let marker = marker();
    let bytes = Bytes::serve(&pair.server, &marker).await;
    pair.serving().await;
    for way in pair.ways().await {
        pair.out_of_sight(&marker, bytes.half_close(&pair.client, &way)).await;
    }
    bytes.transfer(&pair.client, NAME, GIB).await;
    for pod in [&pair.client, &pair.server] {
        let memory = pod.peak_memory() >> 20;
        assert!(memory < GIB / 4, "the sidecar of {} took {memory} MiB for it", pod.name());
    }
    pair.declare("tcp").await;
    pair.out_of_sight(&marker, bytes.half_close(&pair.client, NAME)).await;
    bytes.transfer(&pair.client, NAME, 64).await;
}

#[tokio::test]
async fn iperf() {
    if !require_pods(&[&["nft"], Iperf::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Iperf::PORT).await;
    let iperf = Iperf::serve(&pair.server).await;
    pair.serving().await;
    iperf.hurry(&pair.client, NAME).await;
}

/// They are no matter of the mesh, which lets them pass as they are, in plain sight.
#[tokio::test]
async fn datagrams() {
    if !require_pods(&[&["nft", "tcpdump"], Datagrams::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Datagrams::PORT).await;
    let marker = marker();
    let datagrams = Datagrams::serve(&pair.server, &marker).await;
    for way in [pair.server.v4().to_string(), pair.server.v6().to_string()] {
        let capture = Capture::start(&pair.server).await;
        datagrams.talk(&pair.client, &way).await;
        assert!(capture.finish().await.contains(&marker));
    }
}

#[tokio::test]
async fn steady_load() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let _web = Web::serve(&pair.server, &marker(), &NAMES).await;
    pair.serving().await;
    let plan = Plan::steady(&format!("http://{NAME}/hello.txt")).seconds(3);
    let report = LoadRun::start(&pair.client, env!("CARGO_BIN_EXE_weft-tests-load"), &plan).await.report().await;
    report.assert_none_failed();
    assert_eq!((report.ok, report.connections), (3000, 16), "{report:?}");
}

/// A workload that calls its own service, by its name and by its own address, finds itself.
#[tokio::test]
async fn a_pod_calls_itself() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let web = Web::serve(&pair.server, &marker(), &NAMES).await;
    pair.serving().await;
    for way in [NAME, &pair.server.v4().to_string(), "127.0.0.1", "::1"] {
        web.talk(&pair.server, way).await;
    }
}
