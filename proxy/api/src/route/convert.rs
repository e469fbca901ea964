//! Routes to and from the wire.

use super::*;

impl From<&Route> for pb::Route {
    fn from(value: &Route) -> Self {
        Self { r#match: Some((&value.matches).into()), rule: u32::try_from(value.rule).unwrap_or(u32::MAX) }
    }
}

impl TryFrom<pb::Route> for Route {
    type Error = WireError;

    fn try_from(wire: pb::Route) -> Result<Self, WireError> {
        let matches = wire.r#match.unwrap_or_default().try_into().map_err(|e: WireError| e.within("match"))?;
        Ok(Self { matches, rule: wire.rule as usize })
    }
}

impl From<&RouteMatch> for pb::RouteMatch {
    fn from(value: &RouteMatch) -> Self {
        use pb::path_match::Match;
        let path = value.path.as_ref().map(|path| match path {
            PathMatch::Exact(path) => Match::Exact(path.clone()),
            PathMatch::Prefix(path) => Match::Prefix(path.clone()),
            PathMatch::Regex(pattern) => Match::Regex(pattern.as_str().to_owned()),
        });
        Self {
            path: path.map(|path| pb::PathMatch { r#match: Some(path) }),
            method: value.method.as_ref().map(ToString::to_string).unwrap_or_default(),
            headers: value.headers.iter().map(Into::into).collect(),
            query: value.query.iter().map(|q| value_match(&q.name, &q.value)).collect(),
        }
    }
}

fn value_match(name: &str, value: &ValueMatch) -> pb::ValueMatch {
    use pb::value_match::Match;
    let value = match value {
        ValueMatch::Exact(value) => Match::Exact(value.clone()),
        ValueMatch::Regex(pattern) => Match::Regex(pattern.as_str().to_owned()),
    };
    pb::ValueMatch { name: name.to_owned(), r#match: Some(value) }
}

impl TryFrom<pb::RouteMatch> for RouteMatch {
    type Error = WireError;

    fn try_from(wire: pb::RouteMatch) -> Result<Self, WireError> {
        use pb::path_match::Match;
        let path = match wire.path.and_then(|path| path.r#match) {
            None => None,
            Some(Match::Exact(path)) => Some(PathMatch::Exact(path)),
            Some(Match::Prefix(path)) => Some(PathMatch::Prefix(path)),
            Some(Match::Regex(source)) => Some(PathMatch::Regex(pattern(source, "path.regex")?)),
        };
        let method = non_empty(wire.method)
            .map(|method| Method::from_bytes(method.as_bytes()))
            .transpose()
            .map_err(|e| WireError::new("method", e))?;
        Ok(Self {
            path,
            method,
            headers: each(wire.headers, "headers", TryInto::try_into)?,
            query: each(wire.query, "query", |q| Ok(QueryMatch { name: q.name, value: value(q.r#match)? }))?,
        })
    }
}

impl From<&HeaderMatch> for pb::ValueMatch {
    fn from(header: &HeaderMatch) -> Self {
        value_match(header.name.as_str(), &header.value)
    }
}

impl TryFrom<pb::ValueMatch> for HeaderMatch {
    type Error = WireError;

    fn try_from(wire: pb::ValueMatch) -> Result<Self, WireError> {
        Ok(Self { name: header_name(wire.name)?, value: value(wire.r#match)? })
    }
}

fn value(wire: Option<pb::value_match::Match>) -> Result<ValueMatch, WireError> {
    Ok(match required(wire, "match")? {
        pb::value_match::Match::Exact(value) => ValueMatch::Exact(value),
        pb::value_match::Match::Regex(source) => ValueMatch::Regex(pattern(source, "regex")?),
    })
}

fn pattern(source: String, field: &str) -> Result<Pattern, WireError> {
    Pattern::new(source).map_err(|e| WireError::new(field, e))
}

fn header_name(name: String) -> Result<HeaderName, WireError> {
    HeaderName::try_from(name).map_err(|e| WireError::new("name", e))
}

impl From<&Rule> for pb::Rule {
    fn from(value: &Rule) -> Self {
        use pb::rule::Action as Wire;
        Self {
            origin: Some(pb::Origin {
                kind: value.origin.kind.clone(),
                namespace: value.origin.namespace.clone(),
                name: value.origin.name.clone(),
                rule: value.origin.rule,
            }),
            filters: Some((&value.filters).into()),
            policies: Some((&value.policies).into()),
            action: Some(match &value.action {
                Action::Split(split) => Wire::Split(split.into()),
                Action::Redirect(redirect) => Wire::Redirect(redirect.into()),
            }),
        }
    }
}

impl TryFrom<pb::Rule> for Rule {
    type Error = WireError;

    fn try_from(wire: pb::Rule) -> Result<Self, WireError> {
        let origin = wire.origin.unwrap_or_default();
        let action = match required(wire.action, "action")? {
            pb::rule::Action::Split(split) => {
                Action::Split(split.try_into().map_err(|e: WireError| e.within("split"))?)
            }
            pb::rule::Action::Redirect(redirect) => {
                Action::Redirect(redirect.try_into().map_err(|e: WireError| e.within("redirect"))?)
            }
        };
        Ok(Self {
            origin: Origin { kind: origin.kind, namespace: origin.namespace, name: origin.name, rule: origin.rule },
            filters: filters(wire.filters)?,
            action,
            policies: wire.policies.unwrap_or_default().try_into().map_err(|e: WireError| e.within("policies"))?,
        })
    }
}

impl From<&Split> for pb::Split {
    fn from(value: &Split) -> Self {
        use pb::{sticky::Key, weighted_backend::Target as Wire};
        let backends = value.backends.iter().map(|backend| pb::WeightedBackend {
            weight: backend.weight,
            target: Some(match &backend.target {
                Target::Backend(name) => Wire::Backend(name.into()),
                Target::Unresolved(reason) => Wire::Unresolved(reason.clone()),
            }),
            filters: Some((&backend.filters).into()),
        });
        let sticky = value.sticky.as_ref().map(|sticky| match sticky {
            Sticky::Header(name) => Key::Header(name.to_string()),
            Sticky::Cookie(name) => Key::Cookie(name.clone()),
        });
        Self { backends: backends.collect(), sticky: sticky.map(|key| pb::Sticky { key: Some(key) }) }
    }
}

impl TryFrom<pb::Split> for Split {
    type Error = WireError;

    fn try_from(wire: pb::Split) -> Result<Self, WireError> {
        use pb::{sticky::Key, weighted_backend::Target as Wire};
        let backends = each(wire.backends, "backends", |backend| {
            Ok(WeightedBackend {
                weight: backend.weight,
                target: match required(backend.target, "target")? {
                    Wire::Backend(name) => Target::Backend(name.try_into()?),
                    Wire::Unresolved(reason) => Target::Unresolved(reason),
                },
                filters: filters(backend.filters)?,
            })
        })?;
        let sticky = match wire.sticky.and_then(|sticky| sticky.key) {
            None => None,
            Some(Key::Header(name)) => Some(Sticky::Header(header_name(name).map_err(|e| e.within("sticky"))?)),
            Some(Key::Cookie(name)) => Some(Sticky::Cookie(name)),
        };
        Ok(Self { backends, sticky })
    }
}

impl From<&Filters> for pb::Filters {
    fn from(value: &Filters) -> Self {
        Self {
            request: Some((&value.request).into()),
            response: Some((&value.response).into()),
            rewrite: value.rewrite.as_ref().map(|rewrite| pb::Rewrite {
                hostname: rewrite.hostname.clone().unwrap_or_default(),
                path: rewrite.path.as_ref().map(Into::into),
            }),
        }
    }
}

fn filters(wire: Option<pb::Filters>) -> Result<Filters, WireError> {
    let wire = wire.unwrap_or_default();
    let modifier = |wire: Option<pb::HeaderModifier>, side: &str| {
        wire.unwrap_or_default().try_into().map_err(|e: WireError| e.within(side))
    };
    Ok(Filters {
        request: modifier(wire.request, "filters.request")?,
        response: modifier(wire.response, "filters.response")?,
        rewrite: wire.rewrite.map(|rewrite| Rewrite {
            hostname: non_empty(rewrite.hostname),
            path: rewrite.path.and_then(path_rewrite),
        }),
    })
}

pub(crate) fn to_header((name, value): &(HeaderName, HeaderValue)) -> pb::Header {
    pb::Header { name: name.to_string(), value: String::from_utf8_lossy(value.as_bytes()).into_owned() }
}

pub(crate) fn header(wire: pb::Header) -> Result<(HeaderName, HeaderValue), WireError> {
    let value = HeaderValue::try_from(wire.value).map_err(|e| WireError::new("value", e))?;
    Ok((header_name(wire.name)?, value))
}

impl From<&HeaderModifier> for pb::HeaderModifier {
    fn from(value: &HeaderModifier) -> Self {
        Self {
            set: value.set.iter().map(to_header).collect(),
            add: value.add.iter().map(to_header).collect(),
            remove: value.remove.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<pb::HeaderModifier> for HeaderModifier {
    type Error = WireError;

    fn try_from(wire: pb::HeaderModifier) -> Result<Self, WireError> {
        Ok(Self {
            set: each(wire.set, "set", header)?,
            add: each(wire.add, "add", header)?,
            remove: each(wire.remove, "remove", header_name)?,
        })
    }
}

impl From<&PathRewrite> for pb::PathRewrite {
    fn from(value: &PathRewrite) -> Self {
        use pb::path_rewrite::Rewrite as Wire;
        let rewrite = match value {
            PathRewrite::Full(path) => Wire::Full(path.clone()),
            PathRewrite::Prefix(prefix) => Wire::Prefix(prefix.clone()),
        };
        Self { rewrite: Some(rewrite) }
    }
}

fn path_rewrite(wire: pb::PathRewrite) -> Option<PathRewrite> {
    use pb::path_rewrite::Rewrite as Wire;
    wire.rewrite.map(|rewrite| match rewrite {
        Wire::Full(path) => PathRewrite::Full(path),
        Wire::Prefix(prefix) => PathRewrite::Prefix(prefix),
    })
}

impl From<&Redirect> for pb::Redirect {
    fn from(value: &Redirect) -> Self {
        Self {
            scheme: value.scheme.clone().unwrap_or_default(),
            hostname: value.hostname.clone().unwrap_or_default(),
            port: value.port.unwrap_or(0).into(),
            path: value.path.as_ref().map(Into::into),
            status: value.status.as_u16().into(),
        }
    }
}

impl TryFrom<pb::Redirect> for Redirect {
    type Error = WireError;

    fn try_from(wire: pb::Redirect) -> Result<Self, WireError> {
        let port = u16::try_from(wire.port).map_err(|e| WireError::new("port", e))?;
        let status = u16::try_from(wire.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        Ok(Self {
            scheme: non_empty(wire.scheme),
            hostname: non_empty(wire.hostname),
            port: (port > 0).then_some(port),
            path: wire.path.and_then(path_rewrite),
            status: status
                .filter(StatusCode::is_redirection)
                .ok_or_else(|| WireError::new("status", format!("{} is not a redirection", wire.status)))?,
        })
    }
}

impl From<&TlsRoute> for pb::TlsRoute {
    fn from(value: &TlsRoute) -> Self {
        Self { hostnames: value.hostnames.clone(), rule: u32::try_from(value.rule).unwrap_or(u32::MAX) }
    }
}

impl TryFrom<pb::TlsRoute> for TlsRoute {
    type Error = WireError;

    fn try_from(wire: pb::TlsRoute) -> Result<Self, WireError> {
        Ok(Self { hostnames: wire.hostnames, rule: wire.rule as usize })
    }
}
