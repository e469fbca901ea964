//! Retries as a rule of an `HTTPRoute` says them (GEP-1731).

use gateway_api::experimental::httproutes::HttpRouteRulesRetry;
use weft_proxy_api::policy::Backoff;

use crate::resources::{
    duration::parse_duration,
    policy::{RetrySpec, read_attempts, read_status},
    problem::{Path, Report},
};

pub(super) fn read_retry(written: HttpRouteRulesRetry, path: &Path, report: &mut Report) -> RetrySpec {
    let backoff = written.backoff.and_then(|text| {
        let parsed = parse_duration(&text);
        parsed.map_err(|reason| report.error(&path.field("backoff"), reason)).ok()
    });
    let codes = path.field("codes");
    RetrySpec {
        attempts: written.attempts.and_then(|attempts| read_attempts(attempts, &path.field("attempts"), report)),
        statuses: written.codes.map(|written| {
            let each = written.into_iter().enumerate();
            each.filter_map(|(index, code)| read_status(code, &codes.index(index), report)).collect()
        }),
        // "As long as unsuccessful backend requests are not retried before the configured minimum duration": which rules
        // out a random wait from 0.
        backoff: backoff.map(|wait| if wait.is_zero() { Backoff::None } else { Backoff::Fixed(wait) }),
        ..RetrySpec::default()
    }
}
