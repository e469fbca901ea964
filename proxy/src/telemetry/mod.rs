//! What the sidecar tells about itself: metrics, the access log, the log. Nothing here decides anything.

pub mod access_log;
pub mod bulkhead;
pub mod carriage;
pub mod exchange;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod shaping;

pub use access_log::AccessLog;
pub use carriage::Carriage;
pub use exchange::Exchange;
pub use limits::LimitMetrics;
pub use metrics::Metrics;
pub use shaping::ShapingMetrics;
