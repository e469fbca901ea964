//! Programs as they are used everywhere, none of which knows of a mesh: each module starts a server in a pod
//! (`serve`), and has a client in another pod speak with it (`talk`), which panics if anything is not as it must be.
//!
//! The client says only by what name or address it connects. What both sides send holds a marker, once in each
//! direction at least, so that a capture can tell whether it could be read on the way.

mod bytes;
mod grpc;
mod mail;
mod mariadb;
mod postgres;
mod redis;
mod web;
mod websocket;

pub use bytes::{Bytes, Datagrams, Iperf};
pub use grpc::Grpc;
pub use mail::Mail;
pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use redis::Redis;
pub use web::Web;
pub use websocket::WebSocket;

/// A word that occurs nowhere else.
pub fn marker() -> String {
    format!("marker-{:032x}", rand::random::<u128>())
}

/// An address of IPv6 in the brackets that URLs and socat want around it.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
