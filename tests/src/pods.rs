//! Pods: each with a network namespace, addresses, an application's user and a proxy's user of its own, and perhaps a
//! sidecar that takes its traffic without being asked.
//!
//! A [`Network`] is a bridge in a namespace of its own; every [`Pod`] hangs on it by a cable (veth). Nothing of this
//! touches the machine's own network, addresses, firewall or files below /etc, and all of it goes when the values are
//! dropped. A [`Mesh`] is a network with a control plane in a pod, and a [`MeshPod`] a pod with a sidecar in it.
//!
//! [`software`] are the programs that pods run and call, each as it is used without a mesh: whoever calls says only by
//! what name or address. A [`Capture`] is what somebody on the wire sees.
//!
//! All of it needs root: a test asks [`require_pods`] first.

mod capture;
mod gate;
pub mod load;
mod mesh;
mod mesh_pod;
mod namespace;
mod network;
mod pod;
mod python;
pub mod software;

pub use capture::{Capture, Captured};
pub use gate::require_pods;
pub use load::LoadRun;
pub use mesh::Mesh;
pub use mesh_pod::{MeshPod, MeshPodBuilder};
pub use network::Network;
pub use pod::{Pod, User};
pub use python::require_pods_with_python;
