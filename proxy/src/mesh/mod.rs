//! The configuration in use: what the control plane said, as live objects that requests find without a lock.
//!
//! `store` decides when something new takes effect, `compile` makes the live objects and keeps the state of those
//! that stay, `lookup` keeps what addresses and host names lead to. Discovery writes here, the outbound and the inbound
//! path read.

pub mod backend;
pub mod compile;
pub mod limits;
pub mod lookup;
pub mod shaping;
pub mod speech;
pub mod store;

pub use backend::Backend;
pub use compile::Destination;
pub use shaping::Shaping;
pub use store::Store;
