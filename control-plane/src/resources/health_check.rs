//! What a `MeshService` says about the health of the applications behind one of its ports.

use std::time;

use http::{StatusCode, uri::PathAndQuery};
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::{CheckKind, HealthCheck};

use super::{
    duration::Duration,
    problem::{Path, Report},
};

/// As it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    http: Option<WrittenHttp>,
    grpc: Option<WrittenGrpc>,
    tcp: Option<WrittenTcp>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    #[schemars(range(min = 1))]
    healthy_threshold: Option<u32>,
    #[schemars(range(min = 1))]
    unhealthy_threshold: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenHttp {
    path: String,
    host: Option<String>,
    #[schemars(inner(range(min = 200, max = 599)))]
    #[serde(default)]
    statuses: Vec<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenGrpc {
    #[serde(default)]
    service: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("properties" = {}))]
struct WrittenTcp {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSpec {
    /// `None`: the one of the traffic.
    port: Option<u16>,
    kind: CheckKind,
    interval: time::Duration,
    timeout: time::Duration,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
}

const INTERVAL: time::Duration = time::Duration::from_secs(2);
const TIMEOUT: time::Duration = time::Duration::from_secs(1);
const HEALTHY_THRESHOLD: u32 = 1;
const UNHEALTHY_THRESHOLD: u32 = 2;

impl HealthCheckSpec {
    /// For a workload whose traffic comes to this port.
    pub fn at(&self, own_port: u16) -> HealthCheck {
        HealthCheck {
            port: self.port.unwrap_or(own_port),
            traffic_port: Some(own_port),
            kind: self.kind.clone(),
            interval: self.interval,
            timeout: self.timeout,
            healthy_threshold: self.healthy_threshold,
            unhealthy_threshold: self.unhealthy_threshold,
        }
    }
}

impl Written {
    pub fn read(self, path: &Path, report: &mut Report) -> Option<HealthCheckSpec> {
        let (interval, timeout) = times(self.interval, self.timeout, path, report);
        let kind = match (self.http, self.grpc, self.tcp) {
            (Some(http), None, None) => http.read(&path.field("http"), report),
            (None, Some(grpc), None) => CheckKind::Grpc { service: grpc.service },
            (None, None, Some(WrittenTcp {})) => CheckKind::Tcp,
            (None, None, None) => {
                let hint = "add one of http, grpc, tcp".to_owned();
                report.error_with_hint(path, "nothing says how the application is checked", hint);
                return None;
            }
            _ => {
                report.error(path, "an application is checked by exactly one of http, grpc and tcp, not by several");
                return None;
            }
        };
        Some(HealthCheckSpec {
            port: self.port,
            kind,
            interval,
            timeout,
            healthy_threshold: self.healthy_threshold.unwrap_or(HEALTHY_THRESHOLD),
            unhealthy_threshold: self.unhealthy_threshold.unwrap_or(UNHEALTHY_THRESHOLD),
        })
    }
}

/// The interval and the timeout. Where only one of them is written, the default of the other gives way.
fn times(
    interval: Option<Duration>,
    timeout: Option<Duration>,
    path: &Path,
    report: &mut Report,
) -> (time::Duration, time::Duration) {
    for (duration, field) in [(interval, "interval"), (timeout, "timeout")] {
        if duration.is_some_and(|duration| duration.0.is_zero()) {
            report.error(&path.field(field), "must be more than 0s");
        }
    }
    if let (Some(interval), Some(timeout)) = (interval, timeout)
        && timeout > interval
        && !interval.0.is_zero()
    {
        report.error(&path.field("timeout"), format!("{timeout} is more than the interval of {interval}"));
    }
    let written = timeout.map_or(TIMEOUT, |timeout| timeout.0);
    let interval = interval.map_or_else(|| INTERVAL.max(written), |interval| interval.0);
    (interval, written.min(interval))
}

impl WrittenHttp {
    fn read(self, path: &Path, report: &mut Report) -> CheckKind {
        let at = path.field("path");
        if !self.path.starts_with('/') {
            report.error(&at, format!("{:?} is not a path: it starts with /", self.path));
        } else if self.path.contains('#') || self.path.parse::<PathAndQuery>().is_err() {
            report.error(&at, format!("{:?} is not a path of a request", self.path));
        }
        if let Some(host) = &self.host
            && host.parse::<http::uri::Authority>().is_err()
        {
            report.error(&path.field("host"), format!("{host:?} is not a host"));
        }
        // Those out of range are reported already.
        let statuses = self.statuses.into_iter().filter_map(|status| StatusCode::from_u16(status).ok()).collect();
        CheckKind::Http { path: self.path, host: self.host, statuses }
    }
}
