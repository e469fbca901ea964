//! What comes and goes under load from a program that knows nothing of it: no request may be the price.

use rustix::process::Signal;
use weft_tests::{
    eventually,
    pods::{
        Capture, LoadRun, Mesh, MeshPod,
        load::{Plan, Report},
        require_pods,
        software::{Redis, Web, marker},
    },
};

use super::pair::{NAME, NAMES, Pair};

/// 400 requests a second, as much as a busy machine does with time to spare.
async fn load(client: &MeshPod, host: &str) -> LoadRun {
    let plan = Plan { per_second: 400, ..Plan::steady(&format!("http://{host}/hello.txt")) };
    LoadRun::start(client, env!("CARGO_BIN_EXE_weft-tests-load"), &plan).await
}

fn assert_all_answered(report: &Report) {
    report.assert_none_failed();
    assert_eq!(report.connections, 16, "the client's own connections stay: {report:?}");
}

#[tokio::test]
async fn a_sidecar_that_leaves_costs_no_request() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let server = |name: &str| mesh.pod(name).serves_as("web", Web::PORT, Web::PORT).start();
    let (stays, mut leaves, client) = tokio::join!(server("web-1"), server("web-2"), mesh.pod("client").start());
    let _webs = (Web::serve(&stays, &marker(), &[]).await, Web::serve(&leaves, &marker(), &[]).await);
    mesh.control_plane().serving("web", 2).await;
    let load = load(&client, "web").await;
    load.more(400).await;
    leaves.sidecar().signal(Signal::TERM);
    assert!(leaves.sidecar().ended().await.success());
    mesh.control_plane().serving("web", 1).await;
    load.more(200).await;
    leaves.restart_sidecar().await;
    mesh.control_plane().serving("web", 2).await;
    load.more(400).await;
    assert_all_answered(&load.stop().await);
    assert!(leaves.metric_sum("weft_requests_total", &["inbound", "2xx"]).await > 0.0, "it is called again");
}

#[tokio::test]
async fn a_control_plane_that_restarts_costs_no_request_and_no_connection() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mut pair = Pair::start(Web::PORT).await;
    let _web = Web::serve(&pair.server, &marker(), &NAMES).await;
    pair.serving().await;
    let load = load(&pair.client, NAME).await;
    load.more(200).await;
    pair.mesh.control_plane_mut().restart().await;
    load.more(200).await;
    // What the port is found to speak already.
    pair.declare("http").await;
    load.more(200).await;
    assert_all_answered(&load.stop().await);
}

#[tokio::test]
async fn an_application_that_is_gone_is_missed_and_found_again() {
    if !require_pods(&[&["nft", "tcpdump"], Redis::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Redis::PORT).await;
    let marker = marker();
    let redis = Redis::serve(&pair.server, &marker).await;
    pair.serving().await;
    redis.talk(&pair.client, NAME).await;
    drop(redis);
    pair.mesh.control_plane().serving(NAME, 0).await;
    let refused = pair.client.run(&["redis-cli", "-h", NAME, "ping"]).await;
    assert!(!refused.stdout.contains("PONG"), "{refused:?}");
    eventually("the client is told that nobody is there", async || {
        let url = format!("http://{NAME}:{}/", Redis::PORT);
        let said = pair.client.run(&["curl", "--silent", "--include", &url]).await;
        let is_told = said.stdout.starts_with("HTTP/1.1 503") && said.stdout.contains("no endpoints");
        if is_told { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    let redis = Redis::serve(&pair.server, &marker).await;
    pair.serving().await;
    pair.out_of_sight(&marker, redis.talk(&pair.client, NAME)).await;
}

/// A sidecar that is dead carries nothing, and nothing goes past it. When it is back, all is as before.
#[tokio::test]
async fn without_its_sidecar_a_pod_is_cut_off() {
    if !require_pods(&[&["nft", "tcpdump"], Redis::PROGRAMS].concat()) {
        return;
    }
    let mut pair = Pair::start(Redis::PORT).await;
    let marker = marker();
    let redis = Redis::serve(&pair.server, &marker).await;
    pair.serving().await;
    let address = pair.server.v4().to_string();
    let capture = Capture::start(&pair.server).await;
    pair.client.sidecar().kill();
    let refused = pair.client.run(&["redis-cli", "-h", &address, "set", "word", &marker]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(!capture.finish().await.contains(&marker));
    pair.client.restart_sidecar().await;
    pair.out_of_sight(&marker, redis.talk(&pair.client, NAME)).await;
}
