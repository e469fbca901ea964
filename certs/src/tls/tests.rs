//! Whole handshakes, over a pipe in memory.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;
use crate::ca::Ca;
use crate::refusal::{Refusal, handshake_refusal};
use crate::testing::{HOUR, ca, id, now};
use crate::verify::{expect_peer, peer_id};

type Client = client::TlsStream<DuplexStream>;
type Server = server::TlsStream<DuplexStream>;

const ALPN: &[&[u8]] = &[b"weft/1"];

fn workload(ca: &Ca, account: &str) -> Arc<Identity> {
    let id = id("example.org", "shop", account);
    Identity::new(ca.issue(&id, HOUR, now()).unwrap(), ca.trust_bundle())
}

async fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (io::Result<Client>, io::Result<Server>) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(
        TlsConnector::from(client.clone()).connect(no_sni(), near),
        TlsAcceptor::from(server.clone()).accept(far),
    )
}

async fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Client, Server) {
    let (client, server) = handshake(client, server).await;
    (client.unwrap(), server.unwrap())
}

/// What the server says about a client that it refuses, and what the client then learns at its first read.
async fn refused_by_server(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Refusal, Refusal) {
    let (client, server) = handshake(client, server).await;
    let verdict = handshake_refusal(&server.unwrap_err());
    let learned = client.unwrap().read(&mut [0]).await.unwrap_err();
    (verdict, handshake_refusal(&learned))
}

async fn assert_works((client, server): &mut (Client, Server)) {
    for byte in [b'a', b'b'] {
        client.write_all(&[byte]).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), byte);
        server.write_all(&[byte]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), byte);
    }
}

#[tokio::test]
async fn both_sides_see_whom_they_talk_to() {
    let ca = ca("example.org");
    let (frontend, orders) = (workload(&ca, "frontend"), workload(&ca, "orders"));
    let mut pair = connect(&client_config(&frontend, ALPN), &server_config(&orders, ALPN)).await;
    assert_works(&mut pair).await;

    let (client, server) = (pair.0.get_ref().1, pair.1.get_ref().1);
    assert_eq!(peer_id(client).as_ref(), Some(orders.svid().id()));
    assert_eq!(peer_id(server).as_ref(), Some(frontend.svid().id()));
    expect_peer(client, orders.svid().id()).unwrap();
    assert_eq!(client.alpn_protocol(), Some(ALPN[0]));
    assert_eq!(server.alpn_protocol(), Some(ALPN[0]));
}

#[tokio::test]
async fn the_preferred_cryptography_is_negotiated() {
    let ca = ca("example.org");
    let identity = workload(&ca, "orders");
    let (client, _) = connect(&client_config(&identity, ALPN), &server_config(&identity, ALPN)).await;
    let connection = client.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let suite = connection.negotiated_cipher_suite().unwrap();
    assert_eq!(suite.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    let group = connection.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn peers_without_the_hybrid_exchange_fall_back() {
    let ca = ca("example.org");
    let identity = workload(&ca, "orders");
    for group in [kx_group::X25519, kx_group::SECP256R1] {
        let provider = CryptoProvider { kx_groups: vec![group], ..(**provider()).clone() };
        let verifier = ServerVerifier { trust: Trust::Live(identity.clone()), expected: None };
        let old = tls13(ClientConfig::builder_with_provider(provider.into()))
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(CurrentSvid::of(&identity));
        let (client, _) = connect(&Arc::new(old), &server_config(&identity, &[])).await;
        let negotiated = client.get_ref().1.negotiated_key_exchange_group().unwrap();
        assert_eq!(negotiated.name(), group.name());
    }
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused() {
    let identity = workload(&ca("example.org"), "orders");
    let (mut near, far) = duplex(4096);
    let acceptor = TlsAcceptor::from(server_config(&identity, &[]));
    near.write_all(&tls12_client_hello()).await.unwrap();
    let error = acceptor.accept(far).await.unwrap_err();

    let refusal = handshake_refusal(&error);
    assert!(matches!(refusal, Refusal::Other(_)), "{refusal}");
    let mut alert = Vec::new();
    near.read_to_end(&mut alert).await.unwrap();
    // Record type 21 (alert), two bytes of version, length 2, level fatal (2), protocol_version (70).
    assert_eq!(alert.first(), Some(&21));
    assert_eq!(alert[3..], [0, 2, 2, 70]);
}

/// RFC 5246, section 7.4.1.2, with TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, P-256 and ecdsa_secp256r1_sha256.
fn tls12_client_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups
        0, 11, 0, 2, 1, 0, // ec_point_formats
        0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms
    ];
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, extensions.len() as u8]);
    body.extend_from_slice(extensions);
    let length = body.len() as u8;
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&body);
    record
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = ca("example.org");
    let orders = workload(&ca, "orders");
    let anonymous = bootstrap_client_config(ca.trust_bundle(), orders.svid().id().clone(), ALPN);
    let (verdict, learned) = refused_by_server(&anonymous, &server_config(&orders, ALPN)).await;
    assert_eq!(verdict, Refusal::NoCertificate);
    assert_eq!(learned, Refusal::Alert(rustls::AlertDescription::CertificateRequired));
}

