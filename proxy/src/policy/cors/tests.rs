use std::time::Duration;

use super::*;

fn policy(origins: &[&str]) -> api::Cors {
    api::Cors {
        allow_origins: origins.iter().map(|origin| AllowedOrigin::new(origin)).collect(),
        ..api::Cors::default()
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The lines, in order.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

fn answered(cors: &api::Cors, origin: Option<&str>, answer: &[(&'static str, &str)]) -> Vec<String> {
    let mut answer = headers(answer);
    let origin = origin.map(|origin| origin.parse().unwrap());
    Cors::new(cors).apply(origin.as_ref(), &mut answer);
    lines(&answer)
}

const SHOP: &str = "https://shop.example.com";

#[test]
fn a_preflight_is_options_with_an_origin_and_a_method() {
    let about = |method: Method, lines: &[_]| asked_about(&method, &headers(lines));
    let both = [("origin", SHOP), ("access-control-request-method", "PUT")];
    assert_eq!(about(Method::OPTIONS, &both), Some(Method::PUT));
    assert_eq!(about(Method::GET, &both), None);
    assert_eq!(about(Method::OPTIONS, &both[..1]), None);
    assert_eq!(about(Method::OPTIONS, &both[1..]), None);
    assert_eq!(about(Method::OPTIONS, &[both[0], ("access-control-request-method", "P T")]), None);
}

#[test]
fn who_may_use_an_answer() {
    let any = policy(&["*"]);
    let with_credentials = api::Cors { allow_credentials: true, ..policy(&["*"]) };
    let some = policy(&[SHOP, "https://*.example.org"]);
    let own = |origin| vec![format!("access-control-allow-origin: {origin}"), "vary: origin".to_owned()];
    let nobody = vec!["vary: origin".to_owned()];
    let true_ = "access-control-allow-credentials: true".to_owned();
    for (cors, origin, expected) in [
        (&any, Some(SHOP), vec!["access-control-allow-origin: *".to_owned()]),
        (&any, None, vec![]),
        (&with_credentials, Some(SHOP), [vec![true_], own(SHOP)].concat()),
        (&with_credentials, None, nobody.clone()),
        (&some, Some(SHOP), own(SHOP)),
        (&some, Some("https://a.example.org"), own("https://a.example.org")),
        (&some, Some("https://example.org"), nobody.clone()),
        (&some, Some("http://shop.example.com"), nobody.clone()),
        (&some, Some("null"), nobody.clone()),
        (&some, None, nobody.clone()),
        (&policy(&[]), Some(SHOP), nobody),
    ] {
        assert_eq!(answered(cors, origin, &[]), expected, "{cors:?} {origin:?}");
    }
}

#[test]
fn what_the_application_says_is_replaced() {
    let said = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-secret"),
        ("access-control-allow-methods", "DELETE"),
        ("access-control-allow-headers", "x-any"),
        ("access-control-max-age", "86400"),
        ("x-other", "stays"),
    ];
    assert_eq!(answered(&policy(&[SHOP]), Some("https://evil.example.com"), &said), ["vary: origin", "x-other: stays"]);
    assert_eq!(answered(&policy(&[SHOP]), None, &said), ["vary: origin", "x-other: stays"]);
}

#[test]
fn an_answer_says_once_that_it_varies() {
    for (vary, expected) in [
        ("Origin", vec!["vary: Origin"]),
        ("accept, ORIGIN", vec!["vary: accept, ORIGIN"]),
        ("*", vec!["vary: *"]),
        ("accept", vec!["vary: accept", "vary: origin"]),
        ("x-origin", vec!["vary: origin", "vary: x-origin"]),
    ] {
        assert_eq!(answered(&policy(&[SHOP]), None, &[("vary", vary)]), expected);
    }
}

#[test]
fn which_fields_a_page_may_read() {
    let expose = |names: &[&'static str], credentials| {
        let cors = api::Cors {
            expose_headers: names.iter().map(|name| HeaderName::from_static(name)).collect(),
            allow_credentials: credentials,
            ..policy(&["*"])
        };
        let lines = answered(&cors, Some(SHOP), &[("x-a", "1"), ("etag", "2")]);
        lines.into_iter().find(|line| line.starts_with("access-control-expose-headers"))
    };
    let exposed = |names: &str| Some(format!("access-control-expose-headers: {names}"));
    assert_eq!(expose(&[], false), None);
    assert_eq!(expose(&["x-a", "x-b"], true), exposed("x-a, x-b"));
    assert_eq!(expose(&["*"], false), exposed("*"));
    assert_eq!(expose(&["*"], true), exposed("x-a, etag"), "with credentials a star is a name");
}

#[test]
fn a_preflight_is_told_what_may_be_sent() {
    let asked = headers(&[
        ("origin", SHOP),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,x-a"),
    ]);
    let preflight = |cors: &api::Cors| lines(&Cors::new(cors).preflight(&asked));
    let all = api::Cors { max_age: Some(Duration::from_secs(600)), ..policy(&["*"]) };
    assert_eq!(
        preflight(&all),
        [
            "access-control-allow-headers: authorization,x-a",
            "access-control-allow-methods: PUT",
            "access-control-allow-origin: *",
            "access-control-max-age: 600",
        ]
    );
    let some = api::Cors {
        allow_methods: Some(vec![Method::GET, Method::POST]),
        allow_headers: Some(vec![HeaderName::from_static("x-a")]),
        allow_credentials: true,
        ..policy(&[SHOP])
    };
    assert_eq!(
        preflight(&some),
        [
            "access-control-allow-credentials: true".to_owned(),
            "access-control-allow-headers: x-a".to_owned(),
            "access-control-allow-methods: GET, POST".to_owned(),
            format!("access-control-allow-origin: {SHOP}"),
            "vary: origin".to_owned(),
        ]
    );
    let nothing = api::Cors { allow_methods: Some(vec![]), allow_headers: Some(vec![]), ..policy(&[SHOP]) };
    assert_eq!(preflight(&nothing), [format!("access-control-allow-origin: {SHOP}"), "vary: origin".to_owned()]);
    assert_eq!(preflight(&policy(&["https://other.example.com"])), ["vary: origin"]);
}
