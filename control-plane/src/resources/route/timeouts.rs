//! Limits on the time of a rule's requests.

use gateway_api::experimental::httproutes::HttpRouteRulesTimeouts;

use crate::resources::{
    duration::parse_duration,
    policy::TimeoutsSpec,
    problem::{Path, Report},
};

pub(super) fn read_timeouts(written: &HttpRouteRulesTimeouts, path: &Path, report: &mut Report) -> TimeoutsSpec {
    let mut read = |written: &Option<String>, name: &str| {
        let parsed = parse_duration(written.as_deref()?);
        parsed.map_err(|reason| report.error(&path.field(name), reason)).ok()
    };
    let request = read(&written.request, "request");
    let backend_request = read(&written.backend_request, "backendRequest");
    let timeouts = TimeoutsSpec { request, backend_request, ..TimeoutsSpec::default() };
    timeouts.check(path, report);
    timeouts
}
