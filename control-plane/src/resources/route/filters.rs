//! What a rule, or one share of it, changes in requests and responses.
//!
//! The generated types of Gateway API repeat a filter's shape for each place that it may stand in; the shapes are the
//! same, so that all of them are read as the filter of an `HTTPRoute` rule.

use gateway_api::experimental::httproutes::{
    HttpRouteRulesBackendRefsFilters, HttpRouteRulesFilters, HttpRouteRulesFiltersRequestHeaderModifier,
    HttpRouteRulesFiltersRequestRedirect, HttpRouteRulesFiltersRequestRedirectPathType as RedirectPathType,
    HttpRouteRulesFiltersRequestRedirectScheme as Scheme, HttpRouteRulesFiltersType as Type,
    HttpRouteRulesFiltersUrlRewrite, HttpRouteRulesFiltersUrlRewritePathType as RewritePathType,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use weft_proxy_api::{
    policy::Cors,
    route::{Filters, HeaderModifier, PathMatch, PathRewrite, Redirect, Rewrite},
};

use super::{
    MirrorRef, RankedMatch,
    backends::read_port,
    cors::read_cors,
    matches::{check_path, read_header_name},
    mirror::read_mirror,
};
use crate::resources::{
    mesh_service::is_dns_name,
    problem::{Path, Report},
};

/// The filters of a rule.
#[derive(Default)]
pub(super) struct AllFilters {
    pub filters: Filters,
    /// In the place of the rule's backends.
    pub redirect: Option<Redirect>,
    pub mirrors: Vec<MirrorRef>,
    /// With the number of its filter.
    pub cors: Option<(usize, Cors)>,
}

pub(super) fn read_filters(
    written: Vec<HttpRouteRulesFilters>,
    namespace: &str,
    path: &Path,
    report: &mut Report,
) -> AllFilters {
    let AllFilters { mut filters, mut redirect, mut mirrors, mut cors } = AllFilters::default();
    let mut seen = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let path = path.index(index);
        check_shape(&written, &path, report);
        // Gateway API: a request can be mirrored to several backends.
        if written.r#type != Type::RequestMirror && seen.contains(&written.r#type) {
            report.error(&path, format!("a rule has one {} filter", type_name(&written.r#type)));
        }
        match written.r#type {
            Type::RequestHeaderModifier => {
                let path = path.field("requestHeaderModifier");
                let modifier = written.request_header_modifier.map(|written| read_modifier(written, &path, report));
                filters.request = modifier.unwrap_or_default();
            }
            Type::ResponseHeaderModifier => {
                let path = path.field("responseHeaderModifier");
                let written = written.response_header_modifier.map(|written| same_shape(&written));
                filters.response = written.map(|written| read_modifier(written, &path, report)).unwrap_or_default();
            }
            Type::UrlRewrite => {
                let path = path.field("urlRewrite");
                filters.rewrite = written.url_rewrite.map(|written| read_rewrite(written, &path, report));
            }
            Type::RequestRedirect => {
                let path = path.field("requestRedirect");
                redirect = written.request_redirect.map(|written| read_redirect(written, &path, report));
            }
            Type::RequestMirror => {
                let path = path.field("requestMirror");
                let written = written.request_mirror;
                mirrors.extend(written.map(|written| read_mirror(written, (index, namespace), &path, report)));
            }
            Type::Cors => {
                let path = path.field("cors");
                cors = written.cors.map(|written| (index, read_cors(written, &path, report)));
            }
            Type::ExtensionRef | Type::ExternalAuth => refuse(&written.r#type, &path, report),
        }
        seen.push(written.r#type);
    }
    if redirect.is_some() && filters.rewrite.is_some() {
        report.error(path, "a rule either redirects (RequestRedirect) or rewrites (URLRewrite), not both");
    }
    AllFilters { filters, redirect, mirrors, cors }
}

/// The filters of one backendRef.
pub(super) fn of_backend(
    written: Vec<HttpRouteRulesBackendRefsFilters>,
    namespace: &str,
    path: &Path,
    report: &mut Report,
) -> Filters {
    let written: Vec<HttpRouteRulesFilters> = written.iter().map(same_shape).collect();
    let of_rule = [Type::UrlRewrite, Type::RequestRedirect, Type::RequestMirror, Type::Cors];
    for (index, filter) in written.iter().enumerate() {
        if of_rule.contains(&filter.r#type) {
            let reason =
                format!("{} is carried out for a whole rule, not for one backendRef", type_name(&filter.r#type));
            report.error(&path.index(index).field("type"), reason);
        }
    }
    let AllFilters { filters, .. } = read_filters(written, namespace, path, report);
    Filters { rewrite: None, ..filters }
}

/// Turns one of the generated types into another that is the same JSON.
pub(super) fn same_shape<T: DeserializeOwned + Default>(value: &impl Serialize) -> T {
    serde_json::to_value(value).and_then(serde_json::from_value).unwrap_or_default()
}

fn type_name(r#type: &Type) -> &'static str {
    match r#type {
        Type::RequestHeaderModifier => "RequestHeaderModifier",
        Type::ResponseHeaderModifier => "ResponseHeaderModifier",
        Type::RequestMirror => "RequestMirror",
        Type::RequestRedirect => "RequestRedirect",
        Type::UrlRewrite => "URLRewrite",
        Type::ExtensionRef => "ExtensionRef",
        Type::Cors => "CORS",
        Type::ExternalAuth => "ExternalAuth",
    }
}

fn refuse(r#type: &Type, path: &Path, report: &mut Report) {
    let reason = format!("this version of weft does not carry out {}", type_name(r#type));
    report.error(&path.field("type"), reason);
}

/// The settings of exactly the filter's own type.
fn check_shape(filter: &HttpRouteRulesFilters, path: &Path, report: &mut Report) {
    let settings = [
        (Type::RequestHeaderModifier, "requestHeaderModifier", filter.request_header_modifier.is_some()),
        (Type::ResponseHeaderModifier, "responseHeaderModifier", filter.response_header_modifier.is_some()),
        (Type::RequestMirror, "requestMirror", filter.request_mirror.is_some()),
        (Type::RequestRedirect, "requestRedirect", filter.request_redirect.is_some()),
        (Type::UrlRewrite, "urlRewrite", filter.url_rewrite.is_some()),
        (Type::ExtensionRef, "extensionRef", filter.extension_ref.is_some()),
        (Type::Cors, "cors", filter.cors.is_some()),
        (Type::ExternalAuth, "externalAuth", filter.external_auth.is_some()),
    ];
    for (r#type, field, present) in settings {
        if r#type == filter.r#type && !present {
            report.error(path, format!("a filter of type {} has its settings in {field}", type_name(&r#type)));
        } else if r#type != filter.r#type && present {
            let reason = format!("{field} has no effect in a filter of type {}", type_name(&filter.r#type));
            report.error(&path.field(field), reason);
        }
    }
}

fn read_modifier(
    written: HttpRouteRulesFiltersRequestHeaderModifier,
    path: &Path,
    report: &mut Report,
) -> HeaderModifier {
    if written == HttpRouteRulesFiltersRequestHeaderModifier::default() {
        report.error(path, "expected at least one of set, add, remove");
    }
    let mut modifier = HeaderModifier::default();
    let set = written.set.unwrap_or_default().into_iter().map(|header| (header.name, header.value));
    for (index, (name, value)) in set.enumerate() {
        modifier.set.extend(read_header(&name, &value, &path.field("set").index(index), report));
    }
    let add = written.add.unwrap_or_default().into_iter().map(|header| (header.name, header.value));
    for (index, (name, value)) in add.enumerate() {
        modifier.add.extend(read_header(&name, &value, &path.field("add").index(index), report));
    }
    for (index, name) in written.remove.unwrap_or_default().into_iter().enumerate() {
        modifier.remove.extend(read_own_header(&name, &path.field("remove").index(index), report));
    }
    modifier
}

pub(in crate::resources) fn read_header(
    name: &str,
    value: &str,
    path: &Path,
    report: &mut Report,
) -> Option<(HeaderName, HeaderValue)> {
    let name = read_own_header(name, &path.field("name"), report);
    let value = HeaderValue::from_str(value);
    let value = value.map_err(|_| report.error(&path.field("value"), "not a header value: control characters")).ok();
    Some((name?, value?))
}

/// A header that a route may change: those that frame the message are the proxy's.
fn read_own_header(name: &str, path: &Path, report: &mut Report) -> Option<HeaderName> {
    let framing = [header::CONNECTION, header::CONTENT_LENGTH, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    let name = read_header_name(name, path, report)?;
    if framing.contains(&name) {
        report.error(path, format!("{name} belongs to the connection, which the proxy speaks for"));
        return None;
    }
    Some(name)
}

fn read_rewrite(written: HttpRouteRulesFiltersUrlRewrite, path: &Path, report: &mut Report) -> Rewrite {
    let hostname = read_hostname(written.hostname, path, report);
    let path_rewrite = written.path.and_then(|written| {
        let prefix = written.r#type == RewritePathType::ReplacePrefixMatch;
        let values = (written.replace_full_path, written.replace_prefix_match);
        read_path_rewrite(prefix, values, &path.field("path"), report)
    });
    if hostname.is_none() && path_rewrite.is_none() {
        report.error(path, "expected at least one of hostname and path");
    }
    Rewrite { hostname, path: path_rewrite }
}

fn read_redirect(written: HttpRouteRulesFiltersRequestRedirect, path: &Path, report: &mut Report) -> Redirect {
    let status = written.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        let reason = format!("a redirect answers with 301, 302, 303, 307 or 308, not {status}");
        report.error(&path.field("statusCode"), reason);
    }
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Redirect {
        scheme: written.scheme.map(|scheme| match scheme {
            Scheme::Http => "http".into(),
            Scheme::Https => "https".into(),
        }),
        hostname: read_hostname(written.hostname, path, report),
        port: read_port(written.port, path, report),
        path: written.path.and_then(|written| {
            let prefix = written.r#type == RedirectPathType::ReplacePrefixMatch;
            let values = (written.replace_full_path, written.replace_prefix_match);
            read_path_rewrite(prefix, values, &path.field("path"), report)
        }),
        status: status.unwrap_or(StatusCode::FOUND),
    }
}

fn read_hostname(hostname: Option<String>, path: &Path, report: &mut Report) -> Option<String> {
    if let Some(name) = hostname.as_deref().filter(|name| !is_dns_name(name)) {
        report.error(&path.field("hostname"), format!("{name:?} is not a host name"));
    }
    hostname
}

fn read_path_rewrite(
    prefix: bool,
    (full_path, prefix_match): (Option<String>, Option<String>),
    path: &Path,
    report: &mut Report,
) -> Option<PathRewrite> {
    let (wanted, other) =
        if prefix { ("replacePrefixMatch", "replaceFullPath") } else { ("replaceFullPath", "replacePrefixMatch") };
    let (value, unused) = if prefix { (prefix_match, full_path) } else { (full_path, prefix_match) };
    if unused.is_some() {
        report.error(&path.field(other), format!("{other} has no effect beside the type"));
    }
    let Some(value) = value else {
        report.error(path, format!("the type asks for {wanted}"));
        return None;
    };
    // An empty prefix stands for `/`.
    if !(prefix && value.is_empty()) {
        check_path(&value, &path.field(wanted), report);
    }
    Some(if prefix { PathRewrite::Prefix(value) } else { PathRewrite::Full(value) })
}

/// A prefix can only be replaced where one was matched. A match without a path is one of the prefix `/`.
pub(super) fn fit_prefix_rewrite(
    filters: &Filters,
    redirect: Option<&Redirect>,
    matches: &mut [RankedMatch],
    path: &Path,
    report: &mut Report,
) {
    let rewrite = filters.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
    let rewrite = rewrite.or(redirect.and_then(|redirect| redirect.path.as_ref()));
    if !matches!(rewrite, Some(PathRewrite::Prefix(_))) {
        return;
    }
    for (index, ranked) in matches.iter_mut().enumerate() {
        match ranked.matches.path {
            None => ranked.matches.path = Some(PathMatch::Prefix("/".into())),
            Some(PathMatch::Prefix(_)) => {}
            Some(PathMatch::Exact(_) | PathMatch::Regex(_)) => {
                let reason = "the rule replaces the matched prefix (ReplacePrefixMatch), so that its matches are of type PathPrefix";
                report.error(&path.field("matches").index(index).field("path"), reason);
            }
        }
    }
}
