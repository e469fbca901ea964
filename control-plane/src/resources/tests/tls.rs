//! `TLSRoute` and `TCPRoute`, and which routes a port can have that is declared to speak something.

use super::refuses;

fn tls(spec: &str) -> String {
    format!("apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {{name: r}}\nspec:\n{spec}")
}

#[test]
fn hostnames() {
    let of = |hostnames: &str| {
        tls(&format!(
            "  parentRefs: [{{kind: MeshService, name: a}}]\n  hostnames: {hostnames}\n  rules: [{{backendRefs: [{{name: a}}]}}]\n"
        ))
    };
    refuses(&[
        (
            &of("[]"),
            &["in.yaml:6:3: TLSRoute shop/r: spec.hostnames: the list is empty, so that no connection matches"],
        ),
        (
            &of("[Shop.example, 10.0.0.1, 'a.*.example', '*', 'a_b.example', '*.a.example', '*.a.example', '']"),
            &[
                r#"in.yaml:6:15: TLSRoute shop/r: spec.hostnames[0]: "Shop.example" is not a DNS name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123), joined by '.'"#,
                r#"in.yaml:6:29: TLSRoute shop/r: spec.hostnames[1]: "10.0.0.1" is an address, which no client asks for as a server name"#,
                r#"in.yaml:6:39: TLSRoute shop/r: spec.hostnames[2]: "a.*.example" has a wildcard that is not the whole first label, as in *.example.com"#,
                r#"in.yaml:6:54: TLSRoute shop/r: spec.hostnames[3]: "*" has a wildcard that is not the whole first label, as in *.example.com"#,
                r#"in.yaml:6:59: TLSRoute shop/r: spec.hostnames[4]: "a_b.example" is not a DNS name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123), joined by '.'"#,
                r#"in.yaml:6:89: TLSRoute shop/r: spec.hostnames[6]: "*.a.example" is listed twice"#,
                r#"in.yaml:6:104: TLSRoute shop/r: spec.hostnames[7]: "" is not a DNS name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123), joined by '.'"#,
            ],
        ),
    ]);
}

#[test]
fn parents_and_rules() {
    refuses(&[
        (
            &tls("  rules: []\n"),
            &[
                "in.yaml:4:1: TLSRoute shop/r: spec.hostnames: is missing",
                "in.yaml:4:1: TLSRoute shop/r: spec.parentRefs: nothing says which service the route is attached to (add - {kind: MeshService, name: …})",
                "in.yaml:5:3: TLSRoute shop/r: spec.rules: the route has no rule",
            ],
        ),
        (
            &tls(
                "  parentRefs: [{kind: MeshService, name: a}]\n  hostnames: [a.example]\n  rules:\n    - {backendRefs: [{name: a, weight: 0}]}\n    - {backendRefs: [], matches: []}\n",
            ),
            &[
                "in.yaml:9:25: TLSRoute shop/r: spec.rules[1].matches: unknown field (fields here: backendRefs, name)",
                "in.yaml:8:8: TLSRoute shop/r: spec.rules[0].backendRefs: the weights sum to 0, so that no request could be sent",
                "in.yaml:9:8: TLSRoute shop/r: spec.rules[1].backendRefs: the list is empty, so that the rule leads nowhere",
            ],
        ),
        (
            &tls(
                "  parentRefs: [{kind: MeshService, name: a}]\n  hostnames: [a.example]\n  rules:\n    - {backendRefs: [{name: a}]}\n    - {backendRefs: [{name: a}]}\n",
            ),
            &[
                "in.yaml:9:7: TLSRoute shop/r: spec.rules[1]: the rules of a TLSRoute are for the same hostnames, so that only the first is ever used",
            ],
        ),
    ]);
}

const SERVICES: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: web}
spec: {workloads: {service: web}, ports: [{port: 80, name: http}, {port: 443, name: https}, {port: 5432, protocol: tcp}]}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: any}
spec: {workloads: {service: any}}
---
";

/// A route on `parent`, which stands on line 15, to `backend`, on line 16.
fn route(kind: &str, parent: &str, backend: &str) -> String {
    let hostnames = if kind == "TLSRoute" { "  hostnames: [a.example]\n" } else { "" };
    let version = if kind == "TCPRoute" { "v1alpha2" } else { "v1" };
    format!(
        "{SERVICES}apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: r}}\nspec:\n  \
         parentRefs: [{{kind: MeshService, {parent}}}]\n  rules: [{{backendRefs: [{{{backend}}}]}}]\n{hostnames}"
    )
}

