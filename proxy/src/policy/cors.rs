//! The CORS protocol (the Fetch standard, "HTTP extensions"), as Gateway API's CORS filter has it (GEP-1767): what a
//! browser is told about who may use an answer. Pure; the outbound path puts it into answers.
//!
//! The policy speaks alone: what the application says about CORS is removed. An origin that is not allowed is told
//! nothing, which is how a browser learns that it is not.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use weft_proxy_api::policy::{self as api, AllowedOrigin};

const ANY: HeaderValue = HeaderValue::from_static("*");

#[derive(Debug)]
pub struct Cors {
    origins: Vec<AllowedOrigin>,
    /// `None`: whatever is asked for.
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Exposed,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

#[derive(Debug)]
enum Exposed {
    None,
    All,
    Named(HeaderValue),
}

/// The method that a preflight asks about (Fetch, "CORS-preflight request"); `None`: the request is none.
pub fn asked_about(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    pub fn new(cors: &api::Cors) -> Self {
        let expose = match cors.expose_headers.as_slice() {
            [] => Exposed::None,
            names if names.iter().any(|name| name.as_str() == "*") => Exposed::All,
            names => Exposed::Named(list(names.iter().map(HeaderName::as_str))),
        };
        Self {
            origins: cors.allow_origins.clone(),
            methods: cors.allow_methods.as_ref().map(|methods| list(methods.iter().map(Method::as_str))),
            headers: cors.allow_headers.as_ref().map(|names| list(names.iter().map(HeaderName::as_str))),
            expose,
            credentials: cors.allow_credentials,
            max_age: cors.max_age.map(|age| age.as_secs().into()),
        }
    }

    /// The fields of the answer to a preflight with these fields.
    pub fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if !self.allow(request.get(ORIGIN), &mut answer) {
            return answer;
        }
        for (configured, asked, allowed) in [
            (&self.methods, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
            (&self.headers, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
        ] {
            // What was asked for, since `*` means all only without credentials, and never the field `authorization`.
            let value = configured.as_ref().or_else(|| request.get(asked));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                answer.insert(allowed, value.clone());
            }
        }
        if let Some(age) = &self.max_age {
            answer.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        answer
    }

    /// Puts what the policy says about a request from `origin` into its answer, in the place of what is there.
    pub fn apply(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            answer.remove(name);
        }
        let exposed = match &self.expose {
            Exposed::None => None,
            // With credentials `*` is the name of a field.
            Exposed::All if self.credentials => Some(list(answer.keys().map(HeaderName::as_str))),
            Exposed::All => Some(ANY),
            Exposed::Named(names) => Some(names.clone()),
        };
        if self.allow(origin, answer)
            && let Some(exposed) = exposed
        {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Says whether the origin is allowed, and that the answer depends on it where it does.
    fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
        let any = !self.credentials && self.origins.contains(&AllowedOrigin::Any);
        if !any && !varies_by_origin(answer) {
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin.filter(|origin| self.is_allowed(origin)) else { return false };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, if any { ANY } else { origin.clone() });
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.origins.iter().any(|allowed| allowed.is(origin)))
    }
}

fn varies_by_origin(answer: &HeaderMap) -> bool {
    let mut names = answer.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.any(|name| name.trim_ascii() == b"*" || name.trim_ascii().eq_ignore_ascii_case(b"origin"))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    // Names are tokens.
    HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
