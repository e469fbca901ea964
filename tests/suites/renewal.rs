//! SVIDs that live for five seconds are renewed again and again under load, and no request notices.

use std::collections::BTreeSet;

use weft_certs::tls::client_config;
use weft_tests::{ControlPlane, Load, Workload, connect, eventually, identity, leaf_serial};

const RENEWALS: usize = 3;

#[tokio::test]
async fn renewals_under_load_fail_no_request() {
    let control_plane = ControlPlane::start_with(&["--svid-lifetime", "5s"]).await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let caller = control_plane.sidecar("caller").start().await;
    let load = Load::start(caller.outbound(), "http://orders/", 8, 150);

    let mut serials = BTreeSet::new();
    eventually("the server's certificate changes several times", async || {
        // As a new peer sees it.
        let config = client_config(&identity(caller.svid(), control_plane.trust_bundle()), &[b"weft-http/1.1"]);
        let stream = connect(orders.sidecar.inbound(), config).await.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        serials.insert(leaf_serial(&chain[0]));
        if serials.len() > RENEWALS { Ok(()) } else { Err(format!("{serials:?}")) }
    })
    .await;
    load.more(50).await;
    let outcome = load.stop().await;
    outcome.assert_none_failed();
    assert_eq!(orders.app.answered(), outcome.ok, "no request was sent twice");

    let status = control_plane.status().await.unwrap();
    let workloads = status["workloads"].as_array().unwrap();
    assert!(workloads.iter().all(|workload| workload["svidNotAfter"].is_string()), "{status}");
    assert_eq!(caller.metric(r#"weft_tls_handshakes_refused_total{direction="outbound",reason="expired"}"#).await, 0.0);
    assert_eq!(
        orders.sidecar.metric(r#"weft_tls_handshakes_refused_total{direction="inbound",reason="expired"}"#).await,
        0.0
    );
}
