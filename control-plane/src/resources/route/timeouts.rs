//! Limits on the time of a rule's requests.

use std::time::Duration;

use gateway_api::httproutes::HttpRouteRulesTimeouts;

use super::RouteTimeouts;
use crate::resources::{
    duration::parse_duration,
    problem::{Path, Report},
};

pub(super) fn read_timeouts(written: &HttpRouteRulesTimeouts, path: &Path, report: &mut Report) -> RouteTimeouts {
    let mut read = |written: &Option<String>, name: &str| {
        let parsed = parse_duration(written.as_deref()?);
        parsed.map_err(|reason| report.error(&path.field(name), reason)).ok()
    };
    let request = read(&written.request, "request");
    let backend_request = read(&written.backend_request, "backendRequest");
    // Zero is no limit of its own, for either of them.
    if let (Some(whole), Some(attempt)) = (request, backend_request)
        && whole != Duration::ZERO
        && attempt > whole
    {
        let reason = "one attempt may not take longer than the request that it is a part of (timeouts.request)";
        report.error(&path.field("backendRequest"), reason);
    }
    RouteTimeouts { request, backend_request }
}
