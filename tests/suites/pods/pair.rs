//! Two pods of a mesh, a server's and a client's, and what must hold of every conversation between them.

use weft_tests::pods::{Capture, Mesh, MeshPod};

/// The server's pod, and its service in the namespace `shop`.
pub const NAME: &str = "db";
pub const NAMES: [&str; 3] = ["db", "db.shop", "db.shop.mesh"];
pub const CALLER: &str = "spiffe://weft.local/ns/shop/sa/client";

pub struct Pair {
    pub server: MeshPod,
    pub client: MeshPod,
    pub mesh: Mesh,
    port: u16,
}

impl Pair {
    /// The application that listens on `port` is yet to be started.
    pub async fn start(port: u16) -> Self {
        let mesh = Mesh::start().await;
        let (server, client) = tokio::join!(mesh.pod(NAME).serves(port).start(), mesh.pod("client").start());
        Self { server, client, mesh, port }
    }

    /// Waits until the application takes part in balancing.
    pub async fn serving(&self) {
        self.mesh.control_plane().serving(NAME, 1).await;
    }

    /// Every name and address by which the client may call the server: names of services, the service's address of
    /// IPv6, and the pod's own address.
    pub async fn ways(&self) -> Vec<String> {
        let v6 = self.client.run(&["getent", "ahostsv6", NAME]).await.expect_ok();
        let v6 = v6.split_whitespace().next().unwrap();
        assert!(v6.contains(':') && !v6.contains("::ffff:"), "no address of IPv6: {v6}");
        NAMES.iter().map(|name| (*name).to_owned()).chain([v6.to_owned(), self.server.v4().to_string()]).collect()
    }

    /// Everything that `talk` does goes through both sidecars, and what it says cannot be read on the way.
    pub async fn out_of_sight(&self, marker: &str, talk: impl Future<Output = ()>) {
        let (out, into, past) = (self.carried_out().await, self.carried_in().await, self.past_the_mesh().await);
        let capture = Capture::start(&self.server).await;
        talk.await;
        let captured = capture.finish().await;
        assert!(!captured.contains(marker), "it could be read on the wire");
        assert!(self.carried_out().await > out, "the client's sidecar carried nothing");
        assert!(self.carried_in().await > into, "the server's sidecar carried nothing");
        assert_eq!(self.past_the_mesh().await, past, "something went past the mesh");
    }

    /// Says what the service's port speaks.
    pub async fn declare(&self, protocol: &str) {
        let port = self.port;
        let service = format!(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: MeshService\n\
             metadata: {{name: {NAME}, namespace: shop}}\n\
             spec: {{workloads: {{service: {NAME}}}, ports: [{{port: {port}, protocol: {protocol}}}]}}\n"
        );
        self.mesh.control_plane().apply(&service).await;
    }

    async fn carried_out(&self) -> f64 {
        let backend = format!("backend=\"shop/{NAME}:{}\"", self.port);
        carried(&self.client, &["direction=\"outbound\"", &backend]).await
    }

    async fn carried_in(&self) -> f64 {
        carried(&self.server, &["direction=\"inbound\"", "backend=\"app\""]).await
    }

    async fn past_the_mesh(&self) -> f64 {
        carried(&self.client, &["backend=\"outside\""]).await
    }
}

/// Requests and connections.
async fn carried(pod: &MeshPod, labels: &[&str]) -> f64 {
    pod.metric_sum("weft_requests_total", labels).await + pod.metric_sum("weft_tcp_connections_total", labels).await
}