#[tokio::test]
async fn a_client_may_be_anonymous_where_that_is_allowed() {
    let ca = ca("example.org");
    let (control_plane, orders) = (workload(&ca, "control-plane"), workload(&ca, "orders"));
    let server = server_config_optional_client(&control_plane, ALPN);
    let expected = control_plane.svid().id().clone();

    let anonymous = bootstrap_client_config(ca.trust_bundle(), expected, ALPN);
    let mut pair = connect(&anonymous, &server).await;
    assert_works(&mut pair).await;
    assert_eq!(peer_id(pair.1.get_ref().1), None);

    let pair = connect(&client_config(&orders, ALPN), &server).await;
    assert_eq!(peer_id(pair.1.get_ref().1).as_ref(), Some(orders.svid().id()));
}

#[tokio::test]
async fn an_optional_certificate_of_a_foreign_ca_is_still_refused() {
    let (ours, theirs) = (ca("example.org"), ca("example.org"));
    let server = server_config_optional_client(&workload(&ours, "control-plane"), ALPN);
    let svid = theirs.issue(&id("example.org", "shop", "orders"), HOUR, now());
    let stranger = Identity::new(svid.unwrap(), ours.trust_bundle());
    let (verdict, learned) = refused_by_server(&client_config(&stranger, ALPN), &server).await;
    assert_eq!(verdict, Refusal::UnknownIssuer);
    assert_eq!(learned, Refusal::Alert(rustls::AlertDescription::UnknownCA));
}

#[tokio::test]
async fn a_bootstrap_client_refuses_any_other_server() {
    let ca = ca("example.org");
    let impostor = workload(&ca, "orders");
    let expected = SpiffeId::control_plane(ca.trust_domain());
    let client = bootstrap_client_config(ca.trust_bundle(), expected.clone(), ALPN);
    let server = server_config_optional_client(&impostor, ALPN);

    let (client, server) = handshake(&client, &server).await;

    let refusal = handshake_refusal(&client.unwrap_err());
    assert_eq!(refusal, Refusal::WrongIdentity { expected, actual: Some(impostor.svid().id().clone()) });
    assert_eq!(handshake_refusal(&server.unwrap_err()).label(), "alert");
}

#[tokio::test]
async fn a_caller_tells_the_endpoint_that_it_dialed_from_another() {
    let ca = ca("example.org");
    let (frontend, orders) = (workload(&ca, "frontend"), workload(&ca, "orders"));
    let (client, _) = connect(&client_config(&frontend, &[]), &server_config(&orders, &[])).await;

    let expected = id("example.org", "shop", "payments");
    let wrong = expect_peer(client.get_ref().1, &expected).unwrap_err();

    assert_eq!(wrong.actual.as_ref(), Some(orders.svid().id()));
    assert_eq!(
        wrong.to_string(),
        "the peer is spiffe://example.org/ns/shop/sa/orders, \
         expected spiffe://example.org/ns/shop/sa/payments"
    );
    assert_eq!(handshake_refusal(&wrong).label(), "wrong_identity");
}

#[tokio::test]
async fn an_expired_peer_is_refused_on_either_side() {
    let (long_ago, day) = (now() - 48 * HOUR, 24 * HOUR);
    let ca = Ca::create("example.org".parse().unwrap(), long_ago).unwrap();
    let fresh = workload(&ca, "frontend");
    let svid = ca.issue(&id("example.org", "shop", "orders"), day, long_ago);
    let expired = Identity::new(svid.unwrap(), ca.trust_bundle());

    let (verdict, learned) = refused_by_server(&client_config(&expired, &[]), &server_config(&fresh, &[])).await;
    assert_eq!(verdict, Refusal::Expired);
    assert_eq!(learned, Refusal::Alert(rustls::AlertDescription::CertificateExpired));

    let (client, _) = handshake(&client_config(&fresh, &[]), &server_config(&expired, &[])).await;
    assert_eq!(handshake_refusal(&client.unwrap_err()), Refusal::Expired);
}

#[tokio::test]
async fn a_peer_of_another_mesh_is_refused() {
    let (ours, theirs) = (ca("example.org"), ca("other.example"));
    let us = workload(&ours, "frontend");
    let svid = theirs.issue(&id("other.example", "shop", "orders"), HOUR, now());
    let them = Identity::new(svid.unwrap(), theirs.trust_bundle());
    let (client, _) = handshake(&client_config(&us, &[]), &server_config(&them, &[])).await;
    assert_eq!(handshake_refusal(&client.unwrap_err()), Refusal::UnknownIssuer);
}

