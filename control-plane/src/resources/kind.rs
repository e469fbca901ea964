//! What kinds of resources there are, and the key by which one object is known.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::nearest::did_you_mean;

pub const GATEWAY_API_VERSION: &str = "gateway.networking.k8s.io/v1";
/// Of kinds that Gateway API calls experimental.
pub const GATEWAY_API_ALPHA_VERSION: &str = "gateway.networking.k8s.io/v1alpha2";
pub const WEFT_API_VERSION: &str = "weft.dev/v1alpha1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    #[serde(rename = "TLSRoute")]
    TlsRoute,
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    MeshService,
    TrafficPolicy,
    AccessPolicy,
    RateLimitPolicy,
    MeshConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind {text:?}{}", hint.as_ref().map(|hint| format!(", {hint}")).unwrap_or_default())]
pub struct UnknownKind {
    pub text: String,
    pub hint: Option<String>,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::MeshService,
        Kind::TrafficPolicy,
        Kind::AccessPolicy,
        Kind::RateLimitPolicy,
        Kind::MeshConfig,
    ];

    /// Those of routes, the more special first, as Gateway API orders them.
    pub const ROUTES: [Kind; 4] = [Kind::GrpcRoute, Kind::HttpRoute, Kind::TlsRoute, Kind::TcpRoute];

    /// As it is written in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Kind::HttpRoute => "HTTPRoute",
            Kind::GrpcRoute => "GRPCRoute",
            Kind::TlsRoute => "TLSRoute",
            Kind::TcpRoute => "TCPRoute",
            Kind::MeshService => "MeshService",
            Kind::TrafficPolicy => "TrafficPolicy",
            Kind::AccessPolicy => "AccessPolicy",
            Kind::RateLimitPolicy => "RateLimitPolicy",
            Kind::MeshConfig => "MeshConfig",
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute => GATEWAY_API_VERSION,
            Kind::TcpRoute => GATEWAY_API_ALPHA_VERSION,
            Kind::MeshService | Kind::TrafficPolicy | Kind::AccessPolicy | Kind::RateLimitPolicy | Kind::MeshConfig => {
                WEFT_API_VERSION
            }
        }
    }

    pub fn namespaced(self) -> bool {
        self != Kind::MeshConfig
    }

    /// The kind of exactly this name, as YAML asks for it.
    pub(super) fn exact(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// As people type it: `HTTPRoute`, `httproute`, `httproutes`, `http-route`.
impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let matches = |kind: &Kind| {
            let name = kind.name().to_ascii_lowercase();
            plain == name || plain == plural(&name)
        };
        Self::ALL
            .into_iter()
            .find(matches)
            .ok_or_else(|| UnknownKind { text: text.to_owned(), hint: did_you_mean(text, Self::ALL.map(Kind::name)) })
    }
}

fn plural(name: &str) -> String {
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{name}s"),
    }
}

/// Names one object of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub kind: Kind,
    /// Empty for a kind without namespaces.
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let namespace = if kind.namespaced() { namespace.into() } else { String::new() };
        Self { kind, namespace, name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_people_type_them() {
        for text in ["HTTPRoute", "httproute", "httproutes", "http-route", "HttpRoutes"] {
            assert_eq!(text.parse(), Ok(Kind::HttpRoute), "{text}");
        }
        assert_eq!("trafficpolicies".parse(), Ok(Kind::TrafficPolicy));
        assert_eq!("meshconfig".parse(), Ok(Kind::MeshConfig));
        assert_eq!("tlsroute".parse(), Ok(Kind::TlsRoute));
        assert_eq!("access-policies".parse(), Ok(Kind::AccessPolicy));
        assert_eq!("ratelimitpolicies".parse(), Ok(Kind::RateLimitPolicy));
        let error = "HTPRoute".parse::<Kind>().unwrap_err();
        assert_eq!(error.to_string(), r#"there is no kind "HTPRoute", did you mean "HTTPRoute"?"#);
        assert_eq!("pod".parse::<Kind>().unwrap_err().hint, None);
    }

    #[test]
    fn keys_are_written_for_people() {
        assert_eq!(Key::new(Kind::HttpRoute, "shop", "orders").to_string(), "HTTPRoute shop/orders");
        assert_eq!(Key::new(Kind::MeshConfig, "shop", "default").to_string(), "MeshConfig default");
    }
}
