//! One test for each MUST of the X509-SVID standard. That a handshake applies them too is shown in `verify/tests.rs`.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::*;
use crate::testing::{RogueCa, id, uris};

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Result<Leaf, NotAnSvid> {
    Leaf::parse(&RogueCa::new().leaf(change))
}

fn signer(change: impl FnOnce(&mut CertificateParams)) -> Result<Signer, NotAnSvid> {
    Signer::parse(&RogueCa::new().leaf_below(change).1)
}

#[test]
fn a_leaf_that_meets_the_standard_is_accepted() {
    let leaf = leaf(|_| {}).unwrap();
    assert_eq!(leaf.id, id("example.org", "shop", "orders"));
    assert!(leaf.not_before < leaf.not_after);
}

#[test]
fn other_sans_are_allowed_beside_the_uri() {
    let leaf = leaf(|params| {
        params.subject_alt_names.push(rcgen::SanType::DnsName("orders.example.org".try_into().unwrap()));
    });
    assert_eq!(leaf.unwrap().id, id("example.org", "shop", "orders"));
}

#[test]
fn a_leaf_must_have_a_uri_san() {
    let none = leaf(|params| params.subject_alt_names.clear());
    assert_eq!(none, Err(NotAnSvid::NoUriSan));
    let dns_only = leaf(|params| {
        let name = "orders.example.org".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
    });
    assert_eq!(dns_only, Err(NotAnSvid::NoUriSan));
}

#[test]
fn a_leaf_must_have_exactly_one_uri_san() {
    let two = ["spiffe://example.org/a", "spiffe://example.org/b"];
    assert_eq!(leaf(|params| params.subject_alt_names = uris(&two)), Err(NotAnSvid::ManyUriSans(2)));
    let one_is_no_id = ["spiffe://example.org/a", "https://example.org"];
    assert_eq!(leaf(|params| params.subject_alt_names = uris(&one_is_no_id)), Err(NotAnSvid::ManyUriSans(2)));
}

#[test]
fn a_second_san_extension_is_refused() {
    let twice = leaf(|params| {
        // GeneralNames with one URI, "spiffe://example.org/b".
        let uri = b"spiffe://example.org/b";
        let mut content = vec![0x30, uri.len() as u8 + 2, 0x86, uri.len() as u8];
        content.extend_from_slice(uri);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    });
    assert!(matches!(twice, Err(NotAnSvid::Malformed(_))), "{twice:?}");
}

#[test]
fn the_uri_san_must_be_a_spiffe_id() {
    for uri in ["https://example.org/a", "spiffe://example.org/a/", "spiffe://Example.org/a"] {
        let refused = leaf(|params| params.subject_alt_names = uris(&[uri]));
        assert!(matches!(refused, Err(NotAnSvid::BadId(_))), "{uri}");
    }
}

#[test]
fn the_spiffe_id_of_a_leaf_must_have_a_path() {
    let refused = leaf(|params| params.subject_alt_names = uris(&["spiffe://example.org"]));
    assert!(matches!(refused, Err(NotAnSvid::NoPath(_))));
}

#[test]
fn a_leaf_must_not_be_a_ca() {
    let refused = leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(refused, Err(NotAnSvid::LeafIsCa));
}

#[test]
fn basic_constraints_may_be_absent_from_a_leaf() {
    leaf(|params| params.is_ca = IsCa::NoCa).unwrap();
}

#[test]
fn a_leaf_must_have_key_usage() {
    let refused = leaf(|params| params.key_usages.clear());
    assert_eq!(refused, Err(NotAnSvid::NoKeyUsage));
}

#[test]
fn key_usage_must_be_critical() {
    let refused = leaf(|params| {
        params.key_usages.clear();
        // BIT STRING with digitalSignature, in an extension that is not critical.
        let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]);
        params.custom_extensions.push(usage);
    });
    assert_eq!(refused, Err(NotAnSvid::KeyUsageNotCritical));
}

#[test]
fn a_leaf_must_have_digital_signature() {
    let refused = leaf(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert_eq!(refused, Err(NotAnSvid::NoDigitalSignature));
}

#[test]
fn a_leaf_must_not_have_key_cert_sign() {
    let refused = leaf(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    assert_eq!(refused, Err(NotAnSvid::LeafMaySign("keyCertSign")));
}

#[test]
fn a_leaf_must_not_have_crl_sign() {
    let refused = leaf(|params| params.key_usages.push(KeyUsagePurpose::CrlSign));
    assert_eq!(refused, Err(NotAnSvid::LeafMaySign("cRLSign")));
}

#[test]
fn extended_key_usage_may_be_absent_but_not_partial() {
    leaf(|params| params.extended_key_usages.clear()).unwrap();
    let client_only = leaf(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(client_only, Err(NotAnSvid::NoExtendedUsage("serverAuth")));
    let server_only = leaf(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(server_only, Err(NotAnSvid::NoExtendedUsage("clientAuth")));
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let good = RogueCa::new().leaf(|_| {});
    let mut longer = good.to_vec();
    longer.push(0);
    for bytes in [Vec::new(), b"hello".to_vec(), good[..good.len() - 1].to_vec(), longer] {
        let refused = Leaf::parse(&bytes.into());
        assert!(matches!(refused, Err(NotAnSvid::Malformed(_))));
    }
}

#[test]
fn a_signing_certificate_that_meets_the_standard_is_accepted() {
    let signer = signer(|_| {}).unwrap();
    assert_eq!(signer.id.unwrap().as_str(), "spiffe://example.org");
}

#[test]
fn a_signing_certificate_may_have_no_uri_san_but_not_two() {
    let none = signer(|params| params.subject_alt_names.clear()).unwrap();
    assert_eq!(none.id, None);
    let two = ["spiffe://example.org", "spiffe://example.com"];
    let refused = signer(|params| params.subject_alt_names = uris(&two));
    assert_eq!(refused, Err(NotAnSvid::ManyUriSans(2)));
}

#[test]
fn the_spiffe_id_of_a_signing_certificate_must_not_have_a_path() {
    let refused = signer(|params| params.subject_alt_names = uris(&["spiffe://example.org/ca"]));
    assert!(matches!(refused, Err(NotAnSvid::SignerHasPath(_))));
}

#[test]
fn a_signing_certificate_must_be_a_ca() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let refused = signer(|params| params.is_ca = is_ca);
        assert_eq!(refused, Err(NotAnSvid::SignerNotCa));
    }
}

#[test]
fn a_signing_certificate_must_have_key_cert_sign() {
    // A CA without keyCertSign cannot be made to sign by the library that makes it, so this one signs nothing.
    let refused = RogueCa::new().leaf(|params| {
        params.subject_alt_names = uris(&["spiffe://example.org"]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    assert_eq!(Signer::parse(&refused), Err(NotAnSvid::SignerMayNotSign));
}
