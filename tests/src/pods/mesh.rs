//! A network with a control plane in a pod of its own.

use std::net::SocketAddr;

use super::{MeshPodBuilder, Network, Pod};
use crate::ControlPlane;

const GRPC: u16 = 15010;
const ADMIN: u16 = 15014;
/// Of all workloads, unless a test says otherwise.
const NAMESPACE: &str = "shop";

pub struct Mesh {
    // Before the pod that it runs in, which takes along whatever runs there.
    control_plane: ControlPlane,
    _pod: Pod,
    network: Network,
}

impl Mesh {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further flags of the control plane.
    pub async fn start_with(flags: &[&str]) -> Self {
        let network = Network::new();
        let pod = network.pod("control");
        let listen = [GRPC, ADMIN].map(|port| SocketAddr::new(pod.v4().into(), port));
        let control_plane = ControlPlane::start_at(pod.place(), network.folder().clone(), flags, listen).await;
        Self { control_plane, _pod: pod, network }
    }

    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// To kill and restart it.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A pod with a sidecar; the workload is named like the pod, in the namespace `shop`.
    pub fn pod(&self, name: &str) -> MeshPodBuilder<'_> {
        MeshPodBuilder::new(self, name, NAMESPACE)
    }

    /// A pod without one.
    pub fn stranger(&self, name: &str) -> Pod {
        self.network.pod(name)
    }
}
