use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> IdError {
    text.parse::<SpiffeId>().expect_err(text)
}

#[test]
fn a_workload_has_its_namespace_and_account() {
    let trust_domain: TrustDomain = "prod.example.com".parse().unwrap();
    let id = SpiffeId::workload(&trust_domain, "shop", "orders-v2").unwrap();
    assert_eq!(id.to_string(), "spiffe://prod.example.com/ns/shop/sa/orders-v2");
    assert_eq!(id.trust_domain(), &trust_domain);
    assert_eq!(id.path(), "/ns/shop/sa/orders-v2");
    assert_eq!(id.namespace(), Some("shop"));
    assert_eq!(id.service_account(), Some("orders-v2"));
    assert_eq!(id, id.as_str().parse().unwrap());
}

#[test]
fn other_layouts_have_no_namespace() {
    let trust_domain: TrustDomain = "example.org".parse().unwrap();
    for id in [
        SpiffeId::control_plane(&trust_domain),
        trust_domain.id(),
        "spiffe://example.org/ns/a/sa/b/c".parse().unwrap(),
        "spiffe://example.org/ns/a/x/sa/b".parse().unwrap(),
        "spiffe://example.org/x/ns/a/sa/b".parse().unwrap(),
        "spiffe://example.org/ns/a".parse().unwrap(),
    ] {
        assert_eq!(id.namespace(), None, "{id}");
        assert_eq!(id.service_account(), None, "{id}");
        assert_eq!(id, id.as_str().parse().unwrap());
    }
}

#[test]
fn a_namespace_cannot_smuggle_in_segments() {
    let trust_domain: TrustDomain = "example.org".parse().unwrap();
    for bad in ["", ".", "..", "a/sa/admin", "a%2fb", "a b", "ü"] {
        SpiffeId::workload(&trust_domain, bad, "orders").unwrap_err();
        SpiffeId::workload(&trust_domain, "shop", bad).unwrap_err();
    }
}

#[test]
fn the_scheme_is_spiffe_in_lowercase() {
    for text in ["", "spiffe:/", "https://example.org/a", "SPIFFE://example.org/a", "example.org"] {
        assert_eq!(refused(text), IdError::Scheme);
    }
}

#[test]
fn the_trust_domain_is_plain() {
    assert_eq!(refused("spiffe://"), IdError::EmptyTrustDomain);
    assert_eq!(refused("spiffe:///a"), IdError::EmptyTrustDomain);
    for (text, bad) in [
        ("spiffe://Example.org/a", 'E'),
        ("spiffe://example.org:443/a", ':'),
        ("spiffe://user@example.org/a", '@'),
        ("spiffe://example.org?x", '?'),
        ("spiffe://example.org#x", '#'),
        ("spiffe://exämple.org/a", 'ä'),
        ("spiffe://example%2eorg/a", '%'),
    ] {
        assert_eq!(refused(text), IdError::TrustDomainChar(bad));
    }
    "spiffe://1.2.3.4/a".parse::<SpiffeId>().unwrap();
    "spiffe://a_b-c.d/a".parse::<SpiffeId>().unwrap();
}

#[test]
fn the_path_has_plain_segments_only() {
    assert_eq!(refused("spiffe://td/"), IdError::TrailingSlash);
    assert_eq!(refused("spiffe://td/a/"), IdError::TrailingSlash);
    assert_eq!(refused("spiffe://td//a"), IdError::EmptySegment);
    assert_eq!(refused("spiffe://td/a//b"), IdError::EmptySegment);
    assert_eq!(refused("spiffe://td/./a"), IdError::DotSegment(".".into()));
    assert_eq!(refused("spiffe://td/a/.."), IdError::DotSegment("..".into()));
    for (text, bad) in [
        ("spiffe://td/a?q=1", '?'),
        ("spiffe://td/a#f", '#'),
        ("spiffe://td/a%20b", '%'),
        ("spiffe://td/a b", ' '),
        ("spiffe://td/a\0", '\0'),
        ("spiffe://td/é", 'é'),
    ] {
        assert_eq!(refused(text), IdError::PathChar(bad));
    }
    "spiffe://td/.../A.b-c_9".parse::<SpiffeId>().unwrap();
}

#[test]
fn lengths_are_limited_to_the_byte() {
    let trust_domain = |len| "a".repeat(len).parse::<TrustDomain>();
    trust_domain(255).unwrap();
    assert_eq!(trust_domain(256), Err(IdError::TrustDomainTooLong(256)));

    let id = |len: usize| format!("spiffe://td/{}", "a".repeat(len - 12)).parse::<SpiffeId>();
    id(2048).unwrap();
    assert_eq!(id(2049), Err(IdError::TooLong(2049)));

    let td: TrustDomain = "td".parse().unwrap();
    let account = |len: usize| SpiffeId::workload(&td, "n", &"a".repeat(len - 20));
    assert_eq!(account(2048).unwrap().as_str().len(), 2048);
    assert_eq!(account(2049), Err(IdError::TooLong(2049)));
}

#[test]
fn serde_checks_what_it_reads() {
    let id: SpiffeId = serde_json::from_str("\"spiffe://td/a\"").unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"spiffe://td/a\"");
    serde_json::from_str::<SpiffeId>("\"spiffe://td/a/../b\"").unwrap_err();
    serde_json::from_str::<TrustDomain>("\"TD\"").unwrap_err();
}

proptest! {
    #[test]
    fn valid_names_survive_the_round_trip(
        trust_domain in "[a-z0-9._-]{1,60}",
        segments in prop::collection::vec("[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}", 0..6),
    ) {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        let text = format!("spiffe://{trust_domain}{path}");
        let id: SpiffeId = text.parse().unwrap();
        prop_assert_eq!(id.to_string(), text);
        prop_assert_eq!(id.trust_domain().as_str(), trust_domain);
        prop_assert_eq!(id.path(), path);
    }

    /// The standard's rules again, written the other way round.
    #[test]
    fn whatever_is_accepted_obeys_the_standard(text in "spiffe://[a-c.:@]{0,4}(/[a-bA._%?#é/-]{0,4}){0,3}") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            let path = id.path();
            prop_assert!(path.is_empty() || path.starts_with('/'));
            prop_assert!(!path.ends_with('/') && !path.contains("//"));
            prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!text.contains(['%', '?', '#', ':', '@', 'é']) || text.matches(':').count() == 1);
            prop_assert!(!id.trust_domain().as_str().is_empty());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = text.parse::<SpiffeId>();
        let _ = format!("spiffe://{text}").parse::<SpiffeId>();
    }
}
