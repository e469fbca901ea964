//! Sockets: where connections come from, and what is spoken on them.

pub mod listener;

/// The protocol of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    Http1,
    Http2,
}
