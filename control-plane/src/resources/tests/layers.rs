//! What one object says in vain because of another: the mesh, a policy on a service, one on a route, and its rule.

use super::problems;

const SERVICE: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: a}
spec: {static: [{address: '10.0.0.1:80'}], ports: [{port: 80}]}
---
";

/// One object for each place that says something, as flow mappings without their braces.
fn mesh(config: &str, on_service: &str, on_route: &str, rule: Option<&str>) -> Vec<String> {
    let object = |kind: &str, name: &str, spec: String| {
        format!("apiVersion: weft.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let policy = |name, kind, target, spec: &str| {
        object("TrafficPolicy", name, format!("targetRef: {{kind: {kind}, name: {target}}}, {spec}"))
    };
    let mut found = vec![SERVICE.trim_end_matches("---\n").to_owned()];
    if !config.is_empty() {
        found.push(object("MeshConfig", "default", format!("defaults: {{{config}}}")));
    }
    if !on_service.is_empty() {
        found.push(policy("s", "Service", "a", on_service));
    }
    if !on_route.is_empty() {
        found.push(policy("t", "HTTPRoute", "r", on_route));
    }
    found.extend(rule.map(|rule| {
        let rule = if rule.is_empty() { String::new() } else { format!(", {rule}") };
        let spec = format!("parentRefs: [{{kind: Service, name: a}}], rules: [{{backendRefs: [{{name: a}}]{rule}}}]");
        object("HTTPRoute", "r", spec).replace("weft.dev/v1alpha1", "gateway.networking.k8s.io/v1")
    }));
    found
}

#[test]
fn the_value_without_effect_and_the_one_that_holds_are_named() {
    let (none, rule) = (None, Some(""));
    let cases = [
        // Each limit ends before what it is a part of.
        (
            mesh("", "timeouts: {request: 5s}", "", Some("timeouts: {backendRequest: 10s}")),
            "HTTPRoute shop/r: spec.rules[0].timeouts.backendRequest: TrafficPolicy shop/s says spec.timeouts.request: 5s, so that 10s has no effect where both hold",
        ),
        (
            mesh("timeouts: {request: 5s}", "", "timeouts: {backendRequest: 10s}", rule),
            "TrafficPolicy shop/t: spec.timeouts.backendRequest: MeshConfig default says spec.defaults.timeouts.request: 5s, so that 10s has no effect where both hold",
        ),
        (
            mesh("timeouts: {request: 5s}", "timeouts: {responseHeader: 10s}", "", none),
            "TrafficPolicy shop/s: spec.timeouts.responseHeader: MeshConfig default says spec.defaults.timeouts.request: 5s, so that 10s has no effect where both hold",
        ),
        (
            mesh("", "timeouts: {total: 5s}", "timeouts: {responseHeader: 1s}", Some("timeouts: {request: 10s}")),
            "HTTPRoute shop/r: spec.rules[0].timeouts.request: TrafficPolicy shop/s says spec.timeouts.total: 5s, so that 10s has no effect where both hold",
        ),
        (mesh("timeouts: {request: 10s}", "", "", Some("timeouts: {backendRequest: 10s}")), ""),
        (mesh("timeouts: {request: 5s}", "", "timeouts: {request: 0s}", Some("timeouts: {backendRequest: 10s}")), ""),
        (mesh("", "timeouts: {backendRequest: 1m}", "", rule), ""),
        // The more special place is meant to override.
        (mesh("timeouts: {backendRequest: 10s}", "timeouts: {request: 5s}", "", none), ""),
        (mesh("", "timeouts: {backendRequest: 10s}", "", Some("timeouts: {request: 5s}")), ""),
        (mesh("", "retry: {attempts: 3, hedge: {after: 1s}}", "", Some("retry: {attempts: 0}")), ""),
        (
            mesh("", "retry: {attempts: 0}", "", Some("retry: {codes: [503]}")),
            "HTTPRoute shop/r: spec.rules[0].retry: TrafficPolicy shop/s says spec.retry.attempts: 0, so that nothing is sent again where both hold",
        ),
        (mesh("", "retry: {attempts: 0}", "", Some("retry: {attempts: 1, codes: [503]}")), ""),
        // Hedging needs idempotent methods, and time.
        (
            mesh("retry: {anyMethod: true}", "", "retry: {hedge: {after: 1s}}", rule),
            "TrafficPolicy shop/t: spec.retry.hedge: MeshConfig default says spec.defaults.retry.anyMethod: true, so that nothing is hedged after 1s where both hold",
        ),
        (
            mesh("timeouts: {request: 2s}", "retry: {hedge: {after: 2s}}", "", rule),
            "TrafficPolicy shop/s: spec.retry.hedge.after: MeshConfig default says spec.defaults.timeouts.request: 2s, so that nothing is hedged after 2s where both hold",
        ),
        (
            mesh("", "retry: {hedge: {after: 2s}}, timeouts: {backendRequest: 1s}", "", none),
            "TrafficPolicy shop/s: spec.retry.hedge.after: TrafficPolicy shop/s says spec.timeouts.backendRequest: 1s, so that nothing is hedged after 2s where both hold",
        ),
    ];
    for (objects, expected) in cases {
        for order in [objects.clone(), objects.into_iter().rev().collect()] {
            let found = problems(&order.join("---\n"));
            let said: Vec<&str> = found
                .iter()
                .filter_map(|line| line.split_once(" warning: ")?.1.rsplit_once(" ("))
                .map(|(said, _hint)| said)
                .collect();
            let expected: Vec<&str> = Some(expected).filter(|line| !line.is_empty()).into_iter().collect();
            assert_eq!((said, found.len()), (expected.clone(), expected.len()), "{found:#?}");
        }
    }
}

#[test]
fn a_service_whose_requests_all_fall_under_rules_has_no_others() {
    let (config, policy) = ("timeouts: {request: 5s}", "timeouts: {backendRequest: 10s}");
    assert_eq!(problems(&mesh(config, policy, "", Some("timeouts: {request: 20s}")).join("---\n")), [""; 0]);
    assert_eq!(problems(&mesh(config, policy, "", None).join("---\n")).len(), 1);
    let files = mesh(config, policy, "", None).split_off(1);
    assert_eq!(problems(&files.join("---\n")).len(), 2, "nobody serves it as far as is known");
}