#[tokio::test]
async fn nothing_can_be_resumed() {
    let identity = workload(&ca("example.org"), "orders");
    let (client, server) = (client_config(&identity, &[]), server_config(&identity, &[]));
    for _ in 0..2 {
        let mut pair = connect(&client, &server).await;
        // Tickets would arrive with the first data.
        assert_works(&mut pair).await;
        let connection = pair.0.get_ref().1;
        assert_eq!(connection.tls13_tickets_received(), 0);
        // The same without a ticket: `FullWithHelloRetryRequest` would be a wasted round trip.
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_new_svid_is_used_at_once_and_live_connections_go_on() {
    let ca = ca("example.org");
    let (frontend, orders) = (workload(&ca, "frontend"), workload(&ca, "orders"));
    let (client, server) = (client_config(&frontend, &[]), server_config(&orders, &[]));
    let mut before = connect(&client, &server).await;

    for identity in [&frontend, &orders] {
        let id = identity.svid().id().clone();
        identity.set_svid(ca.issue(&id, 2 * HOUR, now()).unwrap());
    }
    let mut after = connect(&client, &server).await;

    assert_works(&mut before).await;
    assert_works(&mut after).await;
    let leaf_of = |pair: &(Client, Server)| {
        let (client, server) = (pair.0.get_ref().1, pair.1.get_ref().1);
        let server_leaf = client.peer_certificates().unwrap()[0].clone();
        let client_leaf = server.peer_certificates().unwrap()[0].clone();
        (client_leaf, server_leaf)
    };
    let current = (frontend.svid().chain()[0].clone(), orders.svid().chain()[0].clone());
    assert_eq!(leaf_of(&after), current);
    assert_ne!(leaf_of(&before).0, current.0);
    assert_ne!(leaf_of(&before).1, current.1);
}

#[tokio::test]
async fn a_root_is_replaced_without_a_restart() {
    let (old, new) = (ca("example.org"), ca("example.org"));
    let (frontend, orders) = (workload(&old, "frontend"), workload(&old, "orders"));
    let (client, server) = (client_config(&frontend, &[]), server_config(&orders, &[]));
    let mut first = connect(&client, &server).await;

    // Both roots are trusted, then one workload after the other gets an SVID of the new one.
    let both = old.trust_bundle().union(&new.trust_bundle()).unwrap();
    frontend.set_bundle(both.clone());
    orders.set_bundle(both);
    assert_works(&mut connect(&client, &server).await).await;
    let orders_id = orders.svid().id().clone();
    orders.set_svid(new.issue(&orders_id, HOUR, now()).unwrap());
    assert_works(&mut connect(&client, &server).await).await;

    // The old root goes: who still has an SVID of it is refused, from the next handshake on.
    orders.set_bundle(new.trust_bundle());
    let (verdict, _) = refused_by_server(&client, &server).await;
    assert_eq!(verdict, Refusal::UnknownIssuer);
    let frontend_id = frontend.svid().id().clone();
    frontend.set_svid(new.issue(&frontend_id, HOUR, now()).unwrap());
    assert_works(&mut connect(&client, &server).await).await;

    assert_works(&mut first).await;
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_refused() {
    let identity = workload(&ca("example.org"), "orders");
    let (mut near, far) = duplex(4096);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let accepting = TlsAcceptor::from(server_config(&identity, &[])).accept(far);
    assert_eq!(handshake_refusal(&accepting.await.unwrap_err()).label(), "other");
}

#[test]
fn the_key_is_loaded_once_for_each_svid() {
    let identity = workload(&ca("example.org"), "orders");
    let resolver = CurrentSvid::of(&identity);
    let resolve = || ResolvesClientCert::resolve(&*resolver, &[], &[]).unwrap();
    assert!(Arc::ptr_eq(&resolve(), &resolve()));
}

#[test]
fn times_do_not_depend_on_a_hidden_clock() {
    // The verifiers take the time that rustls hands them; this is what makes expiry testable at all.
    let ca = ca("example.org");
    let svid = ca.issue(&id("example.org", "shop", "orders"), HOUR, now());
    let verifier = ServerVerifier { trust: Trust::Given(Arc::new(ca.trust_bundle())), expected: None };
    let svid = svid.unwrap();
    let at = |time: SystemTime| {
        use rustls::client::danger::ServerCertVerifier;
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = rustls::pki_types::UnixTime::since_unix_epoch(time);
        verifier.verify_server_cert(&svid.chain()[0], &svid.chain()[1..], &no_sni(), &[], time)
    };
    at(now()).unwrap();
    let late = at(svid.not_after() + Duration::from_secs(1)).unwrap_err();
    assert_eq!(handshake_refusal(&late), Refusal::Expired);
}
