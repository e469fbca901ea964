//! What objects say about each other.

use std::collections::BTreeSet;

use weft_proxy_api::ServicePort;

use super::{objects, refuses};
use crate::resources::{Catalog, Object, Objects, Problem, check, route::ServiceRef};

/// The problems of `objects` together, as if each were the document of its own index.
pub(super) fn checked(objects: Vec<Object>, services: &BTreeSet<ServicePort>) -> Vec<Problem> {
    let keys: Vec<String> = objects.iter().map(|object| object.key.to_string()).collect();
    let objects: Objects = objects.into_iter().collect();
    let mut problems = check(&objects, services);
    for problem in &mut problems {
        problem.document = keys.iter().position(|key| Some(key) == problem.object.as_ref());
    }
    problems
}

const SERVICES: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders}
spec: {workloads: {service: orders}, ports: [{port: 80, name: web}, {port: 9090, name: admin}]}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders-v1}
spec: {workloads: {service: orders, labels: {version: v1}}}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: stock, namespace: depot}
spec: {dns: {host: stock.example, port: 80}}
---
";

fn route(parent: &str, backend: &str) -> String {
    format!(
        "{SERVICES}apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  \
         parentRefs: [{{kind: MeshService, {parent}}}]\n  rules: [{{backendRefs: [{{{backend}}}]}}]\n"
    )
}

#[test]
fn one_more_registered_port_breaks_no_route_that_names_none() {
    let written = route("name: cart", "name: cart").replace(SERVICES, "");
    let port = |number| ServicePort::new("shop", "cart", number);
    for ports in [[80, 81].as_slice(), &[79, 80], &[81, 82], &[81]] {
        let implied = ports.iter().map(|number| port(*number)).collect();
        let objects = objects(&written);
        assert_eq!(checked(objects.clone(), &implied), [], "{ports:?}");
        let objects = objects.into_iter().collect();
        let catalog = Catalog::new(&objects, &implied);
        let cart = ServiceRef { service: port(0).service_name(), port: None };
        let expected = if ports.contains(&80) { 80 } else { 81 };
        assert_eq!(catalog.resolve(&cart).unwrap(), port(expected), "{ports:?}");
    }
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n---\n")
}

#[test]
fn references_lead_somewhere() {
    refuses(&[
        (&route("name: orders", "name: orders-v1"), &[]),
        (&route("name: orders, sectionName: admin", "name: stock, namespace: depot"), &[]),
        (
            &route("name: order", "name: orders-v2, port: 80"),
            &[
                r#"in.yaml:21:36: HTTPRoute shop/r: spec.parentRefs[0].name: there is no service shop/order (did you mean "shop/orders"?)"#,
                r#"in.yaml:22:27: HTTPRoute shop/r: spec.rules[0].backendRefs[0].name: there is no service shop/orders-v2 (did you mean "shop/orders-v1"?)"#,
            ],
        ),
        (
            &route("name: orders, port: 81", "name: orders-v1, port: 8080"),
            &[
                "in.yaml:21:50: HTTPRoute shop/r: spec.parentRefs[0].port: the service shop/orders has no port 81 (its ports are 80, 9090)",
                "in.yaml:22:44: HTTPRoute shop/r: spec.rules[0].backendRefs[0].port: the service shop/orders-v1 has no port 8080 (its only port is 80)",
            ],
        ),
        (
            &route("name: orders, sectionName: wep", "name: orders"),
            &[
                r#"in.yaml:21:50: HTTPRoute shop/r: spec.parentRefs[0].sectionName: the service shop/orders has no port named "wep" (did you mean "web"?)"#,
                "in.yaml:22:26: HTTPRoute shop/r: spec.rules[0].backendRefs[0]: the service shop/orders has several ports, so that one must be named (its ports are 80, 9090)",
            ],
        ),
        // A name of another namespace is near as well.
        (
            &route("name: orders", "name: stock"),
            &[
                r#"in.yaml:22:27: HTTPRoute shop/r: spec.rules[0].backendRefs[0].name: there is no service shop/stock (did you mean "depot/stock"?)"#,
            ],
        ),
    ]);
}

#[test]
fn registered_workloads_are_services() {
    let objects = objects(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  \
         parentRefs: [{kind: Service, name: web}]\n  rules: [{backendRefs: [{name: web}, {name: web, port: 81}]}]\n",
    );
    let registered = BTreeSet::from([ServicePort::new("shop", "web", 80)]);
    let problems = checked(objects, &registered);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].field, "spec.rules[0].backendRefs[1].port");
}

