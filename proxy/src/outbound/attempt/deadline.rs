//! When a response must be there: the limits of a request and of each attempt, and a call's own limit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use weft_proxy_api::policy::Timeouts;

use super::request::Sent;
use crate::{
    error::{Kind, ProxyError},
    http::limited::{Limits, Pace},
    mesh::Backend,
    telemetry::exchange::is_grpc,
};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// What limits the time of one request.
#[derive(Clone, Debug)]
pub(in super::super) struct Deadline {
    /// When the response's head must be there, and the limit that this follows from.
    at: Option<(Instant, Level, Duration)>,
    attempt: Option<Duration>,
    response_header: Option<Duration>,
    total: Option<(Instant, Duration)>,
    pace: Option<Arc<Pace>>,
    /// The call has brought a limit, which the callee is told.
    is_told: bool,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Request,
    Total,
    Attempt,
    ResponseHeader,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Total => "total",
            Self::Attempt => "attempt",
            Self::ResponseHeader => "response header",
        }
    }

    /// Whether it is the limit of one attempt, so that there may be another.
    pub(super) fn is_of_attempt(self) -> bool {
        matches!(self, Self::Attempt | Self::ResponseHeader)
    }
}

/// An attempt that was given up.
pub(super) struct TimedOut {
    pub(super) level: Level,
    pub(super) error: ProxyError,
}

impl Deadline {
    /// The built-in limit is for calls that are answered once. A gRPC call may be a stream that is silent for hours; it
    /// brings its own limit in `grpc-timeout`, which the callee enforces as well.
    pub fn start(timeouts: &Timeouts, headers: &HeaderMap, now: Instant) -> Self {
        let (request, is_told) = match is_grpc(headers) {
            false => (timeouts.request, false),
            true => {
                let own = timeouts.request.filter(|_| !timeouts.request_is_default);
                let asked = grpc_timeout(headers);
                ([own, asked].into_iter().flatten().min(), asked.is_some())
            }
        };
        let ends = |level: Level, limit: Option<Duration>| limit.map(|limit| (now + limit, level, limit));
        let (request, total) = (ends(Level::Request, request), ends(Level::Total, timeouts.total));
        Self {
            at: [request, total].into_iter().flatten().min_by_key(|(at, ..)| *at),
            attempt: timeouts.backend_request,
            response_header: timeouts.response_header,
            total: total.map(|(at, _, limit)| (at, limit)),
            pace: timeouts.idle.map(Pace::new),
            is_told,
        }
    }

    /// Whether it must be known when a request was sent whole.
    pub(super) fn watches_sending(&self) -> bool {
        self.response_header.is_some()
    }

    /// When the response's head must be there.
    pub fn at(&self) -> Option<Instant> {
        self.at.map(|(at, ..)| at)
    }

    /// Until the response's head must be there.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.at.map(|(at, ..)| at.saturating_duration_since(now))
    }

    /// Tells the callee of a gRPC call how much of its limit is left (gRPC, "Deadline propagation").
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if self.is_told
            && let Some(left) = self.left(Instant::now())
        {
            headers.insert(GRPC_TIMEOUT, as_grpc_timeout(left));
        }
    }

    /// What limits the bodies; `None`: nothing does.
    pub(super) fn of_bodies(&self, backend: &Backend) -> Option<Limits> {
        let is_limited = self.pace.is_some() || self.total.is_some();
        is_limited.then(|| Limits {
            pace: self.pace.clone(),
            total: self.total.map(|(at, limit)| (at.into(), limit)),
            backend: backend.label.clone(),
        })
    }

    /// Why the request's body broke off, if it reached a limit.
    pub(super) fn stopped_upload(&self) -> Option<ProxyError> {
        let pace = self.pace.as_ref().filter(|pace| pace.is_over())?;
        let details = format_args!("nothing more of the request came for {:?} (the idle timeout)", pace.limit());
        Some(ProxyError::new(Kind::UploadTimeout, details))
    }

    /// Runs one attempt within what is left, and within the limits of a single attempt. No timer is made where there is
    /// no limit.
    pub(super) async fn bound<T>(
        &self,
        backend: &Backend,
        sent: &Sent,
        attempt: impl Future<Output = T> + Unpin,
    ) -> Result<T, TimedOut> {
        let of_attempt = self.attempt.map(|limit| (Instant::now() + limit, Level::Attempt, limit));
        let first = [self.at, of_attempt].into_iter().flatten().min_by_key(|(at, ..)| *at);
        let reached = |level: Level, limit: Duration| timed_out(backend, level, limit);
        match (first, self.response_header) {
            (None, None) => Ok(attempt.await),
            (Some((end, level, limit)), None) => {
                tokio::time::timeout_at(end.into(), attempt).await.map_err(|_| reached(level, limit))
            }
            (first, Some(limit)) => {
                let silence = Box::pin(async {
                    sent.whole().await;
                    tokio::time::sleep(limit).await;
                });
                let end = Box::pin(async {
                    match first {
                        Some((end, ..)) => tokio::time::sleep_until(end.into()).await,
                        None => std::future::pending().await,
                    }
                });
                tokio::select! {
                    biased;
                    done = attempt => Ok(done),
                    () = silence => Err(reached(Level::ResponseHeader, limit)),
                    () = end => Err(first.map_or_else(
                        || reached(Level::ResponseHeader, limit),
                        |(_, level, limit)| reached(level, limit),
                    )),
                }
            }
        }
    }
}

