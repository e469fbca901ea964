//! Session persistence (Gateway API, GEP-1619): the first answer of a session names the place that it came from, and the
//! caller says that name with the requests that follow, which go to the same place.
//!
//! The place is a share of the rule's split and an endpoint in it. It is named by hashes, so that the name shows no
//! address, and nothing is remembered here: any sidecar understands it. A name is believed only as far as it goes. One
//! that is malformed, out of time, or of a place that is not there (any more) is none, and the request is balanced as
//! usual; whoever makes one up chooses among the endpoints that any request may reach, and no more.
//!
//! | the answer came from | the caller is told |
//! |---|---|
//! | the place that the request named | nothing new; with an idle limit, the time |
//! | another place, since that one could not be used | the new place: the session moves, and keeps its age |
//! | any place, for a request without a valid name | the place: a session begins |
//! | the fallback of a backend | nothing: the session waits where it was |
//!
//! A cookie is for the whole host (`Path=/`), out of reach of scripts (`HttpOnly`), and not sent by other sites'
//! forms (`SameSite=Lax`). It is `Secure` where `x-forwarded-proto` says that the browser came by HTTPS: a sidecar sees
//! the application's own side, which is plaintext.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, header::SET_COOKIE};
use weft_proxy_api::policy::{Carrier, Session};

use crate::http::key;

const FORMAT: u8 = 1;
/// A format, and four numbers of eight bytes.
const LEN: usize = 33;
/// Clocks of sidecars differ; what is said to come from further in the future is made up.
const CLOCK_SKEW: u64 = 60_000;
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tag of the share of the split.
    pub share: u64,
    /// The tag of the endpoint.
    pub endpoint: u64,
}

/// What the caller is told, and tells. Times are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    place: Place,
    begun: u64,
    used: u64,
}

/// One request of a session, or the one that begins it.
#[derive(Debug)]
pub struct Visit<'a> {
    session: &'a Session,
    /// What the request said, if it is valid.
    token: Option<Token>,
    now: u64,
    is_secure: bool,
}

impl<'a> Visit<'a> {
    pub fn of(session: &'a Session, headers: &HeaderMap, now: SystemTime) -> Self {
        let now = millis(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let said = match &session.carrier {
            Carrier::Cookie { name, .. } => key::cookie(headers, name),
            Carrier::Header(name) => key::header(headers, name),
        };
        let token = said.and_then(Token::parse).filter(|token| token.is_valid(session, now));
        let is_secure = headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto == "https");
        Self { session, token, now, is_secure }
    }

    /// Where the session is.
    pub fn place(&self) -> Option<Place> {
        self.token.map(|token| token.place)
    }

    /// Tells the caller where the session is now, unless it knows.
    pub fn keep(&self, place: Place, headers: &mut HeaderMap) {
        if self.session.idle.is_none() && self.place() == Some(place) {
            return;
        }
        let begun = self.token.map_or(self.now, |token| token.begun);
        let value = Token { place, begun, used: self.now }.format();
        // A name that is no part of a header is refused where it is written.
        match &self.session.carrier {
            Carrier::Header(name) => _ = HeaderValue::from_str(&value).map(|value| headers.insert(name, value)),
            Carrier::Cookie { name, permanent } => {
                let cookie = self.cookie(name, &value, *permanent, begun);
                _ = HeaderValue::from_str(&cookie).map(|cookie| headers.append(SET_COOKIE, cookie));
            }
        }
    }

    /// `Set-Cookie` (RFC 6265, section 4.1).
    fn cookie(&self, name: &str, value: &str, permanent: bool, begun: u64) -> String {
        let mut cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if self.is_secure {
            cookie.push_str("; Secure");
        }
        if let Some(absolute) = self.session.absolute.filter(|_| permanent) {
            let left = begun.saturating_add(millis(absolute)).saturating_sub(self.now).div_ceil(1000);
            cookie.push_str(&format!("; Max-Age={left}"));
        }
        cookie
    }
}

impl Token {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; LEN];
        let len = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let [FORMAT, numbers @ ..] = bytes else { return None };
        let (numbers, _) = numbers.as_chunks::<8>();
        let [share, endpoint, begun, used] = *numbers else { return None };
        let place = Place { share: u64::from_be_bytes(share), endpoint: u64::from_be_bytes(endpoint) };
        let token = Self { place, begun: u64::from_be_bytes(begun), used: u64::from_be_bytes(used) };
        (len == LEN).then_some(token)
    }

    fn format(self) -> String {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.push(FORMAT);
        for number in [self.place.share, self.place.endpoint, self.begun, self.used] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn is_valid(self, session: &Session, now: u64) -> bool {
        let is_past = self.begun <= self.used && self.used <= now.saturating_add(CLOCK_SKEW);
        let is_within =
            |limit: Option<Duration>, since: u64| limit.is_none_or(|limit| now.saturating_sub(since) < millis(limit));
        is_past && is_within(session.absolute, self.begun) && is_within(session.idle, self.used)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
