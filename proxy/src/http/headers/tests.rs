//! The rules of RFC 9110 §7.6, RFC 7239 and Gateway API, one by one.

use http::{
    Method, Request, Uri,
    header::{CONTENT_LENGTH, FORWARDED, HOST},
    request::Parts,
};
use proptest::prelude::*;
use weft_proxy_api::route::{PathRewrite, Redirect, Rewrite};

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

fn parts(uri: &str, lines: &[(&str, &str)]) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri.parse().unwrap();
    *request.headers_mut() = headers(lines);
    request.into_parts().0
}

#[test]
fn fields_of_one_connection_are_removed() {
    let mut headers = headers(&[
        ("connection", "close, X-Mine"),
        ("connection", "keep-alive,x-other"),
        ("x-mine", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("trailer", "x-sum"),
        ("authorization", "Bearer x"),
        ("content-type", "text/plain"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), ["authorization", "content-type", "trailer"]);
}

#[test]
fn te_is_kept_as_far_as_it_asks_for_trailers() {
    let te = |value: &str, connection: &str| {
        let mut headers = headers(&[("te", value), ("connection", connection)]);
        strip_hop_by_hop(&mut headers);
        headers.get(TE).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(te("trailers", "te").as_deref(), Some("trailers"));
    assert_eq!(te("gzip;q=0.5, Trailers", "").as_deref(), Some("trailers"));
    assert_eq!(te("gzip", "te"), None);
}

#[test]
fn connection_cannot_remove_what_is_for_all_recipients() {
    let kept = [
        ("content-length", "3"),
        ("forwarded", "for=1.2.3.4"),
        ("host", "orders"),
        ("weft-client-id", "x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-request-id", "1"),
    ];
    let listed = kept.map(|(name, _)| name).join(", ");
    let mut headers = headers(&kept);
    headers.insert(CONNECTION, listed.parse().unwrap());
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), kept.map(|(name, _)| name));
}

#[test]
fn a_modifier_sets_then_adds_then_removes() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let modifier = HeaderModifier {
        set: vec![(name("x-a"), value("new")), (name("x-c"), value("gone"))],
        add: vec![(name("x-a"), value("more")), (name("x-b"), value("added"))],
        remove: vec![name("x-c"), name("x-absent")],
    };
    let mut headers = headers(&[("x-a", "1"), ("x-a", "2"), ("x-b", "kept")]);
    apply(&modifier, &mut headers);
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((all("x-a"), all("x-b"), all("x-c")), (vec!["new", "more"], vec!["kept", "added"], vec![]));
}

#[test]
fn the_peer_is_added_to_what_earlier_proxies_said() {
    let peer = Peer::new("10.1.2.3".parse().unwrap(), "https");
    let mut first = parts("/", &[("host", "orders.shop")]);
    inbound_forwarded(&mut first, &peer);
    assert_eq!(first.headers["x-forwarded-for"], "10.1.2.3");
    assert_eq!(first.headers[FORWARDED], "for=10.1.2.3;proto=https");
    assert_eq!(first.headers["x-forwarded-proto"], "https");
    assert_eq!(first.headers["x-forwarded-host"], "orders.shop");

    let peer = Peer::new("2001:db8::1".parse().unwrap(), "http");
    inbound_forwarded(&mut first, &peer);
    assert_eq!(first.headers["x-forwarded-for"], "10.1.2.3, 2001:db8::1");
    assert_eq!(first.headers[FORWARDED], "for=10.1.2.3;proto=https, for=\"[2001:db8::1]\";proto=http");
    assert_eq!(first.headers["x-forwarded-proto"], "https", "what the first proxy saw stays");

    let mut http2 = parts("http://orders.shop:8080/", &[]);
    inbound_forwarded(&mut http2, &Peer::new("::ffff:10.0.0.9".parse().unwrap(), "http"));
    assert_eq!(http2.headers["x-forwarded-host"], "orders.shop:8080");
    assert_eq!(http2.headers["x-forwarded-for"], "10.0.0.9", "an IPv4 address is written as one");
}

