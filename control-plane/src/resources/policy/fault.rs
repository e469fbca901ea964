//! Failures that are made on purpose, for tests.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{
    policy::{Abort, Delay, Fault},
    route::{HeaderMatch, ValueMatch},
};

use super::{amounts::Percent, check_positive, grpc_code::read_grpc_code};
use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
    route::read_header_name,
};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct WrittenFault {
    /// Only of requests that have it.
    header: Option<WrittenHeader>,
    delay: Option<WrittenDelay>,
    abort: Option<WrittenAbort>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenHeader {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenDelay {
    duration: Duration,
    percent: Option<Percent>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenAbort {
    status: Option<i64>,
    grpc_code: Option<String>,
    percent: Option<Percent>,
}

impl WrittenFault {
    pub fn read(self, path: &Path, report: &mut Report) -> Fault {
        if self.delay.is_none() && self.abort.is_none() {
            report.error(path, "expected at least one of delay and abort");
        }
        Fault {
            header: self.header.and_then(|written| written.read(&path.field("header"), report)),
            delay: self.delay.map(|written| written.read(&path.field("delay"), report)),
            abort: self.abort.map(|written| written.read(&path.field("abort"), report)),
        }
    }
}

impl WrittenHeader {
    fn read(self, path: &Path, report: &mut Report) -> Option<HeaderMatch> {
        let name = read_header_name(&self.name, &path.field("name"), report)?;
        Some(HeaderMatch { name, value: ValueMatch::Exact(self.value) })
    }
}

impl WrittenDelay {
    fn read(self, path: &Path, report: &mut Report) -> Delay {
        check_positive(self.duration, &path.field("duration"), report);
        let share = self.percent.unwrap_or(Percent::ALL);
        Delay { of: self.duration.0, per_million: share.per_million }
    }
}

impl WrittenAbort {
    fn read(self, path: &Path, report: &mut Report) -> Abort {
        if self.status.is_none() && self.grpc_code.is_none() {
            report.error(path, "expected at least one of status and grpcCode");
        }
        let status = self.status.and_then(|written| {
            let status = u16::try_from(written).ok().filter(|status| (200..=599).contains(status));
            if status.is_none() {
                let reason = format!("a request is answered with a status from 200 to 599, not {written}");
                report.error(&path.field("status"), reason);
            }
            StatusCode::from_u16(status?).ok()
        });
        let grpc_code = self.grpc_code.and_then(|name| read_grpc_code(&name, &path.field("grpcCode"), report));
        let share = self.percent.unwrap_or(Percent::ALL);
        Abort { status: status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), grpc_code, per_million: share.per_million }
    }
}
