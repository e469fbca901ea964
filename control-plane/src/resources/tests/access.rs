//! `AccessPolicy`.

use super::{objects, refuses};
use crate::resources::Spec;
use weft_proxy_api::inbound::Mtls;

/// Two services, of which the second has no workloads of its own.
pub(super) const SERVICES: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: db}
spec: {workloads: {service: db}, ports: [{port: 5432, protocol: tcp}, {port: 9187, name: metrics}]}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: ledger}
spec: {dns: {host: ledger.example, port: 80}}
---
";

/// The `spec` stands on line 15.
fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn of_services(spec: &str) -> String {
    format!("{SERVICES}{}", policy("p", spec))
}

#[test]
fn a_policy_says_something_about_ports_that_there_are() {
    refuses(&[
        (&of_services("{targetRef: {kind: MeshService, name: db}, ports: [{port: 9187, mtls: permissive}]}"), &[]),
        (&of_services("{targetRef: {kind: Service, name: db}, mtls: off}"), &[]),
        (
            &of_services("{targetRef: {kind: Service, name: db}}"),
            &["in.yaml:15:1: AccessPolicy shop/p: spec: the policy says nothing beside its target (add mtls or ports)"],
        ),
        (
            &of_services(
                "{targetRef: {kind: Service, name: db}, ports: [{port: 80, mtls: strict}, {mtls: off, port: 81}]}",
            ),
            &[
                "in.yaml:15:55: AccessPolicy shop/p: spec.ports[0].port: the service shop/db has no port 80 (its ports are 5432, 9187)",
                "in.yaml:15:92: AccessPolicy shop/p: spec.ports[1].port: the service shop/db has no port 81 (its ports are 5432, 9187)",
            ],
        ),
        (
            &of_services(
                "{targetRef: {kind: Service, name: db}, mtls: open, ports: [{port: 80}, {port: 80, mtls: off}]}",
            ),
            &[
                r#"in.yaml:15:46: AccessPolicy shop/p: spec.mtls: expected one of strict, permissive, off, found "open""#,
                "in.yaml:15:66: AccessPolicy shop/p: spec.ports[0].mtls: is missing",
                "in.yaml:15:79: AccessPolicy shop/p: spec.ports[1].port: port 80 is listed twice",
            ],
        ),
        (
            &of_services("{targetRef: {kind: HTTPRoute, name: db}, mtls: off}"),
            &[
                "in.yaml:15:20: AccessPolicy shop/p: spec.targetRef.kind: a HTTPRoute is not a service of the mesh (kinds are Service and MeshService)",
            ],
        ),
        (
            &of_services("{targetRef: {kind: Service, name: bd}, mtls: off}"),
            &[
                r#"in.yaml:15:35: AccessPolicy shop/p: spec.targetRef.name: there is no service shop/bd (did you mean "shop/db"?)"#,
            ],
        ),
        (
            &of_services("{targetRef: {kind: Service, name: ledger}, mtls: off}"),
            &[
                "in.yaml:15:8: warning: AccessPolicy shop/p: spec.targetRef: all endpoints of shop/ledger are outside the mesh, so that nothing enforces it",
            ],
        ),
    ]);
}

#[test]
fn a_service_has_one_policy() {
    let on_db = "{targetRef: {kind: Service, name: db}, mtls: off}";
    refuses(&[(
        &format!("{}---\n{}", of_services(on_db), policy("q", on_db)),
        &[
            "in.yaml:15:8: AccessPolicy shop/p: spec.targetRef: AccessPolicy shop/q has the same target; a target has one policy, so that none hides another",
            "in.yaml:20:8: AccessPolicy shop/q: spec.targetRef: AccessPolicy shop/p has the same target; a target has one policy, so that none hides another",
        ],
    )]);
}

#[test]
fn a_port_has_its_own_mode_or_that_of_the_service() {
    let mode = |spec: &str, port| {
        let objects = objects(&policy("p", spec));
        let Spec::AccessPolicy(policy) = &objects[0].spec else { panic!("a policy") };
        policy.mtls(port)
    };
    let one_port = "{targetRef: {kind: Service, name: db}, ports: [{port: 80, mtls: permissive}]}";
    assert_eq!((mode(one_port, 80), mode(one_port, 81)), (Some(Mtls::Permissive), None));
    let both = "{targetRef: {kind: Service, name: db}, mtls: off, ports: [{port: 80, mtls: strict}]}";
    assert_eq!((mode(both, 80), mode(both, 81)), (Some(Mtls::Strict), Some(Mtls::Off)));
}