#[test]
fn nobody_outside_asserts_an_identity() {
    let mut headers = headers(&[
        ("weft-client-id", "spiffe://weft.local/ns/shop/sa/admin"),
        ("weft-client-id", "2"),
        ("weft-other", "1"),
        ("x-forwarded-client-cert", "By=x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-weft", "1"),
    ]);
    strip_asserted(&mut headers);
    assert_eq!(names(&headers), ["x-forwarded-for", "x-weft"]);
    set_client_id(&mut headers, Some(&HeaderValue::from_static("spiffe://weft.local/ns/shop/sa/web")));
    assert_eq!(headers[CLIENT_ID], "spiffe://weft.local/ns/shop/sa/web");
    set_client_id(&mut headers, None);
    assert!(!headers.contains_key(CLIENT_ID));
}

#[test]
fn a_request_keeps_its_id_or_is_given_one() {
    let mut named = headers(&[("x-request-id", "abc-1")]);
    assert_eq!(request_id(&mut named), "abc-1");
    let long = "x".repeat(MAX_REQUEST_ID + 1);
    for bad in [None, Some(""), Some("a b"), Some(long.as_str())] {
        let mut headers = headers(&bad.map(|bad| ("x-request-id", bad)).into_iter().collect::<Vec<_>>());
        let id = request_id(&mut headers);
        assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
        assert_eq!(id.len(), 36, "{bad:?}");
    }
    assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
}

/// The table of Gateway API's `ReplacePrefixMatch`: path, prefix, replacement, result.
const PREFIXES: [(&str, &str, &str, &str); 13] = [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
    ("/foo", "/foo", "/xyz", "/xyz"),
    ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"),
    ("/foo/", "/foo", "", "/"),
    ("/foo", "/foo", "", "/"),
    ("/foo/", "/foo", "/", "/"),
    ("/foo", "/foo", "/", "/"),
    ("/bar", "/", "/xyz", "/xyz/bar"),
    ("/", "/", "/xyz", "/xyz/"),
];

#[test]
fn a_prefix_is_replaced_as_gateway_api_has_it() {
    for (path, prefix, replacement, result) in PREFIXES {
        let rule = Rewrite { hostname: None, path: Some(PathRewrite::Prefix(replacement.into())) };
        let matched = Some(prefix.trim_end_matches('/').len());
        let mut plain = parts(path, &[]);
        rewrite(&rule, &mut plain, matched).unwrap();
        assert_eq!(plain.uri, result, "{path} {prefix} {replacement}");
        let mut with_query = parts(&format!("http://orders{path}?a=/foo"), &[]);
        rewrite(&rule, &mut with_query, matched).unwrap();
        assert_eq!(with_query.uri, format!("http://orders{result}?a=/foo").parse::<Uri>().unwrap());
    }
}

#[test]
fn path_and_host_are_rewritten() {
    let rule = Rewrite { hostname: Some("other.example".into()), path: Some(PathRewrite::Full("/new".into())) };
    let mut request = parts("http://orders:80/old/x?q=1", &[("host", "orders:80")]);
    rewrite(&rule, &mut request, None).unwrap();
    assert_eq!(request.uri, "http://other.example/new?q=1".parse::<Uri>().unwrap());
    assert_eq!(request.headers[HOST], "other.example");

    let mut origin_form = parts("/old", &[("host", "orders")]);
    rewrite(&rule, &mut origin_form, None).unwrap();
    assert_eq!(
        (origin_form.uri.to_string().as_str(), &origin_form.headers[HOST]),
        ("/new", &HeaderValue::from_static("other.example"))
    );
}

#[test]
fn a_rewrite_that_makes_no_url_is_an_error_and_changes_nothing() {
    for rule in [
        Rewrite { hostname: None, path: Some(PathRewrite::Full("/a b".into())) },
        Rewrite { hostname: Some("a b".into()), path: Some(PathRewrite::Full("/new".into())) },
    ] {
        let mut request = parts("http://orders/old", &[("host", "orders")]);
        assert!(rewrite(&rule, &mut request, None).unwrap_err().to_string().contains("a b"));
        assert_eq!(request.uri, "http://orders/old".parse::<Uri>().unwrap());
        assert_eq!(request.headers[HOST], "orders");
    }
}

