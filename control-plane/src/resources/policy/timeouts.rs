//! Limits on the time of a request, and which of them can hold beside each other.

use std::time;

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::Timeouts;

use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WrittenTimeouts {
    /// Toward a service; the others are about requests.
    pub connect: Option<Duration>,
    request: Option<Duration>,
    backend_request: Option<Duration>,
    response_header: Option<Duration>,
    idle: Option<Duration>,
    total: Option<Duration>,
}

/// `None` is what a less special place says, zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutsSpec {
    pub request: Option<time::Duration>,
    pub backend_request: Option<time::Duration>,
    pub response_header: Option<time::Duration>,
    pub idle: Option<time::Duration>,
    pub total: Option<time::Duration>,
}

impl WrittenTimeouts {
    pub fn is_about_requests(&self) -> bool {
        self.spec() != TimeoutsSpec::default()
    }

    pub fn read(&self, path: &Path, report: &mut Report) -> TimeoutsSpec {
        let spec = self.spec();
        spec.check(path, report);
        spec
    }

    fn spec(&self) -> TimeoutsSpec {
        let plain = |duration: Option<Duration>| duration.map(|duration| duration.0);
        TimeoutsSpec {
            request: plain(self.request),
            backend_request: plain(self.backend_request),
            response_header: plain(self.response_header),
            idle: plain(self.idle),
            total: plain(self.total),
        }
    }
}

impl TimeoutsSpec {
    /// A limit that another one always comes before is a mistake.
    pub(crate) fn check(&self, path: &Path, report: &mut Report) {
        let longer = |one: Option<time::Duration>, other: Option<time::Duration>| match (one, other) {
            (Some(one), Some(other)) => one > other && !other.is_zero(),
            _ => false,
        };
        if longer(self.backend_request, self.request) {
            let reason = "one attempt may not take longer than the request that it is a part of (timeouts.request)";
            report.error(&path.field("backendRequest"), reason);
        }
        if longer(self.response_header, self.request) {
            let reason =
                "the wait for a response may not take longer than the request that it is a part of (timeouts.request)";
            report.error(&path.field("responseHeader"), reason);
        } else if longer(self.response_header, self.backend_request) {
            let reason = "the wait for a response may not take longer than the attempt that it is a part of (timeouts.backendRequest)";
            report.error(&path.field("responseHeader"), reason);
        }
        for (name, part) in [("request", self.request), ("backendRequest", self.backend_request)] {
            if longer(part, self.total) {
                let reason =
                    format!("it ends with the response's last byte, and may not be shorter than timeouts.{name}");
                return report.error(&path.field("total"), reason);
            }
        }
    }

    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: Timeouts) -> Timeouts {
        let limit = |said: Option<time::Duration>, base| match said {
            None => base,
            Some(timeout) => (!timeout.is_zero()).then_some(timeout),
        };
        Timeouts {
            request: limit(self.request, base.request),
            request_is_default: base.request_is_default && self.request.is_none(),
            backend_request: limit(self.backend_request, base.backend_request),
            response_header: limit(self.response_header, base.response_header),
            idle: limit(self.idle, base.idle),
            total: limit(self.total, base.total),
        }
    }
}
