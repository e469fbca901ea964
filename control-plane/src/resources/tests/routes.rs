//! `HTTPRoute` and `GRPCRoute`.

use super::{objects, refuses};

fn http(spec: &str) -> String {
    format!("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n{spec}")
}

/// A route whose only rule is `rule`, a flow mapping on line 6.
fn rule(rule: &str) -> String {
    http(&format!("  parentRefs: [{{kind: MeshService, name: a}}]\n  rules: [{rule}]\n"))
}

fn grpc(rule: &str) -> String {
    self::rule(rule).replace("HTTPRoute", "GRPCRoute")
}

#[test]
fn parents() {
    refuses(&[
        (
            &http("  rules: [{backendRefs: [{name: a}]}]\n"),
            &[
                "in.yaml:4:1: HTTPRoute shop/r: spec.parentRefs: nothing says which service the route is attached to (add - {kind: MeshService, name: …})",
            ],
        ),
        (
            &http(
                "  parentRefs:\n    - {name: a}\n    - {kind: Gateway, name: a}\n    - {kind: Service, group: weft.dev, name: a}\n    - {kind: Service, name: b, namespace: other}\n    - {kind: Service, name: c, port: 0}\n    - {kind: Service, name: d}\n    - {kind: MeshService, group: weft.dev, name: d}\n  rules: [{backendRefs: [{name: a}]}]\n",
            ),
            &[
                "in.yaml:6:7: HTTPRoute shop/r: spec.parentRefs[0]: without a kind, Gateway API means a Gateway, and weft attaches routes to services (add kind: Service or kind: MeshService)",
                "in.yaml:7:8: HTTPRoute shop/r: spec.parentRefs[1].kind: a Gateway is not a service of the mesh (kinds are Service and MeshService)",
                r#"in.yaml:8:23: HTTPRoute shop/r: spec.parentRefs[2].group: the group "weft.dev" has no kind Service (write group: "", or leave it out)"#,
                "in.yaml:8:7: HTTPRoute shop/r: spec.parentRefs[2]: shop/a is named twice",
                "in.yaml:9:32: HTTPRoute shop/r: spec.parentRefs[3].namespace: a route is attached to services of its own namespace, shop, only",
                "in.yaml:10:32: HTTPRoute shop/r: spec.parentRefs[4].port: a port is from 1 to 65535, not 0",
                "in.yaml:12:7: HTTPRoute shop/r: spec.parentRefs[6]: shop/d is named twice",
            ],
        ),
        (
            &http("  hostnames: [a.example]\n  parentRefs: [{kind: Service, name: a}]\n  rules: []\n"),
            &[
                "in.yaml:5:3: HTTPRoute shop/r: spec.hostnames: a route attached to a service matches that service; hostnames have no effect",
                "in.yaml:7:3: HTTPRoute shop/r: spec.rules: the route has no rule",
            ],
        ),
    ]);
}

