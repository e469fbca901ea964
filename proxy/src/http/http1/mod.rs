//! HTTP/1.1 (RFC 9112), both sides of it.
//!
//! A connection is served by one task, and the connection to the endpoint is moved by the same task: an answer wakes
//! who waits for it and nobody else, and nothing is handed through channels. Every byte is read once, strictly: what
//! two readers could frame differently is refused (request smuggling). hyper speaks HTTP/2; its HTTP/1.1 has a task and
//! two channels for each upstream connection, lets the shapes of smuggling pass, and on the path that every request
//! takes was half of the user time (docs/benchmarks.md).
//!
//! An idle connection holds a socket and its TLS state, no buffers.

mod caller;
mod client;
mod connection;
mod date;
mod decoder;
mod encoder;
mod head;
mod outgoing;
mod refusal;
mod request_body;
mod sending;
mod server;
mod watch;

pub use client::{Answer, Unanswered, send};
pub use connection::Connection;
pub use refusal::Refusal;
pub use request_body::RequestBody;
pub use server::{LINGER, LINGER_BYTES, refuse, serve};

/// Why a message broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the connection was closed before the message was complete")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the message is malformed: {0}")]
    Malformed(Refusal),
    /// What is sent broke off at its source, or is not as long as it says.
    #[error("the body broke off or is malformed")]
    Body,
}

impl Error {
    fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Malformed(refusal) => Some(*refusal),
            Self::Closed | Self::Io(_) | Self::Body => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
