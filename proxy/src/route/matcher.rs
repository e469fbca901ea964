//! Whether one request is what one route describes, by the rules of Gateway API.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use regex::Regex;
use weft_proxy_api::route::{HeaderMatch, PathMatch, Pattern, RouteMatch, ValueMatch};

#[derive(Debug)]
pub struct Matcher {
    path: Path,
    method: Option<Method>,
    headers: Vec<HeaderTest>,
    query: Vec<(String, Value)>,
}

/// Whether a request has a header as it is described.
#[derive(Debug)]
pub struct HeaderTest {
    name: HeaderName,
    value: Value,
}

#[derive(Debug)]
enum Path {
    Any,
    Exact(String),
    /// Without a slash at the end, so that `/` is empty.
    Prefix(String),
    Regex(Option<Regex>),
}

#[derive(Debug)]
enum Value {
    Exact(String),
    Regex(Option<Regex>),
}

/// How the path matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub matched_len: Option<usize>,
}

impl Matcher {
    pub fn compile(matches: &RouteMatch) -> Self {
        let path = match &matches.path {
            None => Path::Any,
            Some(PathMatch::Exact(path)) => Path::Exact(path.clone()),
            Some(PathMatch::Prefix(prefix)) => Path::Prefix(prefix.trim_end_matches('/').to_owned()),
            Some(PathMatch::Regex(pattern)) => Path::Regex(compile(pattern)),
        };
        Self {
            path,
            method: matches.method.clone(),
            headers: matches.headers.iter().map(HeaderTest::compile).collect(),
            query: matches.query.iter().map(|q| (q.name.clone(), Value::compile(&q.value))).collect(),
        }
    }

    pub fn matches(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Prefix> {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return None;
        }
        let prefix = self.path.matches(uri.path())?;
        let headers_match = self.headers.iter().all(|header| header.matches(headers));
        let query_matches = || self.query.iter().all(|(name, value)| value.matches_query(name, uri.query()));
        (headers_match && query_matches()).then_some(prefix)
    }
}

impl HeaderTest {
    pub fn compile(header: &HeaderMatch) -> Self {
        Self { name: header.name.clone(), value: Value::compile(&header.value) }
    }

    pub fn matches(&self, headers: &HeaderMap) -> bool {
        self.value.matches_header(&self.name, headers)
    }
}

impl Path {
    fn matches(&self, path: &str) -> Option<Prefix> {
        match self {
            Self::Any => Some(Prefix { matched_len: None }),
            Self::Exact(wanted) => (wanted == path).then_some(Prefix { matched_len: None }),
            Self::Regex(regex) => is_match(regex, path).then_some(Prefix { matched_len: None }),
            Self::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.as_str())?;
                // The empty prefix is `/`: it also covers the paths `*` and none, of OPTIONS and CONNECT.
                let whole_segments = prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
                whole_segments.then_some(Prefix { matched_len: Some(prefix.len()) })
            }
        }
    }
}

impl Value {
    fn compile(value: &ValueMatch) -> Self {
        match value {
            ValueMatch::Exact(text) => Self::Exact(text.clone()),
            ValueMatch::Regex(pattern) => Self::Regex(compile(pattern)),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => wanted.as_bytes() == value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| is_match(regex, text)),
        }
    }

    /// A header that is sent in several lines has the value of all of them, joined by commas (RFC 9110 §5.3).
    fn matches_header(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let Some(first) = lines.next() else { return false };
        let mut value = Cow::Borrowed(first);
        for line in lines {
            let value = value.to_mut();
            value.push(b',');
            value.extend_from_slice(line);
        }
        self.matches(&value)
    }

    /// The first parameter of the name counts. Names and values are compared as the application sees them: with
    /// percent-encoding decoded and `+` as a space.
    fn matches_query(&self, name: &str, query: Option<&str>) -> bool {
        form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| self.matches(value.as_bytes()))
    }
}

/// A `Pattern` exists only if it compiled once, so that it does again; if it ever did not, it would match nothing.
fn compile(pattern: &Pattern) -> Option<Regex> {
    pattern.build().inspect_err(|error| tracing::error!(pattern = pattern.as_str(), %error, "a route is lost")).ok()
}

fn is_match(regex: &Option<Regex>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}
