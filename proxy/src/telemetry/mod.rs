//! What the sidecar tells about itself: metrics, the access log, the log. Nothing here decides anything.

pub mod access_log;
pub mod exchange;
pub mod log;
pub mod metrics;

pub use access_log::AccessLog;
pub use exchange::Exchange;
pub use metrics::Metrics;
