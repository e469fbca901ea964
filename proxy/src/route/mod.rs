//! Which rule a request falls under, and which backend of the rule gets it. Pure: values in, values out.
//!
//! Called by the outbound path. What then happens to the request is written in the rule and done there.

pub mod matcher;
pub mod split;
pub mod table;

pub use matcher::Matcher;
pub use split::Split;
pub use table::{Matched, RouteTable};
