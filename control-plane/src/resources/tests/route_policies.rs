//! What a rule says beside where its requests go: retries, sessions, copies, and pages of other origins.

use super::{objects, problems};
use crate::resources::Object;

/// A route attached to `a` whose only rule is `rule`, a flow mapping on line 6.
fn of_kind(kind: &str, rule: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r}}\nspec:\n  \
         parentRefs: [{{kind: MeshService, name: a}}]\n  rules: [{rule}]\n"
    )
}

fn with(fields: &str) -> String {
    of_kind("HTTPRoute", &format!("{{backendRefs: [{{name: b}}], {fields}}}"))
}

fn mirror(settings: &str) -> String {
    with(&format!("filters: [{{type: RequestMirror, requestMirror: {{{settings}}}}}]"))
}

fn cors(settings: &str) -> String {
    with(&format!("filters: [{{type: CORS, cors: {{{settings}}}}}]"))
}

/// Rules that are each wrong in one way: the YAML, and what is said of it after `HTTPRoute shop/r: spec.rules[0].`.
#[track_caller]
fn refuses_each(cases: &[(String, &str)]) {
    for (yaml, expected) in cases {
        let found = problems(yaml);
        let said: Vec<&str> = found
            .iter()
            .filter_map(|line| line.split_once("HTTPRoute shop/r: spec.rules[0]."))
            .map(|(_, it)| it)
            .collect();
        assert_eq!((said.as_slice(), found.len()), ([*expected].as_slice(), 1), "{yaml}");
    }
}

fn only(yaml: &str) -> Object {
    objects(yaml).remove(0)
}

#[test]
fn retries() {
    refuses_each(&[
        (
            with("retry: {attempts: 11}"),
            "retry.attempts: from 0 to 10 retries, not 11: each is load for a service that fails",
        ),
        (with("retry: {codes: [503, 302]}"), "retry.codes[1]: a status that is retried is from 400 to 599, unlike 302"),
        (
            with("retry: {backoff: 100}"),
            r#"retry.backoff: expected text, found the number 100 (write it in quotes: "100")"#,
        ),
        (with("retry: {backoff: 0.1s}"), r#"retry.backoff: "0.1s" is not a duration: write it as 500ms, 10s or 1m30s"#),
        (
            of_kind(
                "HTTPRoute",
                "{retry: {attempts: 1}, filters: [{type: RequestRedirect, requestRedirect: {hostname: b}}]}",
            ),
            "retry: the rule redirects, so that no request is sent that could be sent again",
        ),
    ]);
}

#[test]
fn sessions() {
    let session = |fields: &str| with(&format!("sessionPersistence: {{{fields}}}"));
    refuses_each(&[
        (session("sessionName: 'a b'"), r#"sessionPersistence.sessionName: "a b" is not a cookie name"#),
        (session("type: Header, sessionName: ''"), r#"sessionPersistence.sessionName: "" is not a header name"#),
        (
            session("type: Header, cookieConfig: {lifetimeType: Session}"),
            "sessionPersistence.cookieConfig: cookieConfig has no effect beside the type Header",
        ),
        (
            session("cookieConfig: {lifetimeType: Permanent}"),
            "sessionPersistence.cookieConfig.lifetimeType: a cookie that outlives the browser's session has a lifetime (add absoluteTimeout: 1h)",
        ),
        (
            session("absoluteTimeout: 1h, idleTimeout: 2h"),
            "sessionPersistence.idleTimeout: a session that has ended is not idle any more: longer than absoluteTimeout",
        ),
        (session("idleTimeout: 0s"), "sessionPersistence.idleTimeout: must be more than 0s"),
        (session("type: Query"), r#"sessionPersistence.type: expected one of Cookie, Header, found "Query""#),
        (
            of_kind(
                "HTTPRoute",
                "{sessionPersistence: {}, filters: [{type: RequestRedirect, requestRedirect: {hostname: b}}]}",
            ),
            "sessionPersistence: the rule redirects, so that there is no endpoint to stay at",
        ),
    ]);
    let of_grpc = of_kind("GRPCRoute", "{backendRefs: [{name: b}], sessionPersistence: {type: Header}}");
    assert!(only(&of_grpc).route().unwrap().rules[0].session.is_some());
}

#[test]
fn mirrors() {
    refuses_each(&[
        (
            mirror("backendRef: {name: c}, percent: 101"),
            "filters[0].requestMirror.percent: a share is from 0 to 100 percent, not 101",
        ),
        (
            mirror("backendRef: {name: c}, fraction: {numerator: 2, denominator: 1}"),
            "filters[0].requestMirror.fraction.numerator: a share is from 0 to the denominator, 1, not 2",
        ),
        (
            mirror("backendRef: {name: c}, fraction: {numerator: 1, denominator: 0}"),
            "filters[0].requestMirror.fraction.denominator: a denominator is at least 1",
        ),
        (
            mirror("backendRef: {name: c}, percent: 1, fraction: {numerator: 1}"),
            "filters[0].requestMirror.fraction: a share is written as percent or as fraction, not as both",
        ),
        (
            mirror("backendRef: {name: b}"),
            "filters[0].requestMirror.backendRef: shop/b is a backend of the rule, and would get its requests twice",
        ),
        (
            mirror("backendRef: {name: a}"),
            "filters[0].requestMirror.backendRef: shop/a is what the route is attached to: a mirror of a service to itself",
        ),
        (
            mirror("backendRef: {name: c}, retry: {attempts: 1}"),
            "filters[0].requestMirror.retry: unknown field (fields here: backendRef, fraction, percent)",
        ),
        (
            of_kind(
                "HTTPRoute",
                "{filters: [{type: RequestRedirect, requestRedirect: {hostname: b}}, {type: RequestMirror, requestMirror: {backendRef: {name: c}}}]}",
            ),
            "filters: the rule redirects, so that there is no request to mirror",
        ),
        (
            of_kind(
                "HTTPRoute",
                "{backendRefs: [{name: b, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: c}}}]}]}",
            ),
            "backendRefs[0].filters[0].type: RequestMirror is carried out for a whole rule, not for one backendRef",
        ),
    ]);
}

#[test]
fn a_share_of_a_mirror_is_exact() {
    let share = |settings: &str| only(&mirror(settings)).route().unwrap().rules[0].mirrors[0].per_million;
    assert_eq!(share("backendRef: {name: c}"), 1_000_000);
    assert_eq!(share("backendRef: {name: c}, percent: 0"), 0);
    assert_eq!(share("backendRef: {name: c}, percent: 5"), 50_000);
    assert_eq!(share("backendRef: {name: c}, fraction: {numerator: 5, denominator: 1000}"), 5_000);
    let two = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: c}}}, {type: RequestMirror, requestMirror: {backendRef: {name: d}}}]";
    assert_eq!(only(&with(two)).route().unwrap().rules[0].mirrors.len(), 2);
}

