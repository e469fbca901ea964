//! The answer to a request out of what is kept (RFC 9111, section 4), and what `Cache-Status` says (RFC 9211).

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::store::Entry;
use crate::http::body::Body;

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the backend (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Only answers to `GET` are kept.
    Method,
    UriMiss,
    VaryMiss,
    Stale,
    /// The request itself wants an answer of the application.
    Request,
}

impl Forwarded {
    fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }

    /// What an answer of the backend says about the cache.
    pub fn status(self, is_kept: bool) -> HeaderValue {
        let stored = if is_kept { "; stored" } else { "" };
        value(format!("weft; fwd={}{stored}", self.name()))
    }
}

impl Entry {
    /// The answer out of what is kept, without a question.
    pub fn hit(&self, request: &Parts, now: Instant) -> Response<Body> {
        let status = format!("weft; hit; ttl={}", self.ttl(now));
        self.response(request, now, status)
    }

    /// The answer that stands in for a failure; `received` is what the backend answered with, if it was asked at all.
    pub fn stand_in(&self, request: &Parts, received: Option<StatusCode>, now: Instant) -> Response<Body> {
        let ttl = self.ttl(now);
        let status = match received {
            Some(received) => format!("weft; fwd=stale; fwd-status={}; ttl={ttl}", received.as_u16()),
            None => format!("weft; hit; ttl={ttl}"),
        };
        self.response(request, now, format!("{status}; detail=stale-if-error"))
    }

    /// Seconds that it is fresh for; below zero: since when it is not.
    fn ttl(&self, now: Instant) -> i64 {
        let fresh_until = self.lifetime().fresh_until;
        let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match fresh_until.checked_duration_since(now) {
            Some(left) => seconds(left),
            None => -seconds(now.saturating_duration_since(fresh_until)),
        }
    }

    fn response(&self, request: &Parts, now: Instant, status: String) -> Response<Body> {
        let mut response = match self.is_not_modified(&request.headers) {
            true => self.not_modified(),
            false => {
                let body = if request.method == Method::HEAD { Body::empty() } else { Body::full(self.body.clone()) };
                let mut response = Response::new(body);
                *response.status_mut() = self.status;
                response.headers_mut().clone_from(&self.headers);
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::AGE, self.lifetime().age(now).as_secs().into());
        headers.append(CACHE_STATUS, value(status));
        response
    }

    /// RFC 9110, section 15.4.5: only what the caller needs to use what it has.
    fn not_modified(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in [
            header::CACHE_CONTROL,
            header::CONTENT_LOCATION,
            header::DATE,
            header::ETAG,
            header::EXPIRES,
            header::LAST_MODIFIED,
            header::VARY,
        ] {
            for line in self.headers.get_all(&name) {
                response.headers_mut().append(name.clone(), line.clone());
            }
        }
        response
    }

    /// Whether the caller has this very answer (RFC 9110, section 13.2.2).
    fn is_not_modified(&self, request: &HeaderMap) -> bool {
        if self.status != StatusCode::OK {
            return false;
        }
        if request.contains_key(header::IF_NONE_MATCH) {
            let own = self.headers.get(header::ETAG).map(|etag| weak(etag.as_bytes()));
            let lines = request.get_all(header::IF_NONE_MATCH).iter();
            let mut tags = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
            return tags.any(|tag| tag.trim_ascii() == b"*" || Some(weak(tag.trim_ascii())) == own);
        }
        let date = |headers: &HeaderMap, name| {
            headers.get(name)?.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok())
        };
        let since = date(request, header::IF_MODIFIED_SINCE);
        since.zip(date(&self.headers, header::LAST_MODIFIED)).is_some_and(|(since, modified)| modified <= since)
    }
}

/// An entity tag for the weak comparison (RFC 9110, section 8.8.3.2).
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn value(text: String) -> HeaderValue {
    // Only tokens and numbers were written.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("weft"))
}
