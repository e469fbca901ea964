use std::time::Duration;

use super::*;
use crate::key::PrivateKey;
use crate::testing::{HOUR, RogueCa, ca, id, now};

fn svid() -> Svid {
    ca("example.org").issue(&id("example.org", "shop", "orders"), HOUR, now()).unwrap()
}

#[test]
fn survives_pem_with_key_and_chain() {
    let svid = svid();
    let text = svid.to_pem();
    assert!(text.lines().all(|line| line.len() <= 64), "{}", svid.id());
    let read = Svid::from_pem(&text).unwrap();
    assert_eq!(read.id(), svid.id());
    assert_eq!(read.chain(), svid.chain());
    assert_eq!(read.not_after(), svid.not_after());
    assert_eq!(read.to_pem(), text);
}

#[test]
fn a_file_without_its_parts_says_what_is_missing() {
    let text = svid().to_pem();
    let (key, chain) = text.split_at(text.find("-----BEGIN CERT").unwrap());
    assert!(matches!(Svid::from_pem(key), Err(SvidError::EmptyChain)));
    let error = Svid::from_pem(chain).unwrap_err().to_string();
    assert!(error.contains("private key"), "{error}");
    Svid::from_pem("").unwrap_err();
}

#[test]
fn the_key_must_be_the_leafs() {
    let other = PrivateKey::generate().unwrap();
    assert!(matches!(Svid::parse(svid().chain().to_vec(), other.pkcs8()), Err(SvidError::NotOurKey)));
    let garbage = Zeroizing::new(b"no key".to_vec());
    assert!(matches!(Svid::parse(svid().chain().to_vec(), garbage), Err(SvidError::Key(_))));
}

#[test]
fn the_leaf_and_its_signers_must_meet_the_standard() {
    let key = || PrivateKey::generate().unwrap().pkcs8();
    let bad = RogueCa::new().leaf(|params| params.subject_alt_names.clear());
    assert!(matches!(Svid::parse(vec![bad], key()), Err(SvidError::Leaf(NotAnSvid::NoUriSan))));
    let good = RogueCa::new().leaf(|_| {});
    assert!(matches!(
        Svid::parse(vec![good.clone(), good], key()),
        Err(SvidError::Chain { position: 1, reason: NotAnSvid::SignerHasPath(_) })
    ));
}

#[test]
fn is_valid_between_its_two_times() {
    let svid = svid();
    let second = Duration::from_secs(1);
    assert!(svid.is_valid_at(now()));
    assert!(svid.is_valid_at(svid.not_before()) && svid.is_valid_at(svid.not_after()));
    assert!(!svid.is_valid_at(svid.not_before() - second));
    assert!(!svid.is_valid_at(svid.not_after() + second));
}

#[test]
fn debug_shows_the_identity_but_no_key() {
    let svid = svid();
    let shown = format!("{svid:?}");
    assert!(shown.contains("spiffe://example.org/ns/shop/sa/orders") && shown.contains("redacted"));
    let key = &**svid.pkcs8;
    assert!(!shown.contains(&hex::encode(key)) && !shown.contains(&format!("{key:?}")));
}
