//! Which pages of other origins may use the answers (the `CORS` filter; the Fetch standard, "CORS protocol").

use std::time::Duration;

use gateway_api::experimental::httproutes::HttpRouteRulesFiltersCors;
use http::{HeaderName, Method};
use weft_proxy_api::policy::{AllowedOrigin, Cors};

use super::matches::read_header_name;
use crate::resources::{
    mesh_service::is_dns_name,
    nearest::did_you_mean,
    problem::{Path, Report},
};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const ANY: &str = "*";
/// As Gateway API has it.
const DEFAULT_MAX_AGE: i32 = 5;

pub(super) fn read_cors(written: HttpRouteRulesFiltersCors, path: &Path, report: &mut Report) -> Cors {
    let origins = written.allow_origins.unwrap_or_default();
    if origins.is_empty() {
        let hint = r#"add allowOrigins: ["https://shop.example.com"]"#.to_owned();
        report.error_with_hint(path, "nothing says which origins are allowed", hint);
    }
    let at = path.field("allowOrigins");
    let allow_origins =
        origins.iter().enumerate().filter_map(|(index, text)| read_origin(text, &at.index(index), report)).collect();
    let max_age = written.max_age.unwrap_or(DEFAULT_MAX_AGE);
    if max_age < 1 {
        report.error(&path.field("maxAge"), format!("a number of seconds is at least 1, not {max_age}"));
    }
    let allow_credentials = written.allow_credentials.unwrap_or_default();
    let exposed = written.expose_headers.unwrap_or_default();
    if let (true, Some(index)) = (allow_credentials, exposed.iter().position(|name| name == ANY)) {
        let reason = r#"with allowCredentials, "*" is the name of a header and not any header (Fetch)"#;
        let hint = "name the headers".to_owned();
        report.error_with_hint(&path.field("exposeHeaders").index(index), reason, hint);
    }
    Cors {
        allow_origins,
        allow_methods: read_list(written.allow_methods, &path.field("allowMethods"), read_method, report),
        allow_headers: read_list(written.allow_headers, &path.field("allowHeaders"), read_name, report),
        expose_headers: read_list(Some(exposed), &path.field("exposeHeaders"), read_name, report)
            .unwrap_or_else(|| vec![HeaderName::from_static(ANY)]),
        allow_credentials,
        max_age: u64::try_from(max_age).ok().map(Duration::from_secs),
    }
}

/// Whether any page may read what the application answers to its user.
pub fn allows_anyone_with_credentials(cors: &Cors) -> bool {
    let is_any = |origin: &AllowedOrigin| match origin {
        AllowedOrigin::Any => true,
        AllowedOrigin::Exact(_) => false,
        AllowedOrigin::Wildcard { after, .. } => !after.contains('.'),
    };
    cors.allow_credentials && cors.allow_origins.iter().any(is_any)
}

/// `None`: all of them. What is left out is none, beside what browsers allow anyway.
fn read_list<T>(
    written: Option<Vec<String>>,
    path: &Path,
    read: impl Fn(&str, &Path, &mut Report) -> Option<T>,
    report: &mut Report,
) -> Option<Vec<T>> {
    let written = written.unwrap_or_default();
    if written.iter().any(|item| item == ANY) {
        if written.len() > 1 {
            report.error(path, r#"what stands beside "*" has no effect"#);
        }
        return None;
    }
    Some(written.iter().enumerate().filter_map(|(index, item)| read(item, &path.index(index), report)).collect())
}

fn read_method(name: &str, path: &Path, report: &mut Report) -> Option<Method> {
    if !METHODS.contains(&name) {
        let hint = did_you_mean(name, METHODS).unwrap_or_else(|| format!("methods are {}", METHODS.join(", ")));
        report.error_with_hint(path, format!("there is no method {name:?}"), hint);
        return None;
    }
    Method::from_bytes(name.as_bytes()).ok()
}

fn read_name(name: &str, path: &Path, report: &mut Report) -> Option<HeaderName> {
    read_header_name(name, path, report)
}

/// `https://shop.example.com`, `http://localhost:3000`, `https://*.example.com`, `*`.
fn read_origin(text: &str, path: &Path, report: &mut Report) -> Option<AllowedOrigin> {
    if text == ANY {
        return Some(AllowedOrigin::Any);
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) else {
        let hint = "write it as https://shop.example.com".to_owned();
        report.error_with_hint(path, format!("{text:?} is not an origin"), hint);
        return None;
    };
    let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_address = name.starts_with('[') && name.ends_with(']');
    if host != ANY && !is_dns_name(name) && !is_address && name.parse::<std::net::Ipv4Addr>().is_err() {
        let hint = "an origin is a scheme, a host and perhaps a port; a wildcard is the whole first label".to_owned();
        report.error_with_hint(path, format!("{text:?} is not an origin"), hint);
        return None;
    }
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) != port.is_some() {
        report.error(path, format!("{text:?} has a port that is none"));
        return None;
    }
    // Browsers leave out the port that the scheme has anyway.
    let is_default = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    let port = port.filter(|_| !is_default).map(|port| format!(":{port}")).unwrap_or_default();
    Some(AllowedOrigin::new(&format!("{scheme}://{host}{port}")))
}
