//! Connections that are not like most: slow, in pieces, silent, to a workload on IPv6.

use std::time::Duration;

use weft_tests::pods::{
    Mesh, require_pods, require_pods_with_python,
    software::{Bytes, Redis, Web, marker},
};

use super::pair::{NAME, NAMES, Pair};

#[tokio::test]
async fn clients_that_take_their_time() {
    if !require_pods(&[&["nft"], Bytes::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Bytes::PORT).await;
    let _bytes = Bytes::serve(&pair.server, &marker()).await;
    pair.serving().await;
    // Longer than anything that is waited for before it is decided what a connection carries.
    for says in [
        "sleep 2; printf 'last\\nhello\\n'",
        "for part in l a s t; do printf $part; sleep 0.3; done; printf '\\nhello\\n'",
        // How a request would begin.
        "printf 'last'; sleep 0.5; printf '\\nPOST hello HTTP/1.1\\nhello\\n'",
    ] {
        let call = format!("{{ {says}; }} | nc -N -w 20 {NAME} {}", Bytes::PORT);
        let said = pair.client.run(&["sh", "-c", &call]).await.expect_ok();
        assert!(said.starts_with("hello\n"), "{says}: {said:?}");
    }
    let silent = pair.client.run(&["sh", "-c", &format!("nc -N -w 20 {NAME} {} </dev/null", Bytes::PORT)]).await;
    assert_eq!(silent.expect_ok(), "", "who says nothing and leaves is gone at once");
}

#[tokio::test]
async fn a_clients_hello_in_the_smallest_pieces() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) || !require_pods_with_python("ssl") {
        return;
    }
    let pair = Pair::start(Web::TLS_PORT).await;
    let marker = marker();
    let web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    let words = pair.client.python("ssl", "pods/tls_in_pieces.py", &[NAME, web.certificate(), "/hello.txt"]);
    for protocol in [None, Some("tls")] {
        if let Some(protocol) = protocol {
            pair.declare(protocol).await;
        }
        assert_eq!(pair.client.run(&words).await.expect_ok().trim_end(), marker, "{protocol:?}");
    }
}

/// The workload is known by its address of IPv6, and by no other.
#[tokio::test]
async fn a_workload_on_ipv6() {
    if !require_pods(&[&["nft"], Redis::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let (server, client) = tokio::join!(mesh.pod(NAME).serves(Redis::PORT).at_v6().start(), mesh.pod("client").start());
    let redis = Redis::serve(&server, &marker()).await;
    mesh.control_plane().serving(NAME, 1).await;
    for way in [NAME, &server.v6().to_string()] {
        redis.talk(&client, way).await;
    }
    assert_eq!(client.metric_sum("weft_tcp_connections_total", &["backend=\"outside\""]).await, 0.0);
}

#[tokio::test]
async fn hundreds_of_connections_at_a_time_and_none_is_left() {
    if !require_pods(&[&["nft"], Redis::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Redis::PORT).await;
    let _redis = Redis::serve(&pair.server, &marker()).await;
    pair.serving().await;
    let words = ["redis-benchmark", "-h", NAME, "-n", "10000", "-c", "300", "-t", "set", "--csv"];
    let report = pair.client.run_within(Duration::from_secs(60), &words).await.expect_ok();
    assert!(report.contains("\"SET\",") && !report.contains("rror"), "{report}");
    for pod in [&pair.client, &pair.server] {
        weft_tests::eventually(&format!("no connection of {} is left", pod.name()), async || {
            match pod.metric_sum("weft_connections", &[]).await {
                0.0 => Ok(()),
                left => Err(format!("{left} are open")),
            }
        })
        .await;
    }
}