#[test]
fn policies_have_a_target_and_the_first_by_name_counts() {
    let breaker = "circuitBreaker: {window: 1s}";
    let on = |name: &str| format!("targetRef: {{kind: MeshService, name: {name}}}\n  {breaker}");
    refuses(&[
        (
            &format!("{SERVICES}{}", policy("p", &on("order"))),
            &[
                r#"in.yaml:21:34: TrafficPolicy shop/p: spec.targetRef.name: there is no service shop/order (did you mean "shop/orders"?)"#,
            ],
        ),
        (
            &format!("{SERVICES}{}{}", policy("p", &on("orders")), policy("q", &on("orders"))),
            &[
                "in.yaml:28:3: warning: TrafficPolicy shop/q: spec.targetRef: TrafficPolicy shop/p has the same target and comes first by name, so that this one has no effect (write both as one)",
            ],
        ),
        (
            &format!(
                "{}---\n{}",
                route("name: orders", "name: orders-v1"),
                policy("p", "targetRef: {kind: HTTPRoute, name: r}\n  stickySplit: {cookie: u}")
            ),
            &[
                "in.yaml:29:3: warning: TrafficPolicy shop/p: spec.stickySplit: no rule of HTTPRoute shop/r splits between backends, so that nothing is sticky",
            ],
        ),
        (
            &policy("p", "targetRef: {kind: GRPCRoute, name: r}\n  stickySplit: {cookie: u}"),
            &["in.yaml:5:32: TrafficPolicy shop/p: spec.targetRef.name: there is no GRPCRoute shop/r"],
        ),
    ]);
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let bytes = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: db}
spec: {workloads: {service: db}, ports: [{port: 5432, protocol: tcp}]}
---
";
    let on_db =
        |spec: &str| format!("{bytes}{}", policy("p", &format!("targetRef: {{kind: Service, name: db}}\n  {spec}")));
    refuses(&[
        (&on_db("timeouts: {connect: 1s}"), &[]),
        (
            &on_db("timeouts: {connect: 1s, request: 1s}"),
            &[
                "in.yaml:11:3: warning: TrafficPolicy shop/p: spec.targetRef: all ports of shop/db carry bytes: what is about requests has no effect",
            ],
        ),
    ]);
}

#[test]
fn mirrors_lead_somewhere_and_cookies_to_named_origins() {
    let with = |filters: &str| {
        let route = route("name: orders", "name: orders-v1");
        route.replace("rules: [{", &format!("rules: [{{filters: [{filters}], "))
    };
    let cors = |cors: &str| with(&format!("{{type: CORS, cors: {{{cors}}}}}"));
    refuses(&[
        (&with("{type: RequestMirror, requestMirror: {backendRef: {name: stock, namespace: depot}}}"), &[]),
        (
            &with("{type: RequestMirror, requestMirror: {backendRef: {name: stok, namespace: depot}}}"),
            &[
                r#"in.yaml:22:73: HTTPRoute shop/r: spec.rules[0].filters[0].requestMirror.backendRef.name: there is no service depot/stok (did you mean "depot/stock"?)"#,
            ],
        ),
        (&cors("allowOrigins: ['https://*.example.com'], allowCredentials: true"), &[]),
        (&cors("allowOrigins: ['*']"), &[]),
        (
            &cors("allowOrigins: ['*'], allowCredentials: true"),
            &[
                "in.yaml:22:42: warning: HTTPRoute shop/r: spec.rules[0].filters[0].cors.allowOrigins: with allowCredentials, any site may read what the service answers to its user (name the origins)",
            ],
        ),
    ]);
}

#[test]
fn fallbacks_lead_somewhere_and_not_back() {
    let to = |own: &str, other: &str| {
        policy(
            own,
            &format!(
                "targetRef: {{kind: MeshService, name: {own}}}\n  fallback: {{backendRef: {{name: {other}, port: 80}}}}"
            ),
        )
    };
    refuses(&[
        (&format!("{SERVICES}{}", to("orders", "orders-v1")), &[]),
        (
            &format!("{SERVICES}{}", to("orders", "ordres-v1")),
            &[
                r#"in.yaml:22:27: TrafficPolicy shop/orders: spec.fallback.backendRef.name: there is no service shop/ordres-v1 (did you mean "shop/orders-v1"?)"#,
            ],
        ),
        (
            &format!("{SERVICES}{}{}", to("orders", "orders-v1"), to("orders-v1", "orders")),
            &[
                "in.yaml:22:14: TrafficPolicy shop/orders: spec.fallback.backendRef: the fallbacks lead back to the service: shop/orders → shop/orders-v1 → shop/orders",
                "in.yaml:29:14: TrafficPolicy shop/orders-v1: spec.fallback.backendRef: the fallbacks lead back to the service: shop/orders-v1 → shop/orders → shop/orders-v1",
            ],
        ),
    ]);
}
