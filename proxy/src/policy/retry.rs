//! Whether a request is sent again after an attempt, and after which wait.
//!
//! Pure: the time of day and the randomness are arguments. The outbound path asks after each attempt, and asks the budget
//! and the circuit of the backend last. What a failure says about the backend is `outcome`'s.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method, StatusCode, header::RETRY_AFTER};
use weft_proxy_api::policy::{Backoff, Retry};

use super::outcome::GrpcStatus;

/// Answers about the request itself: the next one would be the same.
const NEVER: [StatusCode; 4] =
    [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];

/// What is known of a request that may have been processed: whether it may be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// It may, whatever it was answered with.
    pub idempotent: bool,
    pub is_grpc: bool,
}

impl Safety {
    pub fn of(policy: &Retry, method: &Method, headers: &HeaderMap, is_grpc: bool) -> Self {
        let idempotent = policy.any_method || method.is_idempotent() || headers.contains_key("idempotency-key");
        Self { idempotent, is_grpc }
    }

    /// Whether there is any answer after which it may be sent again, so that it is worth to be kept.
    pub fn may_repeat(self, policy: &Retry) -> bool {
        policy.attempts > 0 && (self.idempotent || self.is_grpc && !policy.grpc_codes.is_empty())
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended<'a> {
    /// It provably reached no application. `elsewhere`: there is another endpoint, so that nothing has to be waited for.
    Unsent {
        elsewhere: bool,
    },
    /// The connection ended without an answer.
    Reset,
    /// It reached its own limit, not the request's.
    Timeout,
    Answered(StatusCode, &'a HeaderMap),
    /// In a way that is the same each time, or that is the caller's doing.
    Otherwise,
}

/// The moment after an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Attempts made so far.
    pub made: u32,
    /// Whether the whole request is there to be sent.
    pub is_whole: bool,
    /// Until the request's deadline.
    pub left: Option<Duration>,
    pub time_of_day: SystemTime,
    /// From 0 to 1.
    pub random: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is passed on; with the reason where another attempt would have been made.
    Answer(Option<Stop>),
    Again {
        reason: Reason,
        wait: Duration,
    },
}

/// Why an attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unsent,
    Reset,
    Timeout,
    Status,
    GrpcStatus,
    /// Nothing has come so far.
    Hedge,
}

impl Reason {
    pub const ALL: [Self; 6] = [Self::Unsent, Self::Reset, Self::Timeout, Self::Status, Self::GrpcStatus, Self::Hedge];

    /// The value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::GrpcStatus => "grpc_status",
            Self::Hedge => "hedge",
        }
    }
}

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    AttemptsUsedUp,
    BodyNotKept,
    WaitTooLong,
    Forbidden,
    NoTimeLeft,
    BudgetExhausted,
    CircuitOpen,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsUsedUp => "attempts used up",
            Self::BodyNotKept => "the request's body was not kept",
            Self::WaitTooLong => "it asks for a longer wait than is allowed",
            Self::Forbidden => "it asks not to be tried again",
            Self::NoTimeLeft => "no time left",
            Self::BudgetExhausted => "retry budget exhausted",
            Self::CircuitOpen => "the circuit is not closed",
        })
    }
}

pub fn decide(policy: &Retry, safety: Safety, ended: Ended<'_>, moment: Moment) -> Decision {
    let reason = if policy.attempts == 0 { None } else { reason(policy, safety, ended) };
    let Some(reason) = reason else { return Decision::Answer(None) };
    match wait(policy, safety, ended, moment) {
        Err(stop) => Decision::Answer(Some(stop)),
        Ok(_) if moment.made > policy.attempts => Decision::Answer(Some(Stop::AttemptsUsedUp)),
        Ok(_) if !moment.is_whole => Decision::Answer(Some(Stop::BodyNotKept)),
        Ok(wait) if moment.left.is_some_and(|left| wait >= left) => Decision::Answer(Some(Stop::NoTimeLeft)),
        Ok(wait) => Decision::Again { reason, wait },
    }
}

fn reason(policy: &Retry, safety: Safety, ended: Ended<'_>) -> Option<Reason> {
    // To name a code is to say that calls which end with it may be repeated.
    let named = |code: GrpcStatus| safety.is_grpc && policy.grpc_codes.contains(&code.0);
    let allowed = |is_allowed: bool, reason| is_allowed.then_some(reason);
    match ended {
        Ended::Unsent { .. } => Some(Reason::Unsent),
        Ended::Reset => {
            allowed(policy.on_reset && (safety.idempotent || named(GrpcStatus::UNAVAILABLE)), Reason::Reset)
        }
        Ended::Timeout => {
            allowed(policy.on_timeout && (safety.idempotent || named(GrpcStatus::DEADLINE_EXCEEDED)), Reason::Timeout)
        }
        Ended::Answered(status, headers) => match GrpcStatus::of(headers).filter(|_| safety.is_grpc) {
            Some(code) => allowed(named(code), Reason::GrpcStatus),
            None if NEVER.contains(&status) => None,
            None => {
                let repeatable = safety.idempotent && policy.statuses.contains(&status);
                allowed(repeatable || of_http(status).is_some_and(named), Reason::Status)
            }
        },
        Ended::Otherwise => None,
    }
}

/// What a gRPC client takes an HTTP status for that came without a gRPC status (gRPC, "HTTP to gRPC Status Code Mapping").
fn of_http(status: StatusCode) -> Option<GrpcStatus> {
    match status.as_u16() {
        200 => None,
        429 | 502 | 503 | 504 => Some(GrpcStatus::UNAVAILABLE),
        _ => Some(GrpcStatus::UNKNOWN),
    }
}

fn wait(policy: &Retry, safety: Safety, ended: Ended<'_>, moment: Moment) -> Result<Duration, Stop> {
    let backoff = match ended {
        Ended::Unsent { elsewhere: true } => Duration::ZERO,
        _ => backoff(policy.backoff, moment),
    };
    let Ended::Answered(status, headers) = ended else { return Ok(backoff) };
    let asked = match pushback(headers).filter(|_| safety.is_grpc) {
        Some(pushback) => Some(pushback.ok_or(Stop::Forbidden)?),
        None => retry_after(status, headers, moment.time_of_day).map(|asked| asked.max(backoff)),
    };
    match asked {
        Some(asked) if asked > policy.max_retry_after => Err(Stop::WaitTooLong),
        asked => Ok(asked.unwrap_or(backoff)),
    }
}

/// `grpc-retry-pushback-ms` (gRFC A6): the wait; `Some(None)`: no other attempt is wanted.
fn pushback(headers: &HeaderMap) -> Option<Option<Duration>> {
    let text = headers.get("grpc-retry-pushback-ms")?.to_str().ok();
    Some(text.and_then(|text| text.parse::<u32>().ok()).map(|millis| Duration::from_millis(millis.into())))
}

/// `Retry-After` (RFC 9110, section 10.2.3) in seconds, or as a date. What is neither says nothing.
fn retry_after(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

fn backoff(backoff: Backoff, moment: Moment) -> Duration {
    match backoff {
        Backoff::None => Duration::ZERO,
        Backoff::Fixed(wait) => wait,
        Backoff::Exponential { base, max } => {
            let doubled = 1_u32.checked_shl(moment.made.saturating_sub(1)).unwrap_or(u32::MAX);
            base.saturating_mul(doubled).min(max).mul_f64(moment.random.clamp(0.0, 1.0))
        }
    }
}

#[cfg(test)]
mod tests;
