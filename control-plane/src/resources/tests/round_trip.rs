//! What is written is what is read, and nothing that is written makes the reader panic.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::resources::{Kind, parse, read_yaml, to_yaml};

const NAME: &str = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";

fn service() -> impl Strategy<Value = Value> {
    (NAME, NAME, prop::collection::btree_map("[a-z./]{1,8}", "[ -~]{0,10}", 0..3), 1u16..).prop_map(
        |(namespace, name, labels, port)| {
            json!({
                "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "spec": {"ports": [{"port": port}], "workloads": {"service": name, "labels": labels}},
            })
        },
    )
}

fn route() -> impl Strategy<Value = Value> {
    (NAME, NAME, "[ -~]{0,12}", prop::collection::vec(1..=1_000_000, 1..4)).prop_map(
        |(namespace, name, value, weights)| {
            let backends: Vec<Value> = weights.iter().map(|weight| json!({"name": name, "weight": weight})).collect();
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {
                    "parentRefs": [{"kind": "Service", "name": name}],
                    "rules": [{
                        "matches": [{"headers": [{"name": "x-value", "value": value}]}],
                        "backendRefs": backends,
                    }],
                },
            })
        },
    )
}

/// Documents that are nearly resources, so that every reader is reached.
fn nearly() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "(/|/a|10s|MeshService|Exact|RegularExpression|URLRewrite|GET|\\(|[a-z]{1,4})".prop_map(Value::from),
    ];
    let field = "(spec|metadata|name|namespace|kind|rules|matches|path|value|type|headers|queryParams|filters|urlRewrite|\
                 requestRedirect|replacePrefixMatch|replaceFullPath|backendRefs|weight|port|parentRefs|timeouts|request|\
                 targetRef|circuitBreaker|window|open|max|retry|when|statuses|grpcCodes|backoff|hedge|after|fault|abort|delay|percent|\
                 cache|maxSize|bulkhead|maxRequests|adaptive|loadBalancer|hashOn|fallback|response|headers|status|total|dns|host|static|address|ports|workloads|service|method|labels|limits|match|per|header|requests|interval|burst|shared|.{0,3})";
    let any_value = leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    (prop::sample::select(Kind::ALL.to_vec()), any_value.clone(), any_value).prop_map(|(kind, metadata, spec)| {
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec})
    })
}

proptest! {
    #[test]
    fn yaml_and_back_is_the_same_object(values in prop::collection::vec(prop_oneof![service(), route()], 1..4)) {
        let Ok(objects) = parse(&values, "default") else { return Ok(()) };
        let normal: Vec<Value> = objects.iter().map(|object| object.manifest.value()).collect();
        let text = to_yaml(&normal);
        let read: Vec<Value> = read_yaml("in.yaml", &text).unwrap().into_iter().map(|d| d.value).collect();
        prop_assert_eq!(parse(&read, "other").unwrap(), objects, "{}", text);
    }

    #[test]
    fn no_document_makes_the_parser_panic(document in nearly()) {
        let _ = parse(std::slice::from_ref(&document), "shop");
    }
}
