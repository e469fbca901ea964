//! HTTP as the sidecar needs it: serving a connection, a pool of connections to endpoints, bodies, headers.

pub mod answer;
pub mod body;
pub mod client;
pub mod headers;
pub mod http1;
pub mod pool;
pub mod proxy_status;
pub mod server;
pub mod upgrade;
