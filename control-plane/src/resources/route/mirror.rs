//! Copies of a rule's requests (`RequestMirror`): where they go, and of how many requests there is one.

use gateway_api::experimental::httproutes::HttpRouteRulesFiltersRequestMirror;
use weft_proxy_api::policy::MILLION;

use super::{
    MirrorRef, Parent, RouteAction, RouteRule, ServiceRef,
    backends::{read_port, read_service_ref},
};
use crate::resources::problem::{Path, Report};

const PER_PERCENT: u32 = MILLION / 100;

/// `filter` is the number of the filter in its rule.
pub(super) fn read_mirror(
    written: HttpRouteRulesFiltersRequestMirror,
    (filter, namespace): (usize, &str),
    path: &Path,
    report: &mut Report,
) -> MirrorRef {
    let per_million = read_share(&written, path, report).unwrap_or(MILLION);
    let path = path.field("backendRef");
    let backend = written.backend_ref;
    let (kind, other) = (backend.kind.as_deref().unwrap_or("Service"), backend.namespace.as_deref());
    let service = (backend.group.as_deref(), kind);
    let service = read_service_ref(service, &backend.name, other.unwrap_or(namespace), &path, report);
    MirrorRef { target: ServiceRef { service, port: read_port(backend.port, &path, report) }, per_million, filter }
}

/// `None`: all of them.
fn read_share(written: &HttpRouteRulesFiltersRequestMirror, path: &Path, report: &mut Report) -> Option<u32> {
    if written.percent.is_some() && written.fraction.is_some() {
        report.error(&path.field("fraction"), "a share is written as percent or as fraction, not as both");
    }
    if let Some(written) = written.percent {
        let percent = u32::try_from(written).ok().filter(|percent| *percent <= 100);
        if percent.is_none() {
            report.error(&path.field("percent"), format!("a share is from 0 to 100 percent, not {written}"));
        }
        return percent.map(|percent| percent * PER_PERCENT);
    }
    let fraction = written.fraction.as_ref()?;
    let path = path.field("fraction");
    let whole = u64::try_from(fraction.denominator.unwrap_or(100)).ok().filter(|whole| *whole > 0);
    let Some(whole) = whole else {
        report.error(&path.field("denominator"), "a denominator is at least 1");
        return None;
    };
    let part = u64::try_from(fraction.numerator).ok().filter(|part| *part <= whole);
    if part.is_none() {
        let reason = format!("a share is from 0 to the denominator, {whole}, not {}", fraction.numerator);
        report.error(&path.field("numerator"), reason);
    }
    u32::try_from(part? * u64::from(MILLION) / whole).ok()
}

/// A copy that goes where its request went would only double the service's load, and do twice what is done once.
pub(super) fn check_mirrors(parents: &[Parent], rules: &[RouteRule], report: &mut Report) {
    for (index, rule) in rules.iter().enumerate() {
        for mirror in &rule.mirrors {
            let service = &mirror.target.service;
            let is_backend = match &rule.action {
                RouteAction::Split(backends) => backends.iter().any(|backend| backend.target.service == *service),
                RouteAction::Redirect(_) => false,
            };
            let reason = match (is_backend, parents.iter().any(|parent| parent.service == *service)) {
                (true, _) => format!("{service} is a backend of the rule, and would get its requests twice"),
                (_, true) => format!("{service} is what the route is attached to: a mirror of a service to itself"),
                _ => continue,
            };
            let path = Path::spec().field("rules").index(index).field("filters").index(mirror.filter);
            report.error(&path.field("requestMirror").field("backendRef"), reason);
        }
    }
}