#[test]
fn backends_and_weights() {
    refuses(&[
        (
            &rule("{}"),
            &[
                "in.yaml:6:11: HTTPRoute shop/r: spec.rules[0]: the rule has neither backendRefs nor a RequestRedirect filter, so that it leads nowhere",
            ],
        ),
        (
            &rule("{backendRefs: [{name: a, weight: -1}, {name: b, weight: 1000001}, {name: C, port: 70000}]}"),
            &[
                "in.yaml:6:36: HTTPRoute shop/r: spec.rules[0].backendRefs[0].weight: a weight is from 0 to 1000000, not -1",
                "in.yaml:6:59: HTTPRoute shop/r: spec.rules[0].backendRefs[1].weight: a weight is from 0 to 1000000, not 1000001",
                r#"in.yaml:6:78: HTTPRoute shop/r: spec.rules[0].backendRefs[2].name: "C" is not a service name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)"#,
                "in.yaml:6:87: HTTPRoute shop/r: spec.rules[0].backendRefs[2].port: a port is from 1 to 65535, not 70000",
            ],
        ),
        (
            &rule("{backendRefs: [{name: a, weight: 0}, {name: b, weight: 0}]}"),
            &[
                "in.yaml:6:12: HTTPRoute shop/r: spec.rules[0].backendRefs: the weights sum to 0, so that no request could be sent",
            ],
        ),
        // A wrong type is one problem, and hides neither the others nor makes new ones.
        (
            &rule("{backendRefs: [{name: a, weight: ten}, {name: b, weight: -5}], name: [x]}"),
            &[
                r#"in.yaml:6:36: HTTPRoute shop/r: spec.rules[0].backendRefs[0].weight: expected a whole number, found the text "ten""#,
                "in.yaml:6:74: HTTPRoute shop/r: spec.rules[0].name: expected text, found a list",
                "in.yaml:6:60: HTTPRoute shop/r: spec.rules[0].backendRefs[1].weight: a weight is from 0 to 1000000, not -5",
            ],
        ),
        (
            &rule("{backendRef: [{name: a}]}"),
            &[
                r#"in.yaml:6:12: HTTPRoute shop/r: spec.rules[0].backendRef: unknown field (did you mean "backendRefs"?)"#,
            ],
        ),
        (
            &http(
                "  parentRefs: [{kind: Service, name: a}]\n  rules:\n    - {name: x, backendRefs: [{name: a}]}\n    - {name: x, backendRefs: [{name: a}]}\n",
            ),
            &[r#"in.yaml:8:8: HTTPRoute shop/r: spec.rules[1].name: the rule name "x" is given twice"#],
        ),
    ]);
}

#[test]
fn matches() {
    let with = |matches: &str| rule(&format!("{{backendRefs: [{{name: a}}], matches: [{matches}]}}"));
    refuses(&[
        (
            &with("{path: {value: a}}"),
            &[
                r#"in.yaml:6:56: HTTPRoute shop/r: spec.rules[0].matches[0].path.value: a path starts with '/', unlike "a" (write /a)"#,
            ],
        ),
        (
            &with(
                "{path: {type: Exact, value: /a//b}}, {path: {value: /a?b}}, {path: {value: /ä}}, {path: {value: /a/..}}",
            ),
            &[
                r#"in.yaml:6:69: HTTPRoute shop/r: spec.rules[0].matches[0].path.value: no path of a request has "//" in it after normalization, so that "/a//b" never matches"#,
                r#"in.yaml:6:93: HTTPRoute shop/r: spec.rules[0].matches[1].path.value: no path of a request has "?" in it after normalization, so that "/a?b" never matches"#,
                r#"in.yaml:6:116: HTTPRoute shop/r: spec.rules[0].matches[2].path.value: "/ä" has characters that a URL writes with % (percent-encode them)"#,
                r#"in.yaml:6:137: HTTPRoute shop/r: spec.rules[0].matches[3].path.value: no path of a request has "/.." in it after normalization, so that "/a/.." never matches"#,
            ],
        ),
        (
            &with("{path: {type: RegularExpression, value: '/a('}}, {path: {type: Regex, value: /a}}"),
            &[
                r#"in.yaml:6:105: HTTPRoute shop/r: spec.rules[0].matches[1].path.type: expected one of Exact, PathPrefix, RegularExpression, found "Regex""#,
                "in.yaml:6:81: HTTPRoute shop/r: spec.rules[0].matches[0].path.value: the regular expression does not compile: unclosed group",
            ],
        ),
        (
            &with(
                "{method: get, headers: [{name: 'x y', value: a}, {name: x, value: a}, {name: X, value: b}, {name: z, type: RegularExpression, value: '['}]}",
            ),
            &[
                r#"in.yaml:6:49: HTTPRoute shop/r: spec.rules[0].matches[0].method: expected one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH, found "get" (did you mean "GET"?)"#,
                r#"in.yaml:6:73: HTTPRoute shop/r: spec.rules[0].matches[0].headers[0].name: "x y" is not a header name"#,
                "in.yaml:6:119: HTTPRoute shop/r: spec.rules[0].matches[0].headers[2].name: the header x is matched twice",
                "in.yaml:6:174: HTTPRoute shop/r: spec.rules[0].matches[0].headers[3].value: the regular expression does not compile: unclosed character class",
            ],
        ),
        (
            &with("{queryParams: [{name: '', value: a}, {name: q, value: a}, {name: r, value: 1}]}"),
            &[
                r#"in.yaml:6:116: HTTPRoute shop/r: spec.rules[0].matches[0].queryParams[2].value: expected text, found the number 1 (write it in quotes: "1")"#,
                "in.yaml:6:64: HTTPRoute shop/r: spec.rules[0].matches[0].queryParams[0].name: a query parameter has a name",
            ],
        ),
        (
            &with("{queryParams: [{name: q, value: a}, {name: q, value: b}]}"),
            &[
                r#"in.yaml:6:85: HTTPRoute shop/r: spec.rules[0].matches[0].queryParams[1].name: the query parameter "q" is matched twice"#,
            ],
        ),
    ]);
}

#[test]
fn filters() {
    let with = |filters: &str| rule(&format!("{{backendRefs: [{{name: a}}], filters: [{filters}]}}"));
    refuses(&[
        (
            &with(
                "{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: a}}}, {type: ExtensionRef, extensionRef: {group: a, kind: b, name: c}}",
            ),
            &[
                "in.yaml:6:49: HTTPRoute shop/r: spec.rules[0].filters[0].type: this version of weft does not carry out ExternalAuth",
                "in.yaml:6:126: HTTPRoute shop/r: spec.rules[0].filters[1].type: this version of weft does not carry out ExtensionRef",
            ],
        ),
        (
            &with("{type: URLRewrite}, {type: ResponseHeaderModifier, requestHeaderModifier: {remove: [x]}}"),
            &[
                "in.yaml:6:48: HTTPRoute shop/r: spec.rules[0].filters[0]: a filter of type URLRewrite has its settings in urlRewrite",
                "in.yaml:6:99: HTTPRoute shop/r: spec.rules[0].filters[1].requestHeaderModifier: requestHeaderModifier has no effect in a filter of type ResponseHeaderModifier",
                "in.yaml:6:68: HTTPRoute shop/r: spec.rules[0].filters[1]: a filter of type ResponseHeaderModifier has its settings in responseHeaderModifier",
            ],
        ),
        (
            &with(
                "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a b', value: x}], add: [{name: a, value: \"\\n\"}], remove: [Connection]}}, {type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}",
            ),
            &[
                r#"in.yaml:6:109: HTTPRoute shop/r: spec.rules[0].filters[0].requestHeaderModifier.set[0].name: "a b" is not a header name"#,
                "in.yaml:6:150: HTTPRoute shop/r: spec.rules[0].filters[0].requestHeaderModifier.add[0].value: not a header value: control characters",
                "in.yaml:6:174: HTTPRoute shop/r: spec.rules[0].filters[0].requestHeaderModifier.remove[0]: connection belongs to the connection, which the proxy speaks for",
                "in.yaml:6:189: HTTPRoute shop/r: spec.rules[0].filters[1]: a rule has one RequestHeaderModifier filter",
            ],
        ),
        (
            &with("{type: RequestRedirect, requestRedirect: {statusCode: 200, scheme: ftp, port: 0, hostname: 'a b'}}"),
            &[
                r#"in.yaml:6:107: HTTPRoute shop/r: spec.rules[0].filters[0].requestRedirect.scheme: expected one of http, https, found "ftp""#,
                "in.yaml:6:90: HTTPRoute shop/r: spec.rules[0].filters[0].requestRedirect.statusCode: a redirect answers with 301, 302, 303, 307 or 308, not 200",
                r#"in.yaml:6:129: HTTPRoute shop/r: spec.rules[0].filters[0].requestRedirect.hostname: "a b" is not a host name"#,
                "in.yaml:6:120: HTTPRoute shop/r: spec.rules[0].filters[0].requestRedirect.port: a port is from 1 to 65535, not 0",
                "in.yaml:6:12: HTTPRoute shop/r: spec.rules[0].backendRefs: the rule redirects, so that no request reaches its backendRefs",
            ],
        ),
        (
            &with("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /x}}}"),
            &[
                "in.yaml:6:110: HTTPRoute shop/r: spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch: replacePrefixMatch has no effect beside the type",
                "in.yaml:6:80: HTTPRoute shop/r: spec.rules[0].filters[0].urlRewrite.path: the type asks for replaceFullPath",
                "in.yaml:6:67: HTTPRoute shop/r: spec.rules[0].filters[0].urlRewrite: expected at least one of hostname and path",
            ],
        ),
        (
            &rule("{backendRefs: [{name: a, filters: [{type: URLRewrite, urlRewrite: {hostname: b}}]}]}"),
            &[
                "in.yaml:6:47: HTTPRoute shop/r: spec.rules[0].backendRefs[0].filters[0].type: URLRewrite is carried out for a whole rule, not for one backendRef",
            ],
        ),
        (
            &rule(
                "{backendRefs: [{name: a}], matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}",
            ),
            &[
                "in.yaml:6:49: HTTPRoute shop/r: spec.rules[0].matches[0].path: the rule replaces the matched prefix (ReplacePrefixMatch), so that its matches are of type PathPrefix",
            ],
        ),
    ]);
}

#[test]
fn timeouts() {
    let with = |timeouts: &str| rule(&format!("{{backendRefs: [{{name: a}}], timeouts: {{{timeouts}}}}}"));
    // Zero is no limit.
    objects(&with("request: 10s, backendRequest: 0s"));
    refuses(&[
        (
            &with("request: 10, backendRequest: 1 s"),
            &[
                r#"in.yaml:6:49: HTTPRoute shop/r: spec.rules[0].timeouts.request: expected text, found the number 10 (write it in quotes: "10")"#,
                r#"in.yaml:6:62: HTTPRoute shop/r: spec.rules[0].timeouts.backendRequest: "1 s" is not a duration: write it as 500ms, 10s or 1m30s"#,
            ],
        ),
        (
            &with("request: 1s, backendRequest: 2s"),
            &[
                "in.yaml:6:62: HTTPRoute shop/r: spec.rules[0].timeouts.backendRequest: one attempt may not take longer than the request that it is a part of (timeouts.request)",
            ],
        ),
    ]);
}

#[test]
fn grpc_routes() {
    refuses(&[
        (
            &grpc(
                "{backendRefs: [{name: a}], matches: [{method: {}}, {method: {service: a/b, method: C}}, {method: {type: RegularExpression, method: '('}}, {path: {value: /}}]}",
            ),
            &[
                "in.yaml:6:150: GRPCRoute shop/r: spec.rules[0].matches[3].path: unknown field (fields here: headers, method)",
                "in.yaml:6:49: GRPCRoute shop/r: spec.rules[0].matches[0].method: expected at least one of service and method",
                r#"in.yaml:6:72: GRPCRoute shop/r: spec.rules[0].matches[1].method.service: "a/b" is not the name of a gRPC service"#,
                "in.yaml:6:134: GRPCRoute shop/r: spec.rules[0].matches[2].method.method: the regular expression does not compile: unclosed group",
            ],
        ),
        (
            &grpc("{backendRefs: [{name: a, weight: -1}], timeouts: {request: 1s}, filters: [{type: URLRewrite}]}"),
            &[
                "in.yaml:6:50: GRPCRoute shop/r: spec.rules[0].timeouts: unknown field (fields here: backendRefs, filters, matches, name, sessionPersistence)",
                r#"in.yaml:6:86: GRPCRoute shop/r: spec.rules[0].filters[0].type: expected one of ResponseHeaderModifier, RequestHeaderModifier, RequestMirror, ExtensionRef, found "URLRewrite""#,
                "in.yaml:6:36: GRPCRoute shop/r: spec.rules[0].backendRefs[0].weight: a weight is from 0 to 1000000, not -1",
            ],
        ),
    ]);
}
