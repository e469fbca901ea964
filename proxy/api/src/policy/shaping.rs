//! What is done to the requests of a rule on purpose: copies, faults, and the answers that browsers ask for.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use crate::{
    proto::api::v1 as pb,
    route::{HeaderMatch, Target},
    wire::{WireError, each, millis, required, to_millis},
};

pub const MILLION: u32 = 1_000_000;

/// A copy of the requests that goes to another backend, whose answers nobody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub target: Target,
    /// Of the requests.
    pub per_million: u32,
}

/// Failures for tests. The delay comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Only of requests with this header.
    pub header: Option<HeaderMatch>,
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    pub of: Duration,
    pub per_million: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    pub status: StatusCode,
    /// For gRPC calls; `None`: what the HTTP status stands for.
    pub grpc_code: Option<u32>,
    pub per_million: u32,
}

/// Which pages of other origins may use the answers (the Fetch standard, "CORS protocol").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    pub allow_origins: Vec<AllowedOrigin>,
    /// `None`: all of them.
    pub allow_methods: Option<Vec<Method>>,
    /// `None`: all of them.
    pub allow_headers: Option<Vec<HeaderName>>,
    pub expose_headers: Vec<HeaderName>,
    pub allow_credentials: bool,
    /// For how long a browser may keep the answer to a preflight.
    pub max_age: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    Any,
    /// `https://shop.example.com`, in lower case.
    Exact(String),
    /// `https://*.example.com`, as what stands before and after the star.
    Wildcard {
        before: String,
        after: String,
    },
}

impl AllowedOrigin {
    pub fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.split_once('*') {
            _ if text == "*" => Self::Any,
            Some((before, after)) => Self::Wildcard { before: before.to_owned(), after: after.to_owned() },
            None => Self::Exact(text),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exact(text) => text.clone(),
            Self::Wildcard { before, after } => format!("{before}*{after}"),
        }
    }

    /// Whether an `Origin` header of this value is meant.
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => origin.eq_ignore_ascii_case(text),
            Self::Wildcard { before, after } => {
                let origin = origin.to_ascii_lowercase();
                let rest = origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                rest.is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

impl From<&Mirror> for pb::Mirror {
    fn from(value: &Mirror) -> Self {
        use pb::mirror::Target as Wire;
        let target = match &value.target {
            Target::Backend(name) => Wire::Backend(name.into()),
            Target::Unresolved(reason) => Wire::Unresolved(reason.clone()),
        };
        Self { target: Some(target), per_million: value.per_million }
    }
}

impl TryFrom<pb::Mirror> for Mirror {
    type Error = WireError;

    fn try_from(wire: pb::Mirror) -> Result<Self, WireError> {
        use pb::mirror::Target as Wire;
        let target = match required(wire.target, "target")? {
            Wire::Backend(name) => Target::Backend(name.try_into()?),
            Wire::Unresolved(reason) => Target::Unresolved(reason),
        };
        Ok(Self { target, per_million: wire.per_million.min(MILLION) })
    }
}

impl From<&Fault> for pb::Fault {
    fn from(value: &Fault) -> Self {
        Self {
            header: value.header.as_ref().map(Into::into),
            delay_ms: to_millis(value.delay.map(|delay| delay.of)),
            delay_per_million: value.delay.map_or(0, |delay| delay.per_million),
            abort_status: value.abort.map_or(0, |abort| abort.status.as_u16().into()),
            abort_grpc_code: value.abort.and_then(|abort| abort.grpc_code),
            abort_per_million: value.abort.map_or(0, |abort| abort.per_million),
        }
    }
}

impl TryFrom<pb::Fault> for Fault {
    type Error = WireError;

    fn try_from(wire: pb::Fault) -> Result<Self, WireError> {
        let abort = match wire.abort_status {
            0 => None,
            code => Some(Abort {
                status: status(code).map_err(|e| e.within("abort"))?,
                grpc_code: wire.abort_grpc_code,
                per_million: wire.abort_per_million.min(MILLION),
            }),
        };
        let delay = millis(wire.delay_ms);
        let header = wire.header.map(TryInto::try_into).transpose().map_err(|e: WireError| e.within("header"))?;
        Ok(Self {
            header,
            delay: delay.map(|of| Delay { of, per_million: wire.delay_per_million.min(MILLION) }),
            abort,
        })
    }
}

pub(super) fn status(code: u32) -> Result<StatusCode, WireError> {
    let status = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| WireError::new("status", format!("{code} is not an HTTP status")))
}

impl From<&Cors> for pb::Cors {
    fn from(value: &Cors) -> Self {
        fn texts(items: &[impl ToString]) -> Vec<String> {
            items.iter().map(ToString::to_string).collect()
        }
        fn or_star(items: &Option<Vec<impl ToString>>) -> Vec<String> {
            items.as_ref().map_or_else(|| vec!["*".to_owned()], |items| texts(items))
        }
        Self {
            allow_origins: value.allow_origins.iter().map(AllowedOrigin::written).collect(),
            allow_methods: or_star(&value.allow_methods),
            allow_headers: or_star(&value.allow_headers),
            expose_headers: texts(&value.expose_headers),
            allow_credentials: value.allow_credentials,
            max_age_seconds: value.max_age.map_or(0, |age| age.as_secs()),
        }
    }
}

impl TryFrom<pb::Cors> for Cors {
    type Error = WireError;

    fn try_from(wire: pb::Cors) -> Result<Self, WireError> {
        let header = |name: String| HeaderName::try_from(name).map_err(|e| WireError::new("name", e));
        let method = |name: String| Method::from_bytes(name.as_bytes()).map_err(|e| WireError::new("method", e));
        let is_star = |items: &[String]| items.iter().any(|item| item == "*");
        Ok(Self {
            allow_origins: wire.allow_origins.iter().map(|origin| AllowedOrigin::new(origin)).collect(),
            allow_methods: match is_star(&wire.allow_methods) {
                true => None,
                false => Some(each(wire.allow_methods, "allow_methods", method)?),
            },
            allow_headers: match is_star(&wire.allow_headers) {
                true => None,
                false => Some(each(wire.allow_headers, "allow_headers", header)?),
            },
            expose_headers: each(wire.expose_headers, "expose_headers", header)?,
            allow_credentials: wire.allow_credentials,
            max_age: (wire.max_age_seconds > 0).then(|| Duration::from_secs(wire.max_age_seconds)),
        })
    }
}
