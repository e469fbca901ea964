//! What an application's request is addressed to.

use http::{HeaderMap, HeaderValue, header, request::Parts, uri::Authority};
use weft_proxy_api::ServicePort;

use crate::error::{Kind, ProxyError};

/// The authority of a request: of the tunnel that it came through, else of its target, else of `Host`.
pub fn of(parts: &Parts, tunnel: Option<&Authority>) -> Result<Authority, ProxyError> {
    if let Some(authority) = tunnel.or(parts.uri.authority()) {
        return plain(authority.clone());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes())
            .map_err(|e| ProxyError::new(Kind::NoAuthority, format_args!("the Host header is not valid: {e}")))
            .and_then(plain),
        (None, _) => Err(ProxyError::new(Kind::NoAuthority, "the request has no Host header, so it names no service")),
        (Some(_), Some(_)) => Err(ProxyError::new(Kind::NoAuthority, "the request has more than one Host header")),
    }
}

/// An authority that is a host and perhaps a port. A user's name and password are for nobody behind this hop, nor for
/// a log; a port that is no number must not turn into the default one.
fn plain(authority: Authority) -> Result<Authority, ProxyError> {
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let after_host = host.strip_prefix(authority.host()).unwrap_or_default();
    if !matches!(after_host, "" | ":") && authority.port_u16().is_none() {
        return Err(ProxyError::new(Kind::NoAuthority, format_args!("{host}: the port is not a number up to 65535")));
    }
    match host.len() == text.len() {
        true => Ok(authority),
        false => Authority::try_from(host)
            .map_err(|e| ProxyError::new(Kind::NoAuthority, format_args!("the target is not valid: {e}"))),
    }
}

/// The service port that an authority names.
pub fn service_port(authority: &Authority, own_namespace: &str) -> Result<ServicePort, ProxyError> {
    ServicePort::from_host(authority.host(), authority.port_u16(), own_namespace)
        .map_err(|e| ProxyError::new(Kind::UnknownService, format_args!("{authority} is not in the mesh: {e}")))
}

/// The `Host` that the callee gets: what the caller addressed (RFC 9112, section 3.2.2).
pub fn set_host(headers: &mut HeaderMap, authority: &Authority) {
    if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
        headers.insert(header::HOST, value);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn authority(request: http::request::Builder, tunnel: Option<&str>) -> Result<String, Kind> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let tunnel = tunnel.map(|tunnel| tunnel.parse::<Authority>().unwrap());
        of(&parts, tunnel.as_ref()).map(|a| a.to_string()).map_err(|e| e.kind)
    }

    #[test]
    fn the_tunnel_comes_before_the_target_and_the_target_before_host() {
        let absolute = || Request::get("http://orders/x").header("host", "other");
        assert_eq!(authority(absolute(), None).unwrap(), "orders");
        assert_eq!(authority(absolute(), Some("billing:80")).unwrap(), "billing:80");
        assert_eq!(authority(Request::get("/x").header("host", "orders:8080"), None).unwrap(), "orders:8080");
    }

    #[test]
    fn no_host_two_hosts_and_a_malformed_one_are_refused() {
        assert_eq!(authority(Request::get("/x"), None), Err(Kind::NoAuthority));
        assert_eq!(authority(Request::get("/x").header("host", "a").header("host", "b"), None), Err(Kind::NoAuthority));
        assert_eq!(authority(Request::get("/x").header("host", "a b"), None), Err(Kind::NoAuthority));
    }

    #[test]
    fn a_password_goes_no_further_and_a_port_that_is_none_is_refused() {
        assert_eq!(authority(Request::get("http://user:secret@orders:81/"), None).unwrap(), "orders:81");
        assert_eq!(authority(Request::get("/").header("host", "orders:99999"), None), Err(Kind::NoAuthority));
        assert_eq!(authority(Request::get("/").header("host", "orders:"), None).unwrap(), "orders:");
    }

    #[test]
    fn names_outside_the_mesh_are_named_in_the_refusal() {
        let error = service_port(&"www.example.com".parse().unwrap(), "shop").unwrap_err();
        assert_eq!(error.kind, Kind::UnknownService);
        assert!(error.details.contains("www.example.com"), "{error}");
    }
}
