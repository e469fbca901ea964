//! What a service may be given at a time, by each sidecar.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::Bulkhead;

use super::check_positive;
use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[schemars(range(min = 1))]
    max_connections: Option<u32>,
    #[schemars(range(min = 1))]
    max_requests: Option<u32>,
    max_waiting: Option<u32>,
    max_wait: Option<Duration>,
    adaptive: Option<WrittenAdaptive>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct WrittenAdaptive {
    #[schemars(range(min = 1))]
    min: u32,
}

impl Written {
    pub fn read(self, path: &Path, report: &mut Report) -> Bulkhead {
        let waits = self.max_waiting.is_some_and(|waiting| waiting > 0);
        if self.max_connections.is_none() && self.max_requests.is_none() {
            report.error(path, "expected at least one of maxConnections and maxRequests");
        } else if self.max_requests.is_none() {
            let hint = || "add maxRequests".to_owned();
            if waits {
                let reason = "requests wait for one of maxRequests to end, and without it there is none";
                report.error_with_hint(&path.field("maxWaiting"), reason, hint());
            }
            if self.adaptive.is_some() {
                let reason = "the limit adapts between adaptive.min and maxRequests, and without it there is none";
                report.error_with_hint(&path.field("adaptive"), reason, hint());
            }
        }
        if let Some(wait) = self.max_wait {
            check_positive(wait, &path.field("maxWait"), report);
            if !waits {
                let hint = "add maxWaiting".to_owned();
                report.error_with_hint(&path.field("maxWait"), "no request may wait", hint);
            }
        }
        if let (Some(adaptive), Some(most)) = (&self.adaptive, self.max_requests)
            && adaptive.min > most
        {
            let reason = format!("{} is more than maxRequests, {most}", adaptive.min);
            report.error(&path.field("adaptive").field("min"), reason);
        }
        Bulkhead {
            max_connections: self.max_connections,
            max_requests: self.max_requests,
            max_waiting: self.max_waiting.unwrap_or(0),
            max_wait: self.max_wait.map(|wait| wait.0),
            adaptive_min: self.adaptive.map(|adaptive| adaptive.min),
        }
    }
}
