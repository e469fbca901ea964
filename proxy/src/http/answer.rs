//! Answers that the sidecar makes itself. Every one says in `Proxy-Status` (RFC 9209) why, and carries the request's
//! id; a gRPC call gets its answer as a gRPC status.

use http::{HeaderValue, Response, StatusCode, header};

use super::{body::Body, headers, http1::Refusal, proxy_status::ProxyStatus};
use crate::{
    error::{Kind, ProxyError},
    telemetry::metrics::Direction,
};

/// The answer to a request that failed on this side.
pub fn failure(error: &ProxyError, side: Direction, is_grpc: bool, request_id: &HeaderValue) -> Response<Body> {
    let meaning = error.kind.meaning();
    let mut response = if is_grpc {
        grpc(meaning.grpc.into(), &error.details)
    } else {
        text(meaning.status, &format!("weft: {}\n", error.details))
    };
    let headers = response.headers_mut();
    let status = ProxyStatus::new(name(side)).error(meaning.proxy_status).details(&error.details);
    headers.insert("proxy-status", status.to_header_value());
    headers.insert("x-request-id", request_id.clone());
    if error.kind == Kind::Unsupported {
        // After a refused CONNECT nobody can tell what the caller takes the next bytes for.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(after) = error.retry_after {
        headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

/// The answer to a request that could not be read.
pub fn refused(side: Direction, refusal: Refusal) -> Response<Body> {
    let what = if refusal.is_malformed() { "malformed" } else { "too slow" };
    let details = format!("the request is {what}: {refusal}");
    let mut response = text(refusal.status(), &format!("weft: {details}\n"));
    let reason = ProxyStatus::new(name(side)).error("http_request_error").details(&details);
    response.headers_mut().insert("proxy-status", reason.to_header_value());
    headers::request_id(response.headers_mut());
    response
}

/// This sidecar's name in `Proxy-Status`.
pub fn name(side: Direction) -> &'static str {
    match side {
        Direction::Inbound => "weft-inbound",
        Direction::Outbound => "weft-outbound",
    }
}

/// A few words for a person.
pub fn text(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(body.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A response of headers only, as gRPC over HTTP/2 has it for calls that fail at once.
pub fn grpc(code: u32, details: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", code.into());
    let message: String = details.chars().map(|c| if matches!(c, ' '..='~') && c != '%' { c } else { '_' }).collect();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
    response
}
