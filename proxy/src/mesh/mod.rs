//! The configuration in use: what the control plane said, as live objects that requests find without a lock.
//!
//! `store` decides when something new takes effect, `compile` makes the live objects and keeps the state of those
//! that stay. Discovery writes here, the outbound and the inbound path read.

pub mod backend;
pub mod compile;
pub mod store;

pub use backend::Backend;
pub use compile::Destination;
pub use store::Store;
