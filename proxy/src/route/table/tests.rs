//! What matches and what does not, by the words of Gateway API.

use weft_proxy_api::{
    Backend, ServicePort,
    route::{HeaderMatch, PathMatch, Pattern, QueryMatch, Route, RouteMatch, ValueMatch},
};

use super::*;

fn table(matches: impl IntoIterator<Item = RouteMatch>) -> RouteTable {
    let mut service = Service::direct(Backend::new(ServicePort::new("shop", "orders", 80)));
    service.routes = matches.into_iter().enumerate().map(|(rule, matches)| Route { matches, rule }).collect();
    RouteTable::compile(&service)
}

fn path(path: PathMatch) -> RouteMatch {
    RouteMatch { path: Some(path), ..RouteMatch::default() }
}

fn prefix(text: &str) -> RouteMatch {
    path(PathMatch::Prefix(text.into()))
}

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.into())
}

fn regex(text: &str) -> ValueMatch {
    ValueMatch::Regex(Pattern::new(text).unwrap())
}

fn get(table: &RouteTable, uri: &str) -> Option<Matched> {
    table.find(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new())
}

fn with_headers(table: &RouteTable, headers: &[(&'static str, &str)]) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    table.find(&Method::GET, &Uri::from_static("/"), &map).is_some()
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let table = table([prefix("/a/b"), prefix("/a"), RouteMatch::default()]);
    assert_eq!(get(&table, "/a/b/c"), Some(Matched { rule: 0, matched_prefix_len: Some(4) }));
    assert_eq!(get(&table, "/a/c"), Some(Matched { rule: 1, matched_prefix_len: Some(2) }));
    assert_eq!(get(&table, "/c"), Some(Matched { rule: 2, matched_prefix_len: None }));
    assert_eq!(get(&super::RouteTable { routes: Vec::new() }, "/"), None);
}

#[test]
fn a_prefix_covers_whole_segments() {
    for text in ["/abc", "/abc/"] {
        let table = table([prefix(text)]);
        for (uri, matches) in
            [("/abc", true), ("/abc/", true), ("/abc/def", true), ("/abc?q", true), ("/abcd", false), ("/ab", false)]
        {
            let expected = matches.then_some(Matched { rule: 0, matched_prefix_len: Some(4) });
            assert_eq!(get(&table, uri), expected, "{text} {uri}");
        }
    }
    for uri in ["/", "/x", "*", "http://orders", "orders:80"] {
        assert_eq!(get(&table([prefix("/")]), uri).unwrap().matched_prefix_len, Some(0), "{uri}");
    }
}

#[test]
fn exact_paths_and_expressions_cover_the_whole_path() {
    let table =
        table([path(PathMatch::Exact("/a".into())), path(PathMatch::Regex(Pattern::new("/v[0-9]+|/w").unwrap()))]);
    for (uri, rule) in
        [("/a", Some(0)), ("/a/", None), ("/v12?q=1", Some(1)), ("/v12/x", None), ("/w", Some(1)), ("/wx", None)]
    {
        assert_eq!(get(&table, uri).map(|matched| matched.rule), rule, "{uri}");
    }
}

#[test]
fn the_method_is_compared() {
    let table = table([RouteMatch { method: Some(Method::POST), ..RouteMatch::default() }]);
    assert_eq!(get(&table, "/"), None);
    assert!(table.find(&Method::POST, &Uri::from_static("/"), &HeaderMap::new()).is_some());
}

#[test]
fn all_headers_must_match() {
    let header = |name, value| HeaderMatch { name: http::HeaderName::from_static(name), value };
    let headers = vec![header("x-version", exact("v2")), header("x-user", regex("a.*"))];
    let table = table([RouteMatch { headers, ..RouteMatch::default() }]);
    assert!(with_headers(&table, &[("x-version", "v2"), ("x-user", "anna")]));
    assert!(!with_headers(&table, &[("x-version", "v2")]));
    assert!(!with_headers(&table, &[("x-version", "V2"), ("x-user", "anna")]));
    assert!(!with_headers(&table, &[("x-version", "v2"), ("x-user", "bea anna")]), "expressions are anchored");
}

#[test]
fn a_header_in_several_lines_is_one_list() {
    let headers = vec![HeaderMatch { name: http::HeaderName::from_static("x"), value: exact("a,b") }];
    let table = table([RouteMatch { headers, ..RouteMatch::default() }]);
    assert!(with_headers(&table, &[("x", "a"), ("x", "b")]));
    assert!(!with_headers(&table, &[("x", "a")]));
}

#[test]
fn query_parameters_are_compared_decoded() {
    let query = |name: &str, value| QueryMatch { name: name.into(), value };
    let table = table([RouteMatch { query: vec![query("näme", exact("a b&c"))], ..RouteMatch::default() }]);
    for (uri, matches) in [
        ("/?n%C3%A4me=a%20b%26c", true),
        ("/?x=1&n%C3%A4me=a+b%26c", true),
        ("/?n%C3%A4me=other&n%C3%A4me=a+b%26c", false),
        ("/", false),
    ] {
        assert_eq!(get(&table, uri).is_some(), matches, "{uri}");
    }
}
