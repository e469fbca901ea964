//! Who gets an SVID, and for which name.

use std::time::SystemTime;

use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use weft_certs::{Ca, Identity, SpiffeId, TrustBundle, tls};
use weft_proxy_api::proto::identity::v1::{CertifyRequest, identity_client::IdentityClient};

use crate::{
    ControlPlane, config,
    sidecar::{certify, complete, connect, join},
};

#[tokio::test]
async fn a_join_token_gives_the_name_that_it_was_made_for_as_often_as_it_may() {
    let mesh = ControlPlane::start().await;
    let token = mesh.token("orders", 2).await;
    let channel = connect(&mesh, None).await.unwrap();
    for _ in 0..2 {
        let identity = complete(certify(channel.clone(), &token).await.unwrap());
        assert_eq!(identity.svid().id().as_str(), "spiffe://weft.local/ns/shop/sa/orders");
    }
    let refused = certify(channel, &token).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("used up"), "{refused}");
    let (_, metrics) = mesh.admin.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("certificates_issued_total 2"), "{metrics}");
    assert!(metrics.contains("certificates_refused_total{reason=\"token_used_up\"} 1"), "{metrics}");
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_told_apart_from_none() {
    let mesh = ControlPlane::start().await;
    let channel = connect(&mesh, None).await.unwrap();
    let none = certify(channel.clone(), "").await.err().unwrap();
    assert_eq!(none.code(), Code::Unauthenticated);
    assert!(none.message().contains("neither a join token"), "{none}");

    let foreign = format!("weft-join-{}-{}", "0".repeat(16), "0".repeat(64));
    let unknown = certify(channel.clone(), &foreign).await.err().unwrap();
    assert_eq!(unknown.code(), Code::Unauthenticated);
    assert!(unknown.message().contains("unknown") && !unknown.message().contains("0000"), "{unknown}");

    let request = json!({"namespace": "shop", "serviceAccount": "a", "ttlSeconds": 1, "uses": 1_000_000});
    let (_, token) = mesh.admin.post("/v1/tokens", request).await;
    let (token, start) = (token["token"].as_str().unwrap(), std::time::Instant::now());
    let expired = loop {
        match certify(channel.clone(), token).await {
            Ok(_) => assert!(start.elapsed() < crate::harness::DEADLINE, "it never expires"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(expired.code(), Code::Unauthenticated);
    assert!(expired.message().contains("expired at"), "{expired}");
}

#[tokio::test]
async fn an_svid_is_renewed_under_its_own_name_and_no_other() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let channel = connect(&mesh, Some(&identity)).await.unwrap();
    let renewed = complete(certify(channel, "").await.unwrap());
    assert_eq!(renewed.svid().id(), identity.svid().id());
    assert_ne!(renewed.svid().chain()[0], identity.svid().chain()[0]);
}

#[tokio::test]
async fn the_name_that_a_csr_asks_for_means_nothing_and_a_broken_one_is_refused() {
    let mesh = ControlPlane::start().await;
    let identity = join(&mesh, "orders").await;
    let request = CertifyRequest { csr_der: b"not a request".to_vec(), join_token: String::new() };
    let channel = connect(&mesh, Some(&identity)).await.unwrap();
    let refused = IdentityClient::new(channel).certify(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_broken_request_costs_no_use_of_its_token() {
    let mesh = ControlPlane::start().await;
    let token = mesh.token("orders", 1).await;
    let channel = connect(&mesh, None).await.unwrap();
    let request = CertifyRequest { csr_der: b"not a request".to_vec(), join_token: token.clone() };
    let refused = IdentityClient::new(channel.clone()).certify(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    certify(channel, &token).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_in_the_handshake_and_counted() {
    let mesh = ControlPlane::start().await;
    let now = SystemTime::now();
    let other = Ca::create("weft.local".parse().unwrap(), now).unwrap();
    let id = SpiffeId::workload(other.trust_domain(), "shop", "orders").unwrap();
    let svid = other.issue(&id, std::time::Duration::from_secs(60), now).unwrap();
    let bundle = weft_certs::TrustBundle::from_pem(&mesh.app.credentials.trust_anchor).unwrap();
    let foreign = Identity::new(svid, bundle);
    // In TLS 1.3 the client may believe for a moment that it is connected.
    let refused = match connect(&mesh, Some(&foreign)).await {
        Ok(channel) => certify(channel, "").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    let start = std::time::Instant::now();
    loop {
        let (_, metrics) = mesh.admin.get("/metrics").await;
        // As often as it was tried.
        let series = "handshakes_failed_total{listener=\"grpc\",reason=\"unknown_issuer\"} ";
        if metrics.as_str().unwrap().lines().any(|line| line.contains(series) && !line.ends_with(" 0")) {
            break;
        }
        assert!(start.elapsed() < crate::harness::DEADLINE, "{metrics}");
    }
}

/// The certificate that the control plane shows now.
async fn shown(mesh: &ControlPlane) -> Vec<u8> {
    let bundle = TrustBundle::from_pem(&mesh.app.credentials.trust_anchor).unwrap();
    let expected = SpiffeId::control_plane(bundle.trust_domain());
    let connector = TlsConnector::from(tls::bootstrap_client_config(bundle, expected, &[b"h2"]));
    let tcp = TcpStream::connect(mesh.app.grpc).await.unwrap();
    let stream = connector.connect(tls::no_sni(), tcp).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_control_plane_renews_its_own_svid_and_open_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder.path().join("data"));
    config.svid_lifetime = std::time::Duration::from_secs(5);
    let mesh = ControlPlane::with(folder, config).await;
    let (first, start) = (shown(&mesh).await, std::time::Instant::now());
    let channel = connect(&mesh, None).await.unwrap();
    while shown(&mesh).await == first {
        assert!(start.elapsed() < crate::harness::DEADLINE, "it was never renewed");
    }
    let token = mesh.token("orders", 1).await;
    certify(channel, &token).await.unwrap();
}
