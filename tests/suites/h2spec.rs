//! h2spec, the conformance suite for HTTP/2, against a sidecar, with an application that speaks HTTP/2 behind a second one.

use std::process::Stdio;

use weft_tests::{ControlPlane, Workload, get_h2, require};

/// h2spec names what it connects to in its requests, with the port: the service is given both. The name is known in a
/// mount namespace of its own only. Left out is 3.5/2: a connection that begins with other bytes than HTTP/2's is one of
/// HTTP/1.1 here, and is refused as that.
const RUN: &str = "mount --bind \"$1\" /etc/hosts && exec h2spec --strict --timeout 10 --host orders --port \"$2\" \
                   generic hpack http2/3.5/1 http2/4 http2/5 http2/6 http2/7 http2/8";

/// Set by CI where h2spec cannot be built.
const WITHOUT: &str = "WEFT_TESTS_WITHOUT_H2SPEC";

#[tokio::test]
async fn a_sidecar_conforms() {
    if std::env::var_os(WITHOUT).is_some() || !require(&["h2spec", "unshare"]) {
        return;
    }
    let control_plane = ControlPlane::start().await;
    // Its answer has more bytes than the window that h2spec leaves it.
    let orders = Workload::start(&control_plane, "orders", "answers-with-many-bytes").await;
    let caller = control_plane.sidecar("caller").start().await;
    let port = caller.outbound().port();
    control_plane
        .apply(&format!(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: MeshService\n\
             metadata: {{name: orders}}\n\
             spec: {{workloads: {{service: orders}}, ports: [{{port: {port}, protocol: http2}}]}}\n"
        ))
        .await;
    assert_eq!(get_h2(caller.outbound(), &format!("http://orders:{port}/")).await.status, 200);

    let hosts = control_plane.folder().file("hosts", "127.0.0.1 localhost orders\n");
    let mut h2spec = tokio::process::Command::new("unshare");
    h2spec.args(["--user", "--map-root-user", "--mount", "sh", "-c", RUN, "sh", &hosts, &port.to_string()]);
    let output = h2spec.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{told}");
    assert!(report.contains(" 0 skipped, 0 failed"), "{report}");
    assert!(orders.app.answered() > 10, "the application was behind it");
    assert!(
        caller.metric("weft_connections_refused_total{direction=\"outbound\",reason=\"h2_protocol_error\"}").await
            > 10.0
    );
}