#[test]
fn a_redirect_changes_what_it_names() {
    let status = http::StatusCode::FOUND;
    let same = Redirect { scheme: None, hostname: None, port: None, path: None, status };
    let to = |redirect: &Redirect, authority: &str| {
        redirect_location(redirect, &Uri::from_static("/foo/bar?q=1"), authority, "http", Some(4)).unwrap()
    };
    let redirect = |change: fn(&mut Redirect)| {
        let mut redirect = same.clone();
        change(&mut redirect);
        redirect
    };
    let https = redirect(|r| r.scheme = Some("https".into()));
    assert_eq!(to(&https, "orders:8080"), "https://orders/foo/bar?q=1", "another scheme has its own port");
    let host = redirect(|r| r.hostname = Some("other.example".into()));
    assert_eq!(to(&host, "orders:8080"), "http://other.example:8080/foo/bar?q=1");
    assert_eq!(to(&host, "orders:80"), "http://other.example/foo/bar?q=1", "a scheme's own port is not written");
    let port = redirect(|r| (r.scheme, r.port) = (Some("https".into()), Some(8443)));
    assert_eq!(to(&port, "orders"), "https://orders:8443/foo/bar?q=1");
    let port = redirect(|r| (r.scheme, r.port) = (Some("https".into()), Some(443)));
    assert_eq!(to(&port, "[::1]:80"), "https://[::1]/foo/bar?q=1");
    let path = redirect(|r| r.path = Some(PathRewrite::Prefix("/xyz".into())));
    assert_eq!(to(&path, "[::1]"), "http://[::1]/xyz/bar?q=1");
    let path = redirect(|r| r.path = Some(PathRewrite::Full("/new".into())));
    assert_eq!(to(&path, "orders"), "http://orders/new?q=1");
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![
        prop::sample::select(
            &["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"][..]
        )
        .prop_map(str::to_owned),
        "[a-c]".prop_map(|name| format!("x-{name}")),
        Just("content-length".to_owned()),
    ];
    let token =
        prop_oneof![Just("close"), Just("x-a"), Just("TE"), Just("upgrade"), Just("trailers"), Just("content-length")];
    let value = prop::collection::vec(token, 0..4).prop_map(|tokens| tokens.join(", "));
    prop::collection::vec((name, value), 0..8).prop_map(|lines| {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    })
}

proptest! {
    #[test]
    fn stripping_leaves_nothing_of_the_connection_and_is_idempotent(mut headers in any_headers()) {
        let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().cloned().collect();
        strip_hop_by_hop(&mut headers);
        prop_assert!(headers.iter().all(|(name, value)| !is_hop_by_hop(name) || (name == TE && value == "trailers")));
        prop_assert_eq!(lengths, headers.get_all(CONTENT_LENGTH).iter().cloned().collect::<Vec<_>>());
        let once = headers.clone();
        strip_hop_by_hop(&mut headers);
        prop_assert_eq!(once, headers);
    }
}

#[test]
fn cookies_that_http2_split_are_one_field_again() {
    let mut headers = HeaderMap::new();
    for cookie in ["a=1", "b=2", "c=3"] {
        headers.append(COOKIE, HeaderValue::from_static(cookie));
    }
    join_cookies(&mut headers);
    assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn what_applications_cannot_tell_from_an_assertion_is_removed_too() {
    let mut headers = headers(&[
        ("weft-client-id", "a"),
        ("weft_client_id", "b"),
        ("x_forwarded_client-cert", "c"),
        ("x-forwarded-client-cert", "d"),
        ("weftless", "e"),
        ("x-forwarded-client-certs", "f"),
    ]);
    strip_asserted(&mut headers);
    assert_eq!(names(&headers), ["weftless", "x-forwarded-client-certs"]);
}

#[test]
fn another_sidecar_may_say_that_a_request_is_a_copy() {
    let said = || headers(&[("weft-mirrored", "a"), ("weft_mirrored", "b"), ("weft-client-id", "c"), ("x-own", "d")]);
    let mut from_a_caller = said();
    strip_asserted(&mut from_a_caller);
    assert_eq!(from_a_caller, headers(&[("x-own", "d")]));
    let mut from_a_sidecar = said();
    strip_asserted_by_peer(&mut from_a_sidecar);
    assert_eq!(from_a_sidecar, headers(&[("weft-mirrored", "a"), ("x-own", "d")]));
}