#[test]
fn origins_methods_and_headers() {
    refuses_each(&[
        (
            cors(""),
            r#"filters[0].cors: nothing says which origins are allowed (add allowOrigins: ["https://shop.example.com"])"#,
        ),
        (
            cors("allowOrigins: [shop.example.com]"),
            r#"filters[0].cors.allowOrigins[0]: "shop.example.com" is not an origin (write it as https://shop.example.com)"#,
        ),
        (
            cors("allowOrigins: ['https://shop.example.com/a']"),
            r#"filters[0].cors.allowOrigins[0]: "https://shop.example.com/a" is not an origin (an origin is a scheme, a host and perhaps a port; a wildcard is the whole first label)"#,
        ),
        (
            cors("allowOrigins: ['https://shop.*.com']"),
            r#"filters[0].cors.allowOrigins[0]: "https://shop.*.com" is not an origin (an origin is a scheme, a host and perhaps a port; a wildcard is the whole first label)"#,
        ),
        (
            cors("allowOrigins: ['https://a.example:0']"),
            r#"filters[0].cors.allowOrigins[0]: "https://a.example:0" has a port that is none"#,
        ),
        (
            cors("allowOrigins: ['*'], allowMethods: [get]"),
            r#"filters[0].cors.allowMethods[0]: there is no method "get" (did you mean "GET"?)"#,
        ),
        (
            cors("allowOrigins: ['*'], allowMethods: ['*', GET]"),
            r#"filters[0].cors.allowMethods: what stands beside "*" has no effect"#,
        ),
        (
            cors("allowOrigins: ['*'], allowHeaders: ['x y']"),
            r#"filters[0].cors.allowHeaders[0]: "x y" is not a header name"#,
        ),
        (
            cors("allowOrigins: ['https://a.example'], allowCredentials: true, exposeHeaders: ['*']"),
            r#"filters[0].cors.exposeHeaders[0]: with allowCredentials, "*" is the name of a header and not any header (Fetch) (name the headers)"#,
        ),
        (cors("allowOrigins: ['*'], maxAge: 0"), "filters[0].cors.maxAge: a number of seconds is at least 1, not 0"),
    ]);
}

#[test]
fn an_origin_is_what_browsers_send() {
    let yaml = cors("allowOrigins: ['HTTPS://Shop.example.com:443', 'http://localhost:3000', 'http://[::1]:80']");
    let object = only(&yaml);
    let (filter, cors) = object.route().unwrap().rules[0].cors.clone().unwrap();
    let allows = |origin: &str| cors.allow_origins.iter().any(|allowed| allowed.is(origin));
    assert_eq!(filter, 0);
    assert!(allows("https://shop.example.com") && allows("http://localhost:3000") && allows("http://[::1]"));
    assert!(!allows("http://shop.example.com") && !allows("http://localhost"));
    assert_eq!(cors.max_age, Some(std::time::Duration::from_secs(5)));
    assert_eq!((cors.allow_methods, cors.allow_headers), (Some(Vec::new()), Some(Vec::new())));
}
