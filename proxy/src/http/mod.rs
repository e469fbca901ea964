//! HTTP as the sidecar needs it: serving a connection, a pool of connections to endpoints, bodies, headers.

pub mod answer;
pub mod body;
pub mod cache;
pub mod client;
pub mod headers;
pub mod http1;
pub mod key;
pub mod lent;
pub mod limited;
pub mod pool;
pub mod proxy_status;
pub mod refuse;
pub mod replay;
pub mod server;
pub mod tap;
pub mod upgrade;
mod websocket;

#[cfg(test)]
mod tests;
