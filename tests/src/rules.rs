//! The resources that most suites start from.

/// All workloads of a service, under its own name; needed only where there are none yet.
pub fn service(name: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: MeshService\n\
         metadata: {{name: {name}}}\n\
         spec: {{workloads: {{service: {name}}}}}\n"
    )
}

/// `SERVICE-v1` and `SERVICE-v2`: the workloads of a service, told apart by their label `version`.
pub fn versions(service: &str) -> String {
    let version = |version: &str| {
        format!(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: MeshService\n\
             metadata: {{name: {service}-{version}}}\n\
             spec: {{workloads: {{service: {service}, labels: {{version: {version}}}}}}}\n"
        )
    };
    format!("{}---\n{}", version("v1"), version("v2"))
}

/// A route named like the service, which splits its traffic between the two versions.
pub fn split(service: &str, v1: u32, v2: u32) -> String {
    format!(
        r#"apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {service}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {service}}}]
  rules:
    - backendRefs:
        - {{group: weft.dev, kind: MeshService, name: {service}-v1, port: 80, weight: {v1}}}
        - {{group: weft.dev, kind: MeshService, name: {service}-v2, port: 80, weight: {v2}}}
"#
    )
}
