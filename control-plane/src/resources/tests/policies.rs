//! `MeshService`, `TrafficPolicy` and `MeshConfig`.

use super::refuses;

fn service(spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: a}}\nspec:\n{spec}")
}

fn policy(spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n{spec}")
}

#[test]
fn where_endpoints_come_from() {
    refuses(&[
        (
            &service("  ports: []\n"),
            &[
                "in.yaml:4:1: MeshService shop/a: spec: nothing says where the endpoints come from (add one of workloads, dns, static)",
            ],
        ),
        (
            &service("  dns: {host: a.example, port: 1}\n  workloads: {service: a}\n"),
            &[
                "in.yaml:4:1: MeshService shop/a: spec: endpoints come from exactly one of workloads, dns and static, not from several",
            ],
        ),
        (
            &service("  dns: {host: 10.0.0.1, port: 0}\n"),
            &[
                "in.yaml:5:25: MeshService shop/a: spec.dns.port: expected a number from 1 to 65535, found 0",
                "in.yaml:5:9: MeshService shop/a: spec.dns.host: 10.0.0.1 is an address, not a DNS name (write it under static)",
            ],
        ),
        (
            &service("  dns: {host: 'a b', port: 1}\n"),
            &[r#"in.yaml:5:9: MeshService shop/a: spec.dns.host: "a b" is not a DNS name"#],
        ),
        (
            &service(
                "  static:\n    - {address: '10.0.0.1'}\n    - {address: '10.0.0.1:80', identity: 'http://x'}\n    - {address: '10.0.0.1:80'}\n",
            ),
            &[
                r#"in.yaml:6:8: MeshService shop/a: spec.static[0].address: "10.0.0.1" is not an address with a port (write it as 10.0.0.1:8080 or [::1]:8080; for a name, use dns)"#,
                r#"in.yaml:7:32: MeshService shop/a: spec.static[1].identity: "http://x": a SPIFFE ID starts with spiffe://, in lowercase letters"#,
                "in.yaml:8:8: MeshService shop/a: spec.static[2].address: 10.0.0.1:80 is listed twice",
            ],
        ),
        (&service("  static: []\n"), &["in.yaml:5:3: MeshService shop/a: spec.static: the list of endpoints is empty"]),
        (
            &service("  workloads: {service: Orders}\n"),
            &[
                r#"in.yaml:5:15: MeshService shop/a: spec.workloads.service: "Orders" is not a service name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)"#,
            ],
        ),
    ]);
}

#[test]
fn ports() {
    refuses(&[(
        &service(
            "  workloads: {service: a}\n  ports:\n    - {port: 80, name: Web}\n    - {port: 80, name: web, protocol: https}\n    - {port: 81, name: web}\n",
        ),
        &[
            r#"in.yaml:8:29: MeshService shop/a: spec.ports[1].protocol: expected one of http, http2, grpc, tcp, tls, found "https" (did you mean "http"?)"#,
            r#"in.yaml:7:18: MeshService shop/a: spec.ports[0].name: "Web" is not a port name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)"#,
            "in.yaml:8:8: MeshService shop/a: spec.ports[1].port: port 80 is declared twice",
            r#"in.yaml:9:18: MeshService shop/a: spec.ports[2].name: the port name "web" is given twice"#,
        ],
    )]);
}

#[test]
fn what_ports_speak() {
    refuses(&[
        (
            &service(
                "  workloads: {service: a}\n  ports:\n    - {port: 80, protocol: http, appProtocol: https}\n    - {port: 81, appProtocol: amqp}\n    - {port: 82, protocol: http2, appProtocol: kubernetes.io/h2c}\n    - {port: 83, protocol: tcp, name: http-x}\n",
            ),
            &[
                "in.yaml:7:34: MeshService shop/a: spec.ports[0].appProtocol: it contradicts the port's protocol, http (leave one of them out)",
                r#"in.yaml:8:18: MeshService shop/a: spec.ports[1].appProtocol: expected one of http, http2, grpc, tcp, tls, https, grpc-web, mongo, mysql, redis, kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss, found "amqp" (leave it out if it is none of these)"#,
            ],
        ),
        (
            &service("  static:\n    - {address: '240.0.1.7:80'}\n    - {address: '[fd77:6566:7400::f000:107]:80'}\n"),
            &[
                "in.yaml:6:8: MeshService shop/a: spec.static[0].address: 240.0.1.7:80 is of the range that the mesh gives out to services itself",
                "in.yaml:7:8: MeshService shop/a: spec.static[1].address: [fd77:6566:7400::f000:107]:80 is of the range that the mesh gives out to services itself",
            ],
        ),
    ]);
}

#[test]
fn policies_fit_their_target() {
    refuses(&[
        (
            &policy("  targetRef: {kind: MeshService, name: a}\n  stickySplit: {header: x-user}\n"),
            &[
                "in.yaml:6:3: TrafficPolicy shop/p: spec.stickySplit: stickySplit is a policy of a route, but targetRef names a service",
            ],
        ),
        (
            &policy(
                "  targetRef: {kind: HTTPRoute, name: a}\n  loadBalancer: {type: RoundRobin}\n  timeouts: {connect: 1s}\n",
            ),
            &[
                "in.yaml:6:3: TrafficPolicy shop/p: spec.loadBalancer: loadBalancer is a policy toward a service, but targetRef names a route",
                "in.yaml:7:14: TrafficPolicy shop/p: spec.timeouts.connect: connect is a policy toward a service, but targetRef names a route",
            ],
        ),
        (
            &policy("  targetRef: {kind: MeshService, group: apps, name: a}\n"),
            &[
                r#"in.yaml:5:34: TrafficPolicy shop/p: spec.targetRef.group: there is no kind MeshService in the group "apps" (write "weft.dev", or leave it out)"#,
                "in.yaml:4:1: TrafficPolicy shop/p: spec: the policy says nothing beside its target",
            ],
        ),
        (
            &policy("  targetRef: {kind: Gateway, name: a}\n  loadBalancer: {type: RoundRobbin}\n"),
            &[
                r#"in.yaml:5:15: TrafficPolicy shop/p: spec.targetRef.kind: expected one of MeshService, Service, HTTPRoute, GRPCRoute, found "Gateway""#,
                r#"in.yaml:6:18: TrafficPolicy shop/p: spec.loadBalancer.type: expected one of PeakEwma, LeastRequest, RoundRobin, Random, RingHash, Maglev, found "RoundRobbin" (did you mean "RoundRobin"?)"#,
            ],
        ),
        (
            &policy("  loadBalancer: {type: RoundRobin}\n"),
            &["in.yaml:4:1: TrafficPolicy shop/p: spec.targetRef: is missing"],
        ),
        (
            &policy("  targetRef: {kind: HTTPRoute, name: a}\n  stickySplit: {header: x-user, cookie: u}\n"),
            &["in.yaml:6:3: TrafficPolicy shop/p: spec.stickySplit: expected exactly one of header and cookie"],
        ),
        (
            &policy("  targetRef: {kind: HTTPRoute, name: a}\n  stickySplit: {header: 'x user'}\n"),
            &[r#"in.yaml:6:17: TrafficPolicy shop/p: spec.stickySplit.header: "x user" is not a header name"#],
        ),
        (
            &policy("  targetRef: {kind: HTTPRoute, name: a}\n  stickySplit: {cookie: 'a;b'}\n"),
            &[r#"in.yaml:6:17: TrafficPolicy shop/p: spec.stickySplit.cookie: "a;b" is not a cookie name"#],
        ),
        (
            &policy(
                "  targetRef: {kind: MeshService, name: a}\n  fallback: {backendRef: {name: a, kind: Deployment, port: 0}}\n",
            ),
            &[
                "in.yaml:6:54: TrafficPolicy shop/p: spec.fallback.backendRef.port: expected a number from 1 to 65535, found 0",
                "in.yaml:6:36: TrafficPolicy shop/p: spec.fallback.backendRef.kind: a Deployment is not a service of the mesh (kinds are Service and MeshService)",
            ],
        ),
        (
            &policy("  targetRef: {kind: MeshService, name: a}\n  fallback: {backendRef: {name: a}}\n"),
            &["in.yaml:6:14: TrafficPolicy shop/p: spec.fallback.backendRef: the fallback is the service itself"],
        ),
    ]);
}

#[test]
fn circuit_breakers() {
    refuses(&[
        (
            &policy(
                "  targetRef: {kind: MeshService, name: a}\n\
                 \x20 circuitBreaker: {failureRatePercent: 101, window: 10, open: {initial: 5s, max: 1s}, halfOpen: {probs: 3}}\n\
                 \x20 endpointCircuitBreaker: {maxEjectedPercent: 0, window: 0s, minimumRequests: -1, maxEjected: 5}\n",
            ),
            &[
                "in.yaml:6:20: TrafficPolicy shop/p: spec.circuitBreaker.failureRatePercent: expected a number from 1 to 100, found 101",
                r#"in.yaml:6:45: TrafficPolicy shop/p: spec.circuitBreaker.window: expected text, found the number 10 (write it in quotes: "10")"#,
                r#"in.yaml:6:98: TrafficPolicy shop/p: spec.circuitBreaker.halfOpen.probs: unknown field (did you mean "probes"?)"#,
                "in.yaml:7:28: TrafficPolicy shop/p: spec.endpointCircuitBreaker.maxEjectedPercent: expected a number from 1 to 100, found 0",
                "in.yaml:7:62: TrafficPolicy shop/p: spec.endpointCircuitBreaker.minimumRequests: expected at least 1, found -1",
                r#"in.yaml:7:83: TrafficPolicy shop/p: spec.endpointCircuitBreaker.maxEjected: unknown field (did you mean "maxEjectedPercent"?)"#,
                "in.yaml:6:77: TrafficPolicy shop/p: spec.circuitBreaker.open.max: 1s is less than the initial wait of 5s",
                "in.yaml:7:50: TrafficPolicy shop/p: spec.endpointCircuitBreaker.window: must be more than 0s",
            ],
        ),
        (
            &policy(
                "  targetRef: {kind: MeshService, name: a}\n  circuitBreaker: {window: 10 minutes}\n  timeouts: {connect: 0s}\n",
            ),
            &[
                r#"in.yaml:6:20: TrafficPolicy shop/p: spec.circuitBreaker.window: "10 minutes" is not a duration: write it as 500ms, 10s or 1m30s"#,
                "in.yaml:7:14: TrafficPolicy shop/p: spec.timeouts.connect: must be more than 0s",
            ],
        ),
    ]);
}

#[test]
fn mesh_config() {
    let config = "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec:\n";
    refuses(&[
        (
            &format!("{config}  egress: none\n  mtls: on\n"),
            &[
                r#"in.yaml:5:3: MeshConfig default: spec.egress: expected one of allow, deny, found "none""#,
                r#"in.yaml:6:3: MeshConfig default: spec.mtls: expected one of strict, permissive, off, found "on""#,
            ],
        ),
        (&format!("{config}  egress: deny\n  mtls: off\n"), &[]),
    ]);
    refuses(&[(
        &format!(
            "{config}  drainTimeout: 0s\n  acessLog: true\n  defaults: {{timeouts: {{connect: 0s, requests: 1s}}, circuitBreaker: {{window: 0s}}}}\n"
        ),
        &[
            r#"in.yaml:6:3: MeshConfig default: spec.acessLog: unknown field (did you mean "accessLog"?)"#,
            r#"in.yaml:7:38: MeshConfig default: spec.defaults.timeouts.requests: unknown field (did you mean "request"?)"#,
            "in.yaml:5:3: MeshConfig default: spec.drainTimeout: must be more than 0s",
            "in.yaml:7:70: MeshConfig default: spec.defaults.circuitBreaker.window: must be more than 0s",
            "in.yaml:7:25: MeshConfig default: spec.defaults.timeouts.connect: must be more than 0s",
        ],
    )]);
}
