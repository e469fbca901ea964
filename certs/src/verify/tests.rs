//! That both verifiers refuse what the X509-SVID standard tells validators to refuse, and say why.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};

use super::*;
use crate::refusal::{Refusal, handshake_refusal};
use crate::testing::{HOUR, RogueCa, ca, id, now, uris};

/// Shows the chain (leaf first) to a server verifier and a client verifier; both must agree.
fn verify(bundle: TrustBundle, chain: &[CertificateDer<'static>]) -> Result<(), Refusal> {
    let bundle = Arc::new(bundle);
    let since_epoch = now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = UnixTime::since_unix_epoch(since_epoch);
    let (leaf, intermediates) = chain.split_first().unwrap();

    let server = ServerVerifier { trust: Trust::Given(bundle.clone()), expected: None };
    let name = crate::tls::no_sni();
    let as_server = server
        .verify_server_cert(leaf, intermediates, &name, &[], time)
        .map(drop)
        .map_err(|error| handshake_refusal(&error));

    let client = ClientVerifier { trust: Trust::Given(bundle), mandatory: true };
    let as_client =
        client.verify_client_cert(leaf, intermediates, time).map(drop).map_err(|error| handshake_refusal(&error));

    assert_eq!(as_server, as_client);
    as_server
}

fn refused_leaf(change: impl FnOnce(&mut CertificateParams)) -> Refusal {
    let ca = RogueCa::new();
    verify(ca.bundle(), &[ca.leaf(change)]).unwrap_err()
}

fn not_an_svid(reason: NotAnSvid) -> Refusal {
    Refusal::NotAnSvid(reason.to_string())
}

#[test]
fn a_good_chain_is_accepted() {
    let rogue = RogueCa::new();
    assert_eq!(verify(rogue.bundle(), &[rogue.leaf(|_| {})]), Ok(()));
    let (leaf, signer) = rogue.leaf_below(|_| {});
    assert_eq!(verify(rogue.bundle(), &[leaf, signer]), Ok(()));

    let ca = ca("example.org");
    let svid = ca.issue(&id("example.org", "shop", "orders"), HOUR, now());
    assert_eq!(verify(ca.trust_bundle(), svid.unwrap().chain()), Ok(()));
}

#[test]
fn two_uri_sans_are_refused() {
    let two = ["spiffe://example.org/a", "spiffe://example.org/b"];
    let refusal = refused_leaf(|params| params.subject_alt_names = uris(&two));
    assert_eq!(refusal, not_an_svid(NotAnSvid::ManyUriSans(2)));
}

#[test]
fn no_uri_san_is_refused() {
    let refusal = refused_leaf(|params| params.subject_alt_names.clear());
    assert_eq!(refusal, not_an_svid(NotAnSvid::NoUriSan));
}

#[test]
fn a_ca_certificate_as_leaf_is_refused() {
    let refusal = refused_leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(refusal, not_an_svid(NotAnSvid::LeafIsCa));
}

#[test]
fn a_leaf_that_may_sign_certificates_is_refused() {
    let refusal = refused_leaf(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    assert_eq!(refusal, not_an_svid(NotAnSvid::LeafMaySign("keyCertSign")));
}

#[test]
fn a_leaf_that_may_sign_revocation_lists_is_refused() {
    let refusal = refused_leaf(|params| params.key_usages.push(KeyUsagePurpose::CrlSign));
    assert_eq!(refusal, not_an_svid(NotAnSvid::LeafMaySign("cRLSign")));
}

#[test]
fn a_leaf_for_one_side_only_is_refused_on_both() {
    let ca = RogueCa::new();
    let leaf = ca.leaf(|params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let refusal = verify(ca.bundle(), &[leaf]).unwrap_err();
    assert_eq!(refusal, not_an_svid(NotAnSvid::NoExtendedUsage("serverAuth")));
}

#[test]
fn a_leaf_id_without_a_path_is_refused() {
    let refusal = refused_leaf(|params| params.subject_alt_names = uris(&["spiffe://example.org"]));
    assert_eq!(refusal.label(), "not_an_svid");
    assert!(refusal.to_string().contains("no path"), "{refusal}");
}

#[test]
fn an_expired_leaf_is_refused() {
    let refusal = refused_leaf(|params| {
        params.not_before = (now() - 2 * HOUR).into();
        params.not_after = (now() - HOUR).into();
    });
    assert_eq!(refusal, Refusal::Expired);
}

#[test]
fn a_leaf_of_the_future_is_refused() {
    let refusal = refused_leaf(|params| {
        params.not_before = (now() + Duration::from_secs(600)).into();
    });
    assert_eq!(refusal, Refusal::NotYetValid);
}

#[test]
fn an_expired_signer_is_refused() {
    let rogue = RogueCa::new();
    let (leaf, signer) = rogue.leaf_below(|params| params.not_after = (now() - HOUR).into());
    let refusal = verify(rogue.bundle(), &[leaf, signer]).unwrap_err();
    assert_eq!(refusal, Refusal::Expired);
}

#[test]
fn a_foreign_ca_of_the_same_trust_domain_is_refused() {
    let (ours, theirs) = (ca("example.org"), ca("example.org"));
    let svid = theirs.issue(&id("example.org", "shop", "orders"), HOUR, now()).unwrap();
    let refusal = verify(ours.trust_bundle(), svid.chain()).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownIssuer);

    // The same with equal names of the two roots, where only the signature tells them apart.
    let (ours, theirs) = (RogueCa::new(), RogueCa::new());
    let refusal = verify(ours.bundle(), &[theirs.leaf(|_| {})]).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownIssuer);
}

#[test]
fn a_foreign_trust_domain_is_refused_even_from_our_own_ca() {
    let foreign = "spiffe://other.example/ns/shop/sa/orders";
    let refusal = refused_leaf(|params| params.subject_alt_names = uris(&[foreign]));
    assert_eq!(
        refusal,
        Refusal::WrongTrustDomain { expected: "example.org".parse().unwrap(), actual: foreign.parse().unwrap() }
    );
}

#[test]
fn a_leaf_below_another_leaf_is_refused() {
    let rogue = RogueCa::new();
    let (leaf, signer) = rogue.leaf_below(|params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = uris(&["spiffe://example.org/ns/shop/sa/evil"]);
    });
    verify(rogue.bundle(), &[leaf, signer]).unwrap_err();
}

#[test]
fn a_signer_with_a_path_in_its_id_is_refused() {
    let rogue = RogueCa::new();
    let (leaf, signer) = rogue.leaf_below(|params| {
        params.subject_alt_names = uris(&["spiffe://example.org/ns/shop/sa/evil"]);
    });
    let refusal = verify(rogue.bundle(), &[leaf, signer]).unwrap_err();
    assert!(refusal.to_string().contains("has a path"), "{refusal}");
}

#[test]
fn a_chain_without_its_issuing_ca_is_refused() {
    let ca = ca("example.org");
    let svid = ca.issue(&id("example.org", "shop", "orders"), HOUR, now()).unwrap();
    let refusal = verify(ca.trust_bundle(), &svid.chain()[..1]).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownIssuer);
}

#[test]
fn garbage_is_refused() {
    let refusal = verify(RogueCa::new().bundle(), &[b"garbage".to_vec().into()]).unwrap_err();
    assert_eq!(refusal.label(), "not_an_svid");
}
