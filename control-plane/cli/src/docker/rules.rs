//! The rules with which the mesh of a project starts: which services there are, and who may still call in plain text.

use std::fmt::Write as _;

use super::{
    plan::{Member, Plan},
    yaml::scalar,
};

/// Resources as YAML. `$` stands nowhere in them, since names in the mesh are DNS labels.
pub fn text(plan: &Plan, namespace: &str) -> String {
    let mut text = String::new();
    let (why, mtls) = match plan.open() {
        true => {
            let out: Vec<_> =
                plan.left_out.iter().filter(|left| left.calls).map(|left| left.service.as_str()).collect();
            let why = "Without a sidecar, and so in plain text, call";
            (format!("{why}: {}. Write strict once nobody does.", out.join(", ")), "permissive")
        }
        false => ("Every service has a sidecar: mutual TLS, and nothing else.".to_owned(), "strict"),
    };
    push(&mut text, &format!("# {why}\napiVersion: weft.dev/v1alpha1\nkind: MeshConfig"));
    push(&mut text, &format!("metadata: {{name: default}}\nspec: {{mtls: {mtls}}}"));
    // Before the first workload registers, so that no program finds another by a name that is not the mesh's yet.
    for member in plan.members.iter().filter(|member| !member.ports.is_empty()) {
        service(&mut text, member, namespace);
    }
    text
}

fn service(text: &mut String, member: &Member, namespace: &str) {
    let Member { mesh, ports, published, .. } = member;
    let mesh = scalar(mesh);
    let metadata = match namespace {
        "default" => format!("{{name: {mesh}}}"),
        other => format!("{{name: {mesh}, namespace: {}}}", scalar(other)),
    };
    let one = |port: &u16, more: &str| format!("{{port: {port}{more}}}");
    let all: Vec<_> = ports.iter().map(|port| one(port, "")).collect();
    let open: Vec<_> = published.iter().map(|port| one(port, ", mtls: permissive")).collect();
    push(text, "---\napiVersion: weft.dev/v1alpha1\nkind: MeshService");
    push(text, &format!("metadata: {metadata}"));
    push(text, &format!("spec:\n  workloads: {{service: {mesh}}}\n  ports: [{}]", all.join(", ")));
    if published.is_empty() {
        return;
    }
    push(text, "---\n# Published on the host: who comes from there has no sidecar.");
    push(text, &format!("apiVersion: weft.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {metadata}"));
    push(text, &format!("spec:\n  targetRef: {{kind: MeshService, name: {mesh}}}\n  ports: [{}]", open.join(", ")));
}

fn push(text: &mut String, lines: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{lines}");
}
