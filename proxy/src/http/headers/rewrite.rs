//! URLs as the filters of Gateway API rewrite them, and the `Location` of a redirect.

use http::{
    HeaderValue, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use weft_proxy_api::route::{PathRewrite, Redirect, Rewrite};

/// The rule would make a URL or a host name that is none.
#[derive(Debug, thiserror::Error)]
#[error("the rule makes {made:?}, which is not valid here: {source}")]
pub struct InvalidRewrite {
    made: String,
    source: http::Error,
}

/// Rewrites host name and path. `matched_prefix_len` is what the route found; without one a prefix stays as it is.
///
/// # Errors
/// The result is not a URL; the request is then unchanged.
pub fn rewrite(rewrite: &Rewrite, parts: &mut Parts, matched_prefix_len: Option<usize>) -> Result<(), InvalidRewrite> {
    let mut uri = parts.uri.clone().into_parts();
    if let Some(path) = &rewrite.path {
        let made = path_and_query(path, &parts.uri, matched_prefix_len);
        uri.path_and_query = Some(PathAndQuery::try_from(made.as_str()).map_err(|e| invalid(&made, e))?);
    }
    let mut host = None;
    if let Some(hostname) = &rewrite.hostname {
        host = Some(HeaderValue::from_str(hostname).map_err(|e| invalid(hostname, e))?);
        if uri.authority.is_some() {
            uri.authority = Some(Authority::try_from(hostname.as_str()).map_err(|e| invalid(hostname, e))?);
        }
    }
    parts.uri = Uri::from_parts(uri).map_err(|e| invalid("a URL", e))?;
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    Ok(())
}

/// The `Location` of a redirect. `authority` is what the request was sent to (`host[:port]`), `scheme` how. A port is
/// written unless it is the scheme's own; a redirect to another scheme without a port means that scheme's own.
pub fn redirect_location(
    redirect: &Redirect,
    uri: &Uri,
    authority: &str,
    scheme: &str,
    matched_prefix_len: Option<usize>,
) -> Result<HeaderValue, InvalidRewrite> {
    let (host, port) = split_port(authority);
    let to_scheme = redirect.scheme.as_deref().unwrap_or(scheme);
    let to_host = redirect.hostname.as_deref().unwrap_or(host);
    let kept = if redirect.scheme.is_some() { None } else { port };
    let to_port = redirect.port.or(kept).filter(|port| Some(*port) != default_port(to_scheme));
    let path = match &redirect.path {
        Some(path) => path_and_query(path, uri, matched_prefix_len),
        None => uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
    };
    let made = match to_port {
        Some(port) => format!("{to_scheme}://{to_host}:{port}{path}"),
        None => format!("{to_scheme}://{to_host}{path}"),
    };
    let valid: Uri = made.parse().map_err(|e: http::uri::InvalidUri| invalid(&made, e))?;
    HeaderValue::try_from(valid.to_string()).map_err(|e| invalid(&made, e))
}

/// The new path, with the query of the old.
fn path_and_query(rewrite: &PathRewrite, uri: &Uri, matched_prefix_len: Option<usize>) -> String {
    let path = match (rewrite, matched_prefix_len) {
        (PathRewrite::Full(path), _) => path.clone(),
        (PathRewrite::Prefix(prefix), Some(len)) => replace_prefix(uri.path(), len, prefix),
        (PathRewrite::Prefix(_), None) => uri.path().to_owned(),
    };
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// Replaces the first `len` bytes, which are whole segments, so that neither two slashes nor none stand at the seam.
fn replace_prefix(path: &str, len: usize, prefix: &str) -> String {
    match path.get(len..).unwrap_or_default() {
        "" => prefix.to_owned(),
        rest => format!("{}{rest}", prefix.trim_end_matches('/')),
    }
}

fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn invalid(made: &str, source: impl Into<http::Error>) -> InvalidRewrite {
    InvalidRewrite { made: made.to_owned(), source: source.into() }
}