fn timed_out(backend: &Backend, level: Level, limit: Duration) -> TimedOut {
    let name = level.name();
    tracing::info!(backend = %backend.label, level = name, ?limit, "timeout");
    let details = format_args!("no answer within {limit:?} (the {name} timeout)");
    TimedOut { level, error: ProxyError::new(Kind::ResponseTimeout, details) }
}

/// The `grpc-timeout` of a call (gRPC over HTTP/2, "Requests"): up to eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// The same as text, in the finest unit that has room for it; never longer than it is.
fn as_grpc_timeout(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let (value, unit) = units.into_iter().find(|(value, _)| *value <= MOST).unwrap_or((MOST, 'S'));
    // Digits and a letter.
    HeaderValue::try_from(format!("{value}{unit}")).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        lines.collect()
    }

    #[test]
    fn grpc_brings_its_own_limit() {
        let limit = |value| grpc_timeout(&headers(&[("grpc-timeout", value)]));
        assert_eq!(limit("20m"), Some(Duration::from_millis(20)));
        assert_eq!(limit("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(limit("99999999S"), Some(Duration::from_secs(99_999_999)));
        for bad in ["", "S", "1", "1x", "-1S", "999999999S", "\u{e9}"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_left_of_it_is_told_in_the_finest_unit() {
        for (left, text) in [
            (Duration::ZERO, "0u"),
            (Duration::from_micros(1500), "1500u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_millis(100_001), "100001m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(u64::MAX), "99999999S"),
        ] {
            assert_eq!(as_grpc_timeout(left), text);
        }
        let start = |lines: &[_]| {
            let mut headers = headers(lines);
            Deadline::start(&Timeouts::default(), &headers, Instant::now()).tell(&mut headers);
            grpc_timeout(&headers)
        };
        let call = ("content-type", "application/grpc");
        let left = start(&[call, ("grpc-timeout", "40S")]).unwrap();
        assert!(left < Duration::from_secs(40) && left > Duration::from_secs(1), "{left:?}");
        assert_eq!(start(&[call]), None, "nobody asked");
    }

    #[test]
    fn the_built_in_limit_is_not_for_streams() {
        let call = |lines: &[_]| headers(&[&[("content-type", "application/grpc")], lines].concat());
        let (default, now) = (Timeouts::default(), Instant::now());
        let limit = |timeouts: &Timeouts, headers: &HeaderMap| {
            Deadline::start(timeouts, headers, now).at.map(|(_, level, limit)| (level.name(), limit.as_secs()))
        };
        let own = Timeouts { request: Some(Duration::from_secs(5)), ..Timeouts::NONE };
        assert_eq!(limit(&default, &headers(&[])), Some(("request", 30)));
        assert_eq!(limit(&default, &call(&[])), None);
        assert_eq!(limit(&default, &call(&[("grpc-timeout", "40S")])), Some(("request", 40)));
        assert_eq!(limit(&own, &call(&[("grpc-timeout", "40S")])), Some(("request", 5)));
        let total = Timeouts { total: Some(Duration::from_secs(3)), ..own };
        assert_eq!(limit(&total, &headers(&[])), Some(("total", 3)), "it is for the head, too");
    }
}
