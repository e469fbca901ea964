//! What an application's request is addressed to.

use std::sync::Arc;

use http::{HeaderValue, Version, header, request::Parts, uri::Authority};
use weft_proxy_api::{ServicePort, name::MESH_SUFFIX};

use crate::error::{Kind, ProxyError};

/// What a request is addressed to, read once for all requests of a connection that say the same.
pub struct Addressed {
    /// As the request says it.
    said: Box<[u8]>,
    pub authority: Authority,
    pub name: ServicePort,
    /// The `Host` that the callee gets: what the caller addressed (RFC 9112, section 3.2.2).
    pub host: HeaderValue,
}

impl Addressed {
    /// `before` is what the request before was addressed to.
    pub fn of(
        parts: &Parts,
        tunnel: Option<&Authority>,
        own_namespace: &str,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, ProxyError> {
        let said = said(parts, tunnel)?;
        if let Some(same) = before.filter(|before| *before.said == *said) {
            return Ok(same.clone());
        }
        let authority = authority(said)?;
        let name = ServicePort::from_host(authority.host(), authority.port_u16(), own_namespace)
            .map_err(|e| ProxyError::new(Kind::UnknownService, format_args!("{authority} is not in the mesh: {e}")))?;
        Self::new(said, authority, name)
    }

    /// The same where the address that the application has connected to says which service port it is: the request's own
    /// authority is for the callee.
    pub fn at(parts: &Parts, name: &ServicePort, before: Option<&Arc<Self>>) -> Result<Arc<Self>, ProxyError> {
        let said = match said(parts, None) {
            // HTTP/1.0 knows no Host, and the application has said by its connection what it wants.
            Err(_) if parts.version == Version::HTTP_10 && !parts.headers.contains_key(header::HOST) => {
                let own = format!("{}.{}.{MESH_SUFFIX}:{}", name.service, name.namespace, name.port);
                return Self::new(own.as_bytes(), authority(own.as_bytes())?, name.clone());
            }
            said => said?,
        };
        match before.filter(|before| *before.said == *said) {
            Some(same) => Ok(same.clone()),
            None => Self::new(said, authority(said)?, name.clone()),
        }
    }

    fn new(said: &[u8], authority: Authority, name: ServicePort) -> Result<Arc<Self>, ProxyError> {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|e| ProxyError::new(Kind::NoAuthority, format_args!("the authority is not valid: {e}")))?;
        Ok(Arc::new(Self { said: said.into(), authority, name, host }))
    }
}

fn authority(said: &[u8]) -> Result<Authority, ProxyError> {
    Authority::try_from(said)
        .map_err(|e| ProxyError::new(Kind::NoAuthority, format_args!("the Host header is not valid: {e}")))
        .and_then(plain)
}

/// The authority of a request: of the tunnel that it came through, else of its target, else of `Host`.
fn said<'r>(parts: &'r Parts, tunnel: Option<&'r Authority>) -> Result<&'r [u8], ProxyError> {
    if let Some(authority) = tunnel.or(parts.uri.authority()) {
        return Ok(authority.as_str().as_bytes());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.as_bytes()),
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn authority(request: http::request::Builder, tunnel: Option<&str>) -> Result<String, Kind> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let tunnel = tunnel.map(|tunnel| tunnel.parse::<Authority>().unwrap());
        Addressed::of(&parts, tunnel.as_ref(), "shop", None).map(|a| a.authority.to_string()).map_err(|e| e.kind)
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
    fn where_the_connection_says_it_an_old_client_need_not() {
        let name = ServicePort::new("shop", "db", 8080);
        let at = |version, host: Option<&str>| {
            let request = host.into_iter().fold(Request::get("/x").version(version), |r, host| r.header("host", host));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            Addressed::at(&parts, &name, None).map(|a| (a.name.clone(), a.host.to_str().unwrap().to_owned()))
        };
        assert_eq!(at(Version::HTTP_11, Some("other")).unwrap(), (name.clone(), "other".into()));
        assert_eq!(at(Version::HTTP_10, None).unwrap(), (name.clone(), "db.shop.mesh:8080".into()));
        assert_eq!(at(Version::HTTP_11, None).unwrap_err().kind, Kind::NoAuthority);
    }

    #[test]
    fn a_password_goes_no_further_and_a_port_that_is_none_is_refused() {
        assert_eq!(authority(Request::get("http://user:secret@orders:81/"), None).unwrap(), "orders:81");
        assert_eq!(authority(Request::get("/").header("host", "orders:99999"), None), Err(Kind::NoAuthority));
        assert_eq!(authority(Request::get("/").header("host", "orders:"), None).unwrap(), "orders:");
    }

    #[test]
    fn names_outside_the_mesh_are_named_in_the_refusal() {
        let (parts, ()) = Request::get("http://www.example.com/").body(()).unwrap().into_parts();
        let Err(error) = Addressed::of(&parts, None, "shop", None) else { panic!("it is not in the mesh") };
        assert_eq!(error.kind, Kind::UnknownService);
        assert!(error.details.contains("www.example.com"), "{error}");
    }

    #[test]
    fn what_the_request_before_said_is_not_read_again() {
        let to = |host| {
            let (parts, ()) = Request::get("/").header("host", host).body(()).unwrap().into_parts();
            move |before: Option<&Arc<Addressed>>| Addressed::of(&parts, None, "shop", before).unwrap()
        };
        let first = to("orders")(None);
        assert!(Arc::ptr_eq(&first, &to("orders")(Some(&first))));
        let other = to("billing:81")(Some(&first));
        assert_eq!((other.name.to_string().as_str(), other.host.as_bytes()), ("shop/billing:81", &b"billing:81"[..]));
    }
}
