//! Session persistence as a rule says it (GEP-1619).

use std::time::Duration;

use gateway_api::experimental::httproutes::{
    HttpRouteRulesSessionPersistence, HttpRouteRulesSessionPersistenceCookieConfigLifetimeType as Lifetime,
    HttpRouteRulesSessionPersistenceType as Type,
};
use http::HeaderName;
use weft_proxy_api::policy::{Carrier, Session};

use crate::resources::{
    Key,
    duration::parse_duration,
    problem::{Path, Report},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// A token of RFC 9110, in lower case for a header.
    name: Option<String>,
    in_header: bool,
    permanent: bool,
    absolute: Option<Duration>,
    idle: Option<Duration>,
}

pub(super) fn read_session(written: HttpRouteRulesSessionPersistence, path: &Path, report: &mut Report) -> SessionSpec {
    let in_header = written.r#type == Some(Type::Header);
    if let Some(name) = written.session_name.as_deref().filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err())
    {
        let what = if in_header { "header" } else { "cookie" };
        report.error(&path.field("sessionName"), format!("{name:?} is not a {what} name"));
    }
    let absolute = read_limit(written.absolute_timeout.as_deref(), &path.field("absoluteTimeout"), report);
    let idle = read_limit(written.idle_timeout.as_deref(), &path.field("idleTimeout"), report);
    if let (Some(absolute), Some(idle)) = (absolute, idle)
        && idle > absolute
    {
        let reason = "a session that has ended is not idle any more: longer than absoluteTimeout";
        report.error(&path.field("idleTimeout"), reason);
    }
    if in_header && written.cookie_config.is_some() {
        report.error(&path.field("cookieConfig"), "cookieConfig has no effect beside the type Header");
    }
    let permanent = written.cookie_config.is_some_and(|config| config.lifetime_type == Some(Lifetime::Permanent));
    if permanent && !in_header && written.absolute_timeout.is_none() {
        let reason = "a cookie that outlives the browser's session has a lifetime";
        let hint = "add absoluteTimeout: 1h".to_owned();
        report.error_with_hint(&path.field("cookieConfig").field("lifetimeType"), reason, hint);
    }
    SessionSpec { name: written.session_name, in_header, permanent, absolute, idle }
}

fn read_limit(written: Option<&str>, path: &Path, report: &mut Report) -> Option<Duration> {
    let limit = parse_duration(written?).map_err(|reason| report.error(path, reason)).ok()?;
    if limit.is_zero() {
        report.error(path, "must be more than 0s");
    }
    Some(limit)
}

impl SessionSpec {
    /// What is left unnamed has a name of its own in each rule: two rules with one cookie would take it from each other.
    pub fn session(&self, route: &Key, rule: u32) -> Session {
        let name = self.name.clone().unwrap_or_else(|| {
            let kind = route.kind.name().to_ascii_lowercase();
            format!("weft-session-{kind}-{}-{rule}", route.name)
        });
        let header = self.in_header.then(|| HeaderName::from_bytes(name.as_bytes()).ok()).flatten();
        let carrier = match header {
            Some(header) => Carrier::Header(header),
            None => Carrier::Cookie { name, permanent: self.permanent },
        };
        Session { carrier, absolute: self.absolute, idle: self.idle }
    }
}
