//! HTTP as the sidecar needs it: serving a connection, a pool of connections to endpoints, bodies, headers.

pub mod answer;
pub mod body;
pub mod client;
pub mod head_guard;
pub mod headers;
pub mod pool;
pub mod proxy_status;
pub mod refused_head;
pub mod server;
pub mod upgrade;
