//! The envelope that all kinds share.

use serde_json::json;

use super::{objects, refuses};
use crate::resources::{Key, Kind};

#[test]
fn kinds_and_versions() {
    refuses(&[
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshServise\nmetadata: {name: a}\n",
            &[r#"in.yaml:2:1: kind: there is no kind "MeshServise" (did you mean "MeshService"?)"#],
        ),
        (
            "apiVersion: v1\nkind: Pod\n",
            &[
                r#"in.yaml:2:1: kind: there is no kind "Pod" (kinds are HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, MeshService, TrafficPolicy, AccessPolicy, RateLimitPolicy, MeshConfig)"#,
            ],
        ),
        (
            "metadata: {name: a}\n",
            &[
                "in.yaml:1:1: kind: is missing (one of HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, MeshService, TrafficPolicy, AccessPolicy, RateLimitPolicy, MeshConfig)",
            ],
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: MeshConfig\nmetadata: {name: default}\n",
            &[
                r#"in.yaml:1:1: MeshConfig default: apiVersion: MeshConfig is not of the version "gateway.networking.k8s.io/v1beta1" (write apiVersion: weft.dev/v1alpha1)"#,
            ],
        ),
        (
            "kind: MeshConfig\nmetadata: {name: default}\n",
            &["in.yaml:1:1: MeshConfig default: apiVersion: is missing (write apiVersion: weft.dev/v1alpha1)"],
        ),
        ("- a\n- b\n", &["in.yaml:1:1: expected a resource, found a list"]),
        ("only words\n", &[r#"in.yaml:1:1: expected a resource, found the text "only words""#]),
    ]);
}

#[test]
fn names_and_metadata() {
    refuses(&[
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {namespace: shop}\nspec: {static: [{address: '1.2.3.4:5'}]}\n",
            &["in.yaml:3:1: metadata.name: is missing"],
        ),
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {name: ''}\nspec: {static: [{address: '1.2.3.4:5'}]}\n",
            &["in.yaml:3:12: metadata.name: is empty"],
        ),
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata:\n  name: Orders_1\n  namespace: -x\nspec: {static: [{address: '1.2.3.4:5'}]}\n",
            &[
                r#"in.yaml:4:3: MeshService -x/Orders_1: metadata.name: "Orders_1" is not a service name: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)"#,
                r#"in.yaml:5:3: MeshService -x/Orders_1: metadata.namespace: "-x" is not a namespace: lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)"#,
            ],
        ),
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mine, namespace: shop, label: {a: b}, labels: {a: 1}}\n",
            &[
                r#"in.yaml:3:41: MeshConfig mine: metadata.label: unknown field (did you mean "labels"?)"#,
                r#"in.yaml:3:65: MeshConfig mine: metadata.labels.a: expected text, found the number 1 (write it in quotes: "1")"#,
                "in.yaml:3:24: MeshConfig mine: metadata.namespace: a MeshConfig holds for the whole mesh and has no namespace",
                r#"in.yaml:3:12: MeshConfig mine: metadata.name: there is one MeshConfig, and its name is "default", not "mine""#,
            ],
        ),
        (
            "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspecs: {}\n",
            &[r#"in.yaml:4:1: MeshConfig default: specs: unknown field (did you mean "spec"?)"#],
        ),
    ]);
}

#[test]
fn the_same_object_twice() {
    let service = "apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {name: a}\nspec: {dns: {host: a.example, port: 1}}\n";
    refuses(&[(
        &format!("{service}---\n{service}---\n{}", service.replace("name: a}", "name: a, namespace: other}")),
        &["in.yaml:8:12: MeshService shop/a: metadata.name: document 1 defines the same object"],
    )]);
}

#[test]
fn all_problems_of_all_documents_at_once() {
    refuses(&[(
        "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec: {accessLog: yes, drainTimeout: 3}\n\
         ---\n\
         apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {name: a}\nspec: {ports: [{port: 0}, {port: 70000}, {prot: 1}]}\n",
        &[
            r#"in.yaml:4:8: MeshConfig default: spec.accessLog: expected true or false, found the text "yes""#,
            r#"in.yaml:4:24: MeshConfig default: spec.drainTimeout: expected text, found the number 3 (write it in quotes: "3")"#,
            "in.yaml:9:17: MeshService shop/a: spec.ports[0].port: expected a number from 1 to 65535, found 0",
            "in.yaml:9:28: MeshService shop/a: spec.ports[1].port: expected a number from 1 to 65535, found 70000",
            r#"in.yaml:9:43: MeshService shop/a: spec.ports[2].prot: unknown field (did you mean "port"?)"#,
            "in.yaml:9:42: MeshService shop/a: spec.ports[2].port: is missing",
        ],
    )]);
}

#[test]
fn what_a_server_adds_is_dropped() {
    let yaml = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata:
  name: a
  labels: {team: orders}
  annotations: {note: text}
  uid: 3e1c
  resourceVersion: '17'
  generation: 2
  creationTimestamp: 2024-01-01T00:00:00Z
  managedFields: [{manager: kubectl}]
spec: {dns: {host: a.example, port: 1}}
status: {conditions: []}
";
    let object = objects(yaml).remove(0);
    assert_eq!(*object.key, Key::new(Kind::MeshService, "shop", "a"));
    assert_eq!(
        object.manifest.value(),
        json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "MeshService",
            "metadata": {
                "name": "a", "namespace": "shop", "labels": {"team": "orders"}, "annotations": {"note": "text"},
            },
            "spec": {"dns": {"host": "a.example", "port": 1}},
        })
    );
}
