//! Who is not in the mesh, and calls a workload that is: refused, let in, or left alone, as the mesh says.

use weft_tests::pods::{
    Capture, require_pods, require_pods_with_python,
    software::{Mail, Redis, Web, marker},
};

use super::pair::{NAME, NAMES, Pair};

/// What the workloads of the service accept, and if they differ, what the whole mesh does.
fn accepts(mtls: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: AccessPolicy\n\
         metadata: {{name: {NAME}, namespace: shop}}\n\
         spec: {{targetRef: {{kind: Service, name: {NAME}}}, mtls: {mtls}}}\n"
    )
}

#[tokio::test]
async fn requests_of_a_stranger() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Web::PORT).await;
    let stranger = pair.mesh.stranger("stranger");
    let marker = marker();
    let web = Web::serve(&pair.server, &marker, &NAMES).await;
    pair.serving().await;
    for address in [pair.server.v4().to_string(), pair.server.v6().to_string()] {
        let url = format!(
            "http://{}/hello.txt",
            if address.contains(':') { format!("[{address}]") } else { address.clone() }
        );
        pair.mesh.control_plane().apply(&accepts("strict")).await;
        let refused = stranger.run(&["curl", "--silent", "--include", "--max-time", "20", &url]).await;
        assert!(refused.stdout.starts_with("HTTP/1.1 403") && refused.stdout.contains("proxy-status"), "{refused:?}");
        assert!(!refused.stdout.contains(&marker));
        pair.mesh.control_plane().apply(&accepts("permissive")).await;
        web.talk(&stranger, &address).await;
        let forged = ["--header", "weft-client-id: spiffe://weft.local/ns/shop/sa/boss"];
        let forged = stranger.run(&[&["curl", "--silent", "--include", &url][..], &forged].concat()).await.expect_ok();
        assert!(forged.starts_with("HTTP/1.1 200") && !forged.contains("x-saw-client"), "{forged}");
        pair.mesh.control_plane().apply(&accepts("off")).await;
        web.talk(&stranger, &address).await;
        pair.mesh.control_plane().apply(&accepts("permissive")).await;
    }
    // Among themselves, workloads of the mesh use mutual TLS all the same.
    pair.out_of_sight(&marker, web.talk(&pair.client, NAME)).await;
    let refused = pair.server.metric_sum("weft_failures_total", &["plaintext_refused"]).await;
    assert_eq!(refused, 2.0);
}

#[tokio::test]
async fn other_protocols_of_a_stranger() {
    if !require_pods(&[&["nft", "tcpdump"], Redis::PROGRAMS].concat()) {
        return;
    }
    let pair = Pair::start(Redis::PORT).await;
    let stranger = pair.mesh.stranger("stranger");
    let marker = marker();
    let redis = Redis::serve(&pair.server, &marker).await;
    pair.serving().await;
    let address = pair.server.v4().to_string();
    let refused = stranger.run(&["redis-cli", "-h", &address, "ping"]).await;
    assert!(refused.code != 0 || !refused.stdout.contains("PONG"), "strict, unless it is said otherwise: {refused:?}");
    pair.mesh.control_plane().apply(&accepts("permissive")).await;
    let capture = Capture::start(&pair.server).await;
    redis.talk(&stranger, &address).await;
    assert!(capture.finish().await.contains(&marker), "it comes in plain text");
    pair.out_of_sight(&marker, redis.talk(&pair.client, NAME)).await;
}

#[tokio::test]
async fn a_stranger_that_waits_for_the_server() {
    if !require_pods(&["nft", "tcpdump"]) || !require_pods_with_python(Mail::MODULE) {
        return;
    }
    let pair = Pair::start(Mail::PORT).await;
    let stranger = pair.mesh.stranger("stranger");
    let mail = Mail::serve(&pair.server, &marker()).await;
    pair.serving().await;
    let address = pair.server.v4().to_string();
    let refused = stranger.run(&["nc", "-w", "25", &address, "25"]).await;
    assert_eq!(refused.stdout, "", "it hears nothing");
    pair.mesh.control_plane().apply(&accepts("permissive")).await;
    mail.talk(&stranger, &address).await;
    mail.talk(&pair.client, NAME).await;
}
