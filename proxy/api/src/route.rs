//! Routes and rules of a destination, as values. Precedence is decided where they are compiled: here the first
//! route that matches is the one that is taken.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::{
    name::ServicePort,
    policy::Policies,
    proto::api::v1 as pb,
    wire::{WireError, each, non_empty, required},
};

/// What a request must be like, and the rule that then applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub matches: RouteMatch,
    /// Index into [`crate::Service::rules`].
    pub rule: usize,
}

/// Which server names a rule is for, of connections that carry the application's own TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRoute {
    /// In lower case: `shop.example.com`, or `*.example.com` for all names below it. None: any name, and no name.
    pub hostnames: Vec<String>,
    /// Index into [`crate::Service::rules`].
    pub rule: usize,
}

impl TlsRoute {
    /// Whether it is for connections that ask for this server name (RFC 6066, section 3).
    pub fn is_for(&self, server_name: Option<&str>) -> bool {
        let Some(name) = server_name else { return self.hostnames.is_empty() };
        let is = |pattern: &String| match pattern.strip_prefix('*') {
            Some(suffix) => name.len() > suffix.len() && name.to_ascii_lowercase().ends_with(suffix),
            None => name.eq_ignore_ascii_case(pattern),
        };
        self.hostnames.is_empty() || self.hostnames.iter().any(is)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// `None`: any path.
    pub path: Option<PathMatch>,
    pub method: Option<Method>,
    /// All must hold.
    pub headers: Vec<HeaderMatch>,
    /// All must hold.
    pub query: Vec<QueryMatch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    /// By whole segments: `/a` covers `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// The whole path.
    Regex(Pattern),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    Exact(String),
    /// The whole value.
    Regex(Pattern),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    pub name: HeaderName,
    pub value: ValueMatch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// A regular expression that is known to compile, anchored at both ends when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Larger expressions are refused: their automata would cost every sidecar memory.
pub const PATTERN_SIZE_LIMIT: usize = 1 << 20;

impl Pattern {
    pub fn new(source: impl Into<String>) -> Result<Self, String> {
        let pattern = Self(source.into());
        pattern.build().map(|_| ()).map_err(|e| e.to_string())?;
        Ok(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The compiled expression, anchored. It was compiled once before, so that an error is not expected.
    pub fn build(&self) -> Result<regex::Regex, regex::Error> {
        regex::RegexBuilder::new(&format!("^(?:{})$", self.0)).size_limit(PATTERN_SIZE_LIMIT).build()
    }
}

/// The object that a rule was compiled from, for messages to people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub rule: u32,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{} rule {}", self.kind, self.namespace, self.name, self.rule)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub origin: Origin,
    pub filters: Filters,
    pub action: Action,
    pub policies: Policies,
}

impl Rule {
    /// The backends that its requests and their copies are sent to.
    pub fn backends(&self) -> impl Iterator<Item = &ServicePort> {
        let shares = match &self.action {
            Action::Split(split) => split.backends.as_slice(),
            Action::Redirect(_) => &[],
        };
        let targets = shares.iter().map(|share| &share.target);
        targets.chain(self.policies.mirrors.iter().map(|mirror| &mirror.target)).filter_map(Target::backend)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Split(Split),
    Redirect(Redirect),
}

/// Shares of the traffic. Weights that sum to 0 are allowed: every request is then answered with 500.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub backends: Vec<WeightedBackend>,
    pub sticky: Option<Sticky>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedBackend {
    pub weight: u32,
    pub target: Target,
    pub filters: Filters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Backend(ServicePort),
    /// Why this share cannot be sent anywhere.
    Unresolved(String),
}

impl Target {
    pub fn backend(&self) -> Option<&ServicePort> {
        match self {
            Self::Backend(name) => Some(name),
            Self::Unresolved(_) => None,
        }
    }
}

/// Where the key is found that keeps a user on one side of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    Header(HeaderName),
    Cookie(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    pub request: HeaderModifier,
    pub response: HeaderModifier,
    pub rewrite: Option<Rewrite>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderModifier {
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub hostname: Option<String>,
    pub path: Option<PathRewrite>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    Full(String),
    /// Replaces the prefix that the route matched.
    Prefix(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: Option<String>,
    pub hostname: Option<String>,
    pub port: Option<u16>,
    pub path: Option<PathRewrite>,
    pub status: StatusCode,
}

mod convert;
pub(crate) use convert::{header, to_header};
