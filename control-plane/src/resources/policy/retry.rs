//! Which requests are sent again, and what that may add to the load of a service.

use std::time;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::{Backoff, Hedge, Retry, RetryBudget};

use super::{
    amounts::Size,
    check_positive,
    grpc_code::{self, read_grpc_code},
};
use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
};

const MOST_ATTEMPTS: u32 = 10;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WrittenRetry {
    /// After the first. 0: none.
    attempts: Option<u32>,
    when: Option<WrittenWhen>,
    backoff: Option<WrittenBackoff>,
    any_method: Option<bool>,
    max_body: Option<Size>,
    max_retry_after: Option<Duration>,
    hedge: Option<WrittenHedge>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenWhen {
    statuses: Option<Vec<i64>>,
    grpc_codes: Option<Vec<String>>,
    reset: Option<bool>,
    timeout: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenBackoff {
    r#type: Option<BackoffType>,
    base: Option<Duration>,
    max: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum BackoffType {
    None,
    Fixed,
    Exponential,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenHedge {
    after: Duration,
    #[schemars(range(min = 1, max = 10))]
    attempts: Option<u32>,
}

/// Any part of what is known about retries, over other parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrySpec {
    pub attempts: Option<u32>,
    pub statuses: Option<Vec<StatusCode>>,
    pub grpc_codes: Option<Vec<u32>>,
    pub on_reset: Option<bool>,
    pub on_timeout: Option<bool>,
    pub backoff: Option<Backoff>,
    pub any_method: Option<bool>,
    pub max_body_bytes: Option<u64>,
    pub max_retry_after: Option<time::Duration>,
    pub hedge: Option<Hedge>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudgetSpec {
    #[schemars(range(min = 0, max = 100))]
    percent: Option<u32>,
    min_per_second: Option<u32>,
}

impl WrittenRetry {
    pub fn read(self, path: &Path, report: &mut Report) -> RetrySpec {
        let when = self.when.unwrap_or_default();
        let at = path.field("when");
        let attempts = self.attempts.and_then(|written| read_attempts(written.into(), &path.field("attempts"), report));
        let spec = RetrySpec {
            attempts,
            statuses: when.statuses.map(|written| {
                let each = (0..).zip(written);
                each.filter_map(|(index, status)| read_status(status, &at.field("statuses").index(index), report))
                    .collect()
            }),
            grpc_codes: when.grpc_codes.map(|written| {
                let each = (0..).zip(written);
                each.filter_map(|(index, name)| read_failure(&name, &at.field("grpcCodes").index(index), report))
                    .collect()
            }),
            on_reset: when.reset,
            on_timeout: when.timeout,
            backoff: self.backoff.and_then(|written| written.read(&path.field("backoff"), report)),
            any_method: self.any_method,
            max_body_bytes: self.max_body.map(|size| size.0),
            max_retry_after: self.max_retry_after.map(|duration| duration.0),
            hedge: self.hedge.map(|written| written.read(&path.field("hedge"), report)),
        };
        spec.check_hedge(&path.field("hedge"), report);
        spec
    }
}

/// How often a request is sent after the first time.
pub fn read_attempts(written: i64, path: &Path, report: &mut Report) -> Option<u32> {
    let attempts = u32::try_from(written).ok().filter(|attempts| *attempts <= MOST_ATTEMPTS);
    if attempts.is_none() {
        let reason = format!("from 0 to {MOST_ATTEMPTS} retries, not {written}: each is load for a service that fails");
        report.error(path, reason);
    }
    attempts
}

/// A status that can stand for a failure.
pub fn read_status(written: i64, path: &Path, report: &mut Report) -> Option<StatusCode> {
    let status = u16::try_from(written).ok().filter(|status| (400..=599).contains(status));
    if status.is_none() {
        report.error(path, format!("a status that is retried is from 400 to 599, unlike {written}"));
    }
    StatusCode::from_u16(status?).ok()
}

fn read_failure(name: &str, path: &Path, report: &mut Report) -> Option<u32> {
    let code = read_grpc_code(name, path, report)?;
    if code == grpc_code::OK {
        report.error(path, "OK is no failure that could be retried");
    }
    Some(code)
}

impl WrittenBackoff {
    fn read(self, path: &Path, report: &mut Report) -> Option<Backoff> {
        if let Some(base) = self.base {
            check_positive(base, &path.field("base"), report);
        }
        let kind = self.r#type.unwrap_or(BackoffType::Exponential);
        let unused = match kind {
            BackoffType::None => vec![("base", self.base), ("max", self.max)],
            BackoffType::Fixed => vec![("max", self.max)],
            BackoffType::Exponential => Vec::new(),
        };
        for (name, _) in unused.into_iter().filter(|(_, written)| written.is_some()) {
            report.error(&path.field(name), format!("{name} has no effect beside the type {kind:?}"));
        }
        match (kind, self.base) {
            (BackoffType::None, _) => Some(Backoff::None),
            (BackoffType::Fixed, Some(base)) => Some(Backoff::Fixed(base.0)),
            (BackoffType::Fixed, None) => {
                report.error_with_hint(path, "a wait that is fixed has a base", "add base: 100ms".to_owned());
                None
            }
            (BackoffType::Exponential, base) => Some(exponential(base, self.max, path, report)),
        }
    }
}

/// What is left out is in the same proportion to the other as in the defaults.
fn exponential(base: Option<Duration>, max: Option<Duration>, path: &Path, report: &mut Report) -> Backoff {
    const GROWTH: u32 = 10;
    let (base, max) = match (base, max) {
        (None, None) => return Retry::default().backoff,
        (Some(base), Some(max)) => (base, max),
        (Some(base), None) => (base, Duration(base.0.saturating_mul(GROWTH))),
        (None, Some(max)) => {
            let millis = u64::try_from(max.0.as_millis()).unwrap_or(u64::MAX) / u64::from(GROWTH);
            (Duration(time::Duration::from_millis(millis.max(1))), max)
        }
    };
    if max <= base {
        let hint = "for a wait that does not grow, write type: Fixed".to_owned();
        report.error_with_hint(&path.field("max"), format!("{max} is not more than the base of {base}"), hint);
    }
    Backoff::Exponential { base: base.0, max: max.0 }
}

impl WrittenHedge {
    fn read(self, path: &Path, report: &mut Report) -> Hedge {
        check_positive(self.after, &path.field("after"), report);
        Hedge { after: self.after.0, attempts: self.attempts.unwrap_or(1) }
    }
}

impl RetrySpec {
    fn check_hedge(&self, path: &Path, report: &mut Report) {
        let Some(hedge) = self.hedge else { return };
        match self.attempts {
            Some(0) => report.error(path, "hedged requests count as retries, of which attempts allows none"),
            Some(attempts) if hedge.attempts > attempts => {
                let reason = format!("hedged requests count as retries, of which attempts allows {attempts}");
                report.error(&path.field("attempts"), reason);
            }
            _ => {}
        }
        if self.any_method == Some(true) {
            let reason =
                "a hedged request is done twice as a rule, so that it is for idempotent methods: not with anyMethod";
            report.error(path, reason);
        }
    }

    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: Retry) -> Retry {
        Retry {
            attempts: self.attempts.unwrap_or(base.attempts),
            statuses: self.statuses.clone().unwrap_or(base.statuses),
            grpc_codes: self.grpc_codes.clone().unwrap_or(base.grpc_codes),
            on_reset: self.on_reset.unwrap_or(base.on_reset),
            on_timeout: self.on_timeout.unwrap_or(base.on_timeout),
            backoff: self.backoff.unwrap_or(base.backoff),
            any_method: self.any_method.unwrap_or(base.any_method),
            max_body_bytes: self.max_body_bytes.unwrap_or(base.max_body_bytes),
            max_retry_after: self.max_retry_after.unwrap_or(base.max_retry_after),
            hedge: self.hedge.or(base.hedge),
        }
    }
}

impl RetryBudgetSpec {
    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: RetryBudget) -> RetryBudget {
        RetryBudget {
            percent: self.percent.unwrap_or(base.percent),
            min_per_second: self.min_per_second.unwrap_or(base.min_per_second),
        }
    }
}

/// What all places say together. One may hedge, and another forbid what that needs, or some of it.
pub(super) fn settled(retry: Retry) -> Retry {
    let hedge = retry.hedge.filter(|_| retry.attempts > 0 && !retry.any_method);
    let hedge = hedge.map(|hedge| Hedge { attempts: hedge.attempts.min(retry.attempts), ..hedge });
    Retry { hedge, ..retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedging_is_held_against_what_all_places_say_together() {
        let hedge = Some(Hedge { after: time::Duration::from_millis(50), attempts: 3 });
        let (default, attempts) =
            (RetrySpec::default(), |attempts| RetrySpec { attempts: Some(attempts), ..RetrySpec::default() });
        let any_method = |any_method| RetrySpec { any_method: Some(any_method), ..RetrySpec::default() };
        let over = |specs: [RetrySpec; 2]| {
            let base = Retry { hedge, attempts: 4, ..Retry::default() };
            let all = specs.iter().fold(base, |base, spec| spec.over(base));
            settled(all).hedge.map(|hedge| hedge.attempts)
        };
        assert_eq!(over([default.clone(), default.clone()]), Some(3));
        assert_eq!(over([default.clone(), attempts(2)]), Some(2));
        assert_eq!(over([default.clone(), attempts(0)]), None);
        assert_eq!(over([default.clone(), any_method(true)]), None);
        assert_eq!(over([attempts(0), attempts(5)]), Some(3), "a more special place allows it again");
        assert_eq!(over([any_method(true), any_method(false)]), Some(3));
    }

    #[test]
    fn a_wait_grows_to_ten_times_its_base() {
        let millis = |millis| Some(Duration(time::Duration::from_millis(millis)));
        let mut report = Report::default();
        let mut wait = |base, max| match exponential(base, max, &Path::spec(), &mut report) {
            Backoff::Exponential { base, max } => (base.as_millis(), max.as_millis()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(None, None), (25, 250));
        assert_eq!(wait(millis(100), None), (100, 1000));
        assert_eq!(wait(None, millis(15)), (1, 15));
        assert_eq!(wait(millis(3), millis(7)), (3, 7));
        wait(None, millis(1));
        wait(None, millis(0));
        let said: Vec<&str> = report.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert_eq!(said, ["1ms is not more than the base of 1ms", "0s is not more than the base of 1ms"]);
    }
}