#[test]
fn a_route_that_could_never_act_is_refused() {
    refuses(&[
        (&route("HTTPRoute", "name: any", "name: any"), &[]),
        (&route("TLSRoute", "name: any", "name: any"), &[]),
        (&route("HTTPRoute", "name: web, port: 80", "name: any"), &[]),
        (&route("TLSRoute", "name: web, sectionName: https", "name: web, port: 443"), &[]),
        // It acts on one of the ports.
        (&route("HTTPRoute", "name: web", "name: any"), &[]),
        (&route("TLSRoute", "name: web", "name: web, port: 5432"), &[]),
        (&route("TCPRoute", "name: web, port: 5432", "name: web, port: 5432"), &[]),
        (&route("TCPRoute", "name: web, port: 443", "name: any"), &[]),
        (&route("TCPRoute", "name: any", "name: any"), &[]),
        (
            &route("HTTPRoute", "name: web, port: 443", "name: any"),
            &[
                "in.yaml:16:16: HTTPRoute shop/r: spec.parentRefs[0]: the route could never act: shop/web:443 is declared to speak tls (HTTPRoute is for ports that speak http, http2 or grpc)",
            ],
        ),
        (
            &route("GRPCRoute", "name: web, port: 5432", "name: any"),
            &[
                "in.yaml:16:16: GRPCRoute shop/r: spec.parentRefs[0]: the route could never act: shop/web:5432 is declared to speak tcp (GRPCRoute is for ports that speak http, http2 or grpc)",
            ],
        ),
        (
            &route("TLSRoute", "name: web, sectionName: http", "name: any"),
            &[
                "in.yaml:16:16: TLSRoute shop/r: spec.parentRefs[0]: the route could never act: shop/web:80 is declared to speak http (a TLSRoute is for ports that speak tls)",
            ],
        ),
        (
            &route("TLSRoute", "name: web, port: 5432", "name: any"),
            &[
                "in.yaml:16:16: TLSRoute shop/r: spec.parentRefs[0]: the route could never act: shop/web:5432 is declared to speak tcp (a TLSRoute is for ports that speak tls)",
            ],
        ),
        (
            &route("TCPRoute", "name: web, port: 80", "name: any"),
            &[
                "in.yaml:16:16: TCPRoute shop/r: spec.parentRefs[0]: the route could never act: shop/web:80 is declared to speak http (a TCPRoute is for ports that speak tcp or tls)",
            ],
        ),
    ]);
}

#[test]
fn a_backend_understands_what_it_is_sent() {
    refuses(&[
        (
            &route("HTTPRoute", "name: any", "name: web, port: 443"),
            &[
                "in.yaml:17:26: HTTPRoute shop/r: spec.rules[0].backendRefs[0]: shop/web:443 is declared to speak tls, and would be sent requests of HTTP",
            ],
        ),
        (
            &route("TLSRoute", "name: any", "name: web, port: 80"),
            &[
                "in.yaml:17:26: TLSRoute shop/r: spec.rules[0].backendRefs[0]: shop/web:80 is declared to speak http, and would be sent TLS",
            ],
        ),
        (
            &route("TCPRoute", "name: any", "name: web, port: 80"),
            &[
                "in.yaml:17:26: TCPRoute shop/r: spec.rules[0].backendRefs[0]: shop/web:80 is declared to speak http, and would be sent bytes of any protocol",
            ],
        ),
    ]);
}

#[test]
fn a_tcp_route_decides_alone() {
    let first = route("TCPRoute", "name: web, port: 5432", "name: any");
    let second = first.replace("name: r}", "name: s}").replace(SERVICES, "---\n");
    refuses(&[
        (
            &format!("{first}{second}"),
            &[
                "in.yaml:23:16: warning: TCPRoute shop/s: spec.parentRefs[0]: TCPRoute shop/r is attached to shop/web:5432 as well and comes first, so that this one has no effect there (a port has one TCPRoute, and no route of another kind then)",
            ],
        ),
        (
            &format!(
                "{}{}",
                route("TCPRoute", "name: any", "name: any"),
                route("HTTPRoute", "name: any", "name: any").replace(SERVICES, "---\n")
            ),
            &[
                "in.yaml:16:16: warning: TCPRoute shop/r: spec.parentRefs[0]: HTTPRoute shop/r is attached to shop/any:80 as well and comes first, so that this one has no effect there (a port has one TCPRoute, and no route of another kind then)",
            ],
        ),
        (
            &first.replace("{backendRefs: [{name: any}]}", "{backendRefs: [{name: any}]}, {backendRefs: []}"),
            &[
                "in.yaml:17:41: TCPRoute shop/r: spec.rules[1]: a TCPRoute's rules are for all connections, so that only the first is ever used",
                "in.yaml:17:42: TCPRoute shop/r: spec.rules[1].backendRefs: the list is empty, so that the rule leads nowhere",
            ],
        ),
        (
            &first.replace("v1alpha2", "v1"),
            &[
                "in.yaml:12:1: TCPRoute shop/r: apiVersion: TCPRoute is not of the version \"gateway.networking.k8s.io/v1\" (write apiVersion: gateway.networking.k8s.io/v1alpha2)",
            ],
        ),
    ]);
}
