//! What pods of the mesh call that is not in it.

use std::net::IpAddr;

use weft_tests::pods::{
    Capture, Mesh, MeshPod, Pod, require_pods,
    software::{Redis, Web, marker},
};

const OUTSIDE: &str = "203.0.113.7";
const OUTSIDE_V6: &str = "2001:db8::7";
const SHOP: &str = "shop.example";
const OTHER: &str = "other.example";

const EDGE: &str = "apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: edge, namespace: shop}
spec: {static: [{address: '203.0.113.7:443'}], ports: [{port: 443, protocol: tls}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: edge, namespace: shop}
spec:
  parentRefs: [{kind: MeshService, name: edge}]
  hostnames: [shop.example]
  rules: [{backendRefs: [{kind: MeshService, name: edge, port: 443}]}]
";

/// A pod of the mesh, and one outside.
async fn start() -> (MeshPod, Pod, Mesh) {
    let mesh = Mesh::start().await;
    let outside = mesh.stranger("outside");
    outside.is_also(OUTSIDE.parse().unwrap(), "203.0.113.0/24");
    outside.is_also(OUTSIDE_V6.parse().unwrap(), "2001:db8::/64");
    (mesh.pod("client").start().await, outside, mesh)
}

fn egress(what: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {{name: default}}\nspec: {{egress: {what}}}\n")
}

#[tokio::test]
async fn everything_may_leave_the_mesh_until_it_may_not() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS, Redis::PROGRAMS].concat()) {
        return;
    }
    let (client, outside, mesh) = start().await;
    client.knows(SHOP, OUTSIDE.parse::<IpAddr>().unwrap());
    let marker = marker();
    let web = Web::serve(&outside, &marker, &[SHOP]).await;
    let redis = Redis::serve(&outside, &marker).await;
    for way in [SHOP, OUTSIDE, OUTSIDE_V6] {
        let capture = Capture::start(&outside).await;
        web.talk(&client, way).await;
        redis.talk(&client, way).await;
        assert!(capture.finish().await.contains(&marker), "it leaves as it is");
    }
    web.talk_tls(&client, SHOP).await;

    mesh.control_plane().apply(&egress("deny")).await;
    for host in [SHOP, OUTSIDE, "[2001:db8::7]"] {
        let url = format!("http://{host}/hello.txt");
        let refused = client.run(&["curl", "--silent", "--include", "--max-time", "20", &url]).await;
        assert!(refused.stdout.starts_with("HTTP/1.1 403") && refused.stdout.contains("egress"), "{refused:?}");
    }
    let url = format!("https://{SHOP}/hello.txt");
    let refused = client.run(&["curl", "--silent", "--cacert", web.certificate(), "--max-time", "20", &url]).await;
    assert!(refused.code != 0 && refused.stdout.is_empty(), "{refused:?}");
    let refused = client.run(&["redis-cli", "-h", OUTSIDE, "ping"]).await;
    assert!(!refused.stdout.contains("PONG"), "{refused:?}");
    assert_eq!(client.metric_sum("weft_failures_total", &["egress_denied"]).await, 5.0);
}

/// A service of the mesh whose endpoint is outside may be called although nothing else may: here only under one of its
/// names, which stands in the client's hello. The TLS is between the client and the server outside.
#[tokio::test]
async fn a_server_name_decides() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let (client, outside, mesh) = start().await;
    let marker = marker();
    let web = Web::serve(&outside, &marker, &[SHOP, OTHER]).await;
    mesh.control_plane().apply(&format!("{}---\n{EDGE}", egress("deny"))).await;
    let edge = client.run(&["getent", "ahostsv4", "edge"]).await.expect_ok();
    let edge: IpAddr = edge.split(' ').next().unwrap().parse().unwrap();
    client.knows(SHOP, edge);
    client.knows(OTHER, edge);
    let capture = Capture::start(&outside).await;
    web.talk_tls(&client, SHOP).await;
    let captured = capture.finish().await;
    assert!(captured.contains(SHOP) && !captured.contains(&marker), "the client's own TLS, as it is");

    let url = format!("https://{OTHER}/hello.txt");
    let refused = client.run(&["curl", "--silent", "--cacert", web.certificate(), "--max-time", "20", &url]).await;
    assert!(refused.code != 0 && refused.stdout.is_empty(), "no route is for that name: {refused:?}");
    assert_eq!(client.metric_sum("weft_failures_total", &["no_route"]).await, 1.0);
}
