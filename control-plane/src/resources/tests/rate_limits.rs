//! `RateLimitPolicy`.

use std::time::Duration;

use weft_proxy_api::policy::RateKey;

use super::{access::SERVICES, objects, refuses};
use crate::resources::{RateLimitPolicySpec, Spec};

/// The `spec` stands on line 15.
fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn on(target: &str, limits: &str) -> String {
    let spec = format!("{{targetRef: {{kind: Service, name: {target}}}, limits: [{limits}]}}");
    format!("{SERVICES}{}", policy("p", &spec))
}

fn spec(limits: &str) -> RateLimitPolicySpec {
    let objects = objects(&on("db", limits));
    let Spec::RateLimitPolicy(policy) = &objects[2].spec else { panic!("a policy") };
    (**policy).clone()
}

#[test]
fn what_is_not_said_has_a_default() {
    let limits = spec(
        "{requests: 3, interval: 1m}, {name: a, per: Header, header: X-User, requests: 3, interval: 1s, burst: 9}",
    )
    .limits;
    let [plain, named] = &limits[..] else { panic!("two limits") };
    assert_eq!((plain.name.as_str(), &plain.key, plain.burst), ("0", &RateKey::Total, 3));
    assert_eq!((plain.interval, plain.port, plain.shared), (Duration::from_secs(60), None, false));
    assert_eq!((named.name.as_str(), named.burst), ("a", 9));
    assert_eq!(named.key, RateKey::Header("x-user".parse().unwrap()));
}

#[test]
fn a_limit_says_how_many_requests_in_which_time() {
    refuses(&[
        (&on("db", "{requests: 1, interval: 1h}, {per: Path, requests: 1, interval: 1ms, port: 9187}"), &[]),
        (&on("db", ""), &["in.yaml:15:46: RateLimitPolicy shop/p: spec.limits: the policy has no limit"]),
        (
            &on("db", "{requests: 0, interval: 0s, burst: 0}, {interval: 61m, requests: 1}, {}"),
            &[
                "in.yaml:15:56: RateLimitPolicy shop/p: spec.limits[0].requests: expected at least 1, found 0",
                "in.yaml:15:83: RateLimitPolicy shop/p: spec.limits[0].burst: expected at least 1, found 0",
                "in.yaml:15:124: RateLimitPolicy shop/p: spec.limits[2].requests: is missing",
                "in.yaml:15:124: RateLimitPolicy shop/p: spec.limits[2].interval: is missing",
                "in.yaml:15:69: RateLimitPolicy shop/p: spec.limits[0].interval: must be more than 0s",
                "in.yaml:15:95: RateLimitPolicy shop/p: spec.limits[1].interval: must be at most 1h, since a sidecar that restarts counts anew (write the same rate for a shorter one, with a burst)",
            ],
        ),
        (
            &on(
                "db",
                "{name: A, requests: 1, interval: 1s}, {name: '0', requests: 1, interval: 1s}, {name: a, requests: 1, interval: 1s}, {name: a, requests: 1, interval: 1s}",
            ),
            &[
                "in.yaml:15:56: RateLimitPolicy shop/p: spec.limits[0].name: \"A\" is not the name of a limit: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)",
                "in.yaml:15:94: RateLimitPolicy shop/p: spec.limits[1].name: the name \"0\" is a number (limits without a name have their number for one)",
                "in.yaml:15:172: RateLimitPolicy shop/p: spec.limits[3].name: the limit name \"a\" is given twice",
            ],
        ),
    ]);
}

#[test]
fn a_key_is_named_where_it_needs_a_name() {
    refuses(&[
        (
            &on(
                "db",
                "{per: Header, requests: 1, interval: 1s}, {header: x-user, requests: 1, interval: 1s}, {per: Header, header: 'x user', requests: 1, interval: 1s}, {per: User, requests: 1, interval: 1s}",
            ),
            &[
                r#"in.yaml:15:203: RateLimitPolicy shop/p: spec.limits[3].per: expected one of Total, Identity, Header, Path, found "User""#,
                "in.yaml:15:55: RateLimitPolicy shop/p: spec.limits[0].header: is missing (per: Header needs the header's name)",
                "in.yaml:15:98: RateLimitPolicy shop/p: spec.limits[1].header: has no effect with per: Total (write per: Header)",
                r#"in.yaml:15:156: RateLimitPolicy shop/p: spec.limits[2].header: "x user" is not a header name"#,
            ],
        ),
        (
            &on("db", "{match: {path: {type: Exact, value: orders}}, requests: 1, interval: 1s}"),
            &[
                r#"in.yaml:15:84: RateLimitPolicy shop/p: spec.limits[0].match.path.value: a path starts with '/', unlike "orders" (write /orders)"#,
            ],
        ),
    ]);
}

#[test]
fn only_what_can_be_leased_is_shared() {
    refuses(&[
        (
            &on(
                "db",
                "{shared: true, requests: 1, interval: 1h}, {shared: true, requests: 500, interval: 1s, burst: 50}",
            ),
            &[],
        ),
        (
            &on(
                "db",
                "{shared: true, per: Identity, requests: 1, interval: 1s}, {shared: true, requests: 10, interval: 500ms}, {shared: true, requests: 500, interval: 1s, burst: 49}",
            ),
            &[
                "in.yaml:15:56: RateLimitPolicy shop/p: spec.limits[0].shared: only a limit of all requests together (per: Total) can be shared (leave shared out, or per)",
                "in.yaml:15:142: RateLimitPolicy shop/p: spec.limits[1].interval: must be at least 1s for a limit that is shared",
                "in.yaml:15:204: RateLimitPolicy shop/p: spec.limits[2].burst: must be at least 50: what flows in within 100ms (sidecars lease requests of a shared limit in advance)",
            ],
        ),
    ]);
}

#[test]
fn a_limit_is_for_workloads_that_get_requests() {
    refuses(&[
        (
            &on("bd", "{requests: 1, interval: 1s}"),
            &[
                r#"in.yaml:15:35: RateLimitPolicy shop/p: spec.targetRef.name: there is no service shop/bd (did you mean "shop/db"?)"#,
            ],
        ),
        (
            &on("db", "{port: 80, requests: 1, interval: 1s}, {port: 5432, requests: 1, interval: 1s}"),
            &[
                "in.yaml:15:56: RateLimitPolicy shop/p: spec.limits[0].port: the service shop/db has no port 80 (its ports are 5432, 9187)",
                "in.yaml:15:94: RateLimitPolicy shop/p: spec.limits[1]: the limit could never act: shop/db:5432 is declared to speak tcp (a limit counts requests of HTTP and gRPC)",
            ],
        ),
        (
            &on("ledger", "{requests: 1, interval: 1s}"),
            &[
                "in.yaml:15:8: warning: RateLimitPolicy shop/p: spec.targetRef: all endpoints of shop/ledger are outside the mesh, so that nothing enforces it",
            ],
        ),
        (
            &format!(
                "{}---\n{}",
                on("db", "{requests: 1, interval: 1s}"),
                policy("q", "{targetRef: {kind: MeshService, name: db}, limits: [{requests: 2, interval: 1s}]}")
            ),
            &[
                "in.yaml:15:8: RateLimitPolicy shop/p: spec.targetRef: RateLimitPolicy shop/q has the same target; a target has one policy, so that none hides another",
                "in.yaml:20:8: RateLimitPolicy shop/q: spec.targetRef: RateLimitPolicy shop/p has the same target; a target has one policy, so that none hides another",
            ],
        ),
    ]);
}
