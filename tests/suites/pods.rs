//! Pods: programs in network namespaces of their own, whose traffic the mesh takes without being asked.

mod autobahn;
mod churn;
mod edges;
mod egress;
mod in_the_mesh;
mod network;
mod pair;
mod several_ports;
mod soak;
mod strangers;
mod transparent;
mod without_the_mesh;
