use http::Request;
use weft_proxy_api::route::{PathMatch, RouteMatch};

use super::*;
use crate::telemetry::Metrics;

fn limit(name: &str, key: RateKey, requests: u32) -> RateLimit {
    RateLimit {
        name: name.to_owned(),
        ports: Vec::new(),
        matches: RouteMatch::default(),
        key,
        requests,
        per: Duration::from_secs(60),
        burst: requests,
        shared: false,
    }
}

fn compile(limits: &[RateLimit], before: Option<&Limits>) -> (Option<Limits>, Metrics) {
    let metrics = Metrics::new();
    (Limits::compile(limits, before, &LimitMetrics::new(&metrics)), metrics)
}

fn parts(path: &str, headers: &[(&str, &str)]) -> Parts {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// The name of the limit that refuses, after so many of these were let through.
fn through(limits: &Limits, parts: &Parts, caller: Option<&str>, now: Instant) -> (usize, String) {
    let caller: Option<SpiffeId> = caller.map(|caller| caller.parse().unwrap());
    let asked = Asked { port: 80, caller: caller.as_ref(), parts, now };
    let mut count = 0;
    loop {
        match limits.decide(asked) {
            None => return (count, "unlimited".to_owned()),
            Some(Decision { limiter, taken: Err(_) }) => return (count, limiter.limit.name.clone()),
            Some(Decision { taken: Ok(_), .. }) => count += 1,
        }
    }
}

#[test]
fn requests_with_the_same_key_share_a_bucket() {
    let now = Instant::now();
    let key = RateKey::Header("x-user".parse().unwrap());
    let limits = [limit("user", key, 2), limit("caller", RateKey::Identity, 5), limit("path", RateKey::Path, 7)];
    let (limits, _) = compile(&limits, None);
    let limits = limits.unwrap();
    let a = Some("spiffe://weft.local/ns/shop/sa/a");
    let (ann, bob) = (parts("/", &[("x-user", "ann")]), parts("/", &[("x-user", "bob")]));
    let both = parts("/", &[("x-user", "ann"), ("x-user", "bob")]);
    let joined = parts("/?a=b", &[("x-user", "ann,bob")]);
    assert_eq!(through(&limits, &ann, a, now), (2, "user".into()));
    assert_eq!(through(&limits, &bob, a, now), (2, "user".into()));
    assert_eq!(through(&limits, &both, a, now), (1, "caller".into()));
    assert_eq!(
        through(&limits, &joined, None, now),
        (1, "user".into()),
        "two lines are one value; nobody's own bucket"
    );
    assert_eq!(through(&limits, &parts("/", &[]), None, now), (1, "path".into()));
    assert_eq!(through(&limits, &parts("/other", &[]), None, now), (1, "user".into()), "without the header");
}

#[test]
fn a_limit_is_for_what_it_says() {
    let now = Instant::now();
    let matches = RouteMatch { path: Some(PathMatch::Prefix("/api".into())), ..RouteMatch::default() };
    let api = RateLimit { matches, ..limit("api", RateKey::Total, 1) };
    let other_port = RateLimit { ports: vec![81, 82], ..limit("port", RateKey::Total, 1) };
    let (limits, _) = compile(&[api, other_port], None);
    let limits = limits.unwrap();
    assert_eq!(through(&limits, &parts("/", &[]), None, now), (0, "unlimited".into()));
    assert_eq!(through(&limits, &parts("/api/a", &[]), None, now), (1, "api".into()));
    let (api, caller) = (parts("/api", &[]), None);
    let on_81 = limits.decide(Asked { port: 81, caller, parts: &parts("/", &[]), now }).unwrap();
    assert_eq!((on_81.limiter.limit.name.as_str(), on_81.taken.unwrap().requests), ("port", 0));
    assert!(limits.decide(Asked { port: 81, caller, parts: &api, now }).unwrap().taken.is_err());
}

#[test]
fn a_request_that_one_limit_refuses_counts_for_no_other() {
    let now = Instant::now();
    let (limits, metrics) = compile(&[limit("total", RateKey::Total, 10), limit("path", RateKey::Path, 1)], None);
    let limits = limits.unwrap();
    assert_eq!(through(&limits, &parts("/a", &[]), None, now), (1, "path".into()));
    for _ in 0..50 {
        assert_eq!(through(&limits, &parts("/a", &[]), None, now), (0, "path".into()));
    }
    let asked = Asked { port: 80, caller: None, parts: &parts("/b", &[]), now };
    let decision = limits.decide(asked).unwrap();
    assert_eq!((decision.limiter.limit.name.as_str(), decision.taken.unwrap().requests), ("path", 0), "the tightest");
    for path in 0..8 {
        assert_eq!(through(&limits, &parts(&format!("/{path}"), &[]), None, now).0, 1);
    }
    assert_eq!(through(&limits, &parts("/c", &[]), None, now), (0, "total".into()));
    assert!(metrics.encode().contains("weft_rate_limited_total{limit=\"total\"} 2\n"), "{}", metrics.encode());
}

#[test]
fn what_an_update_does_not_change_goes_on() {
    let now = Instant::now();
    let (total, path) = (limit("total", RateKey::Total, 3), limit("path", RateKey::Path, 2));
    let (before, metrics) = compile(&[total.clone(), path.clone()], None);
    let metrics = (LimitMetrics::new(&metrics), metrics);
    let before = before.unwrap();
    assert_eq!(through(&before, &parts("/", &[]), None, now), (2, "path".into()));
    let other = limit("path", RateKey::Path, 5);
    let after = Limits::compile(&[other, total.clone()], Some(&before), &metrics.0).unwrap();
    assert_eq!(through(&after, &parts("/", &[]), None, now), (1, "total".into()), "one was left of three");
    let last = Limits::compile(&[total], Some(&after), &metrics.0).unwrap();
    assert_eq!(through(&last, &parts("/", &[]), None, now), (0, "total".into()));
    assert!(Limits::compile(&[], Some(&last), &metrics.0).is_none());
}
