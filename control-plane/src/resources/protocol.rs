//! What the application behind a port speaks: as `protocol` says, or `appProtocol` as Kubernetes has it, or the port's name
//! as Istio has it. One table for all three. Called by `mesh_service`.

use weft_proxy_api::destination::Protocol;

use super::{
    nearest::did_you_mean,
    problem::{Path, Report},
};

/// Every name and what it means. The databases are named because they speak first, so that nobody has to find that out.
const NAMES: [(&str, Protocol); 13] = [
    ("http", Protocol::Http1),
    ("http2", Protocol::Http2),
    ("grpc", Protocol::Grpc),
    ("tcp", Protocol::Tcp),
    ("tls", Protocol::Tls),
    ("https", Protocol::Tls),
    // Calls in HTTP/1.1 as well as HTTP/2, and not with gRPC's trailers.
    ("grpc-web", Protocol::Http1),
    ("mongo", Protocol::Tcp),
    ("mysql", Protocol::Tcp),
    ("redis", Protocol::Tcp),
    ("kubernetes.io/h2c", Protocol::Http2),
    ("kubernetes.io/ws", Protocol::Http1),
    ("kubernetes.io/wss", Protocol::Tls),
];

fn named(name: &str) -> Option<Protocol> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
}

/// The name under which a protocol is declared; none where nothing was.
pub(super) fn word(protocol: Protocol) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == protocol).map(|(name, _)| *name)
}

/// By the longest part of the name before a `-` that says something: `grpc-web-admin` is `grpc-web`.
fn of_port_name(name: &str) -> Option<Protocol> {
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    ends.filter_map(|end| named(name.get(..end)?)).next_back()
}

/// What a port says in its three places. What is written out counts more than a name.
pub(super) struct Said<'a> {
    pub protocol: Option<&'a str>,
    pub app_protocol: Option<&'a str>,
    pub name: Option<&'a str>,
}

impl Said<'_> {
    /// `path` is that of the port. A port that says nothing speaks what its callers speak.
    pub fn read(&self, path: &Path, report: &mut Report) -> Protocol {
        let own = self.protocol.and_then(named);
        let app = self.app_protocol.and_then(|name| {
            let found = named(name);
            if found.is_none() {
                unknown(name, &path.field("appProtocol"), report);
            }
            found
        });
        if let (Some(own), Some(app), Some(protocol)) = (own, app, self.protocol)
            && own != app
        {
            let reason = format!("it contradicts the port's protocol, {protocol}");
            report.error_with_hint(&path.field("appProtocol"), reason, "leave one of them out".to_owned());
        }
        own.or(app).or_else(|| self.name.and_then(of_port_name)).unwrap_or_default()
    }
}

fn unknown(name: &str, path: &Path, report: &mut Report) {
    let known = NAMES.map(|(name, _)| name);
    let hint = did_you_mean(name, known).unwrap_or_else(|| "leave it out if it is none of these".to_owned());
    let reason = format!("expected one of {}, found {name:?}", known.join(", "));
    report.error_with_hint(path, reason, hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(protocol: Option<&str>, app_protocol: Option<&str>, name: Option<&str>) -> (Protocol, Vec<String>) {
        let mut report = Report::default();
        let said = Said { protocol, app_protocol, name };
        let protocol = said.read(&Path::from("spec.ports[0]"), &mut report);
        (protocol, report.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_port_name_says_the_protocol_by_its_first_part() {
        let table = [
            ("http", Protocol::Http1),
            ("http-admin", Protocol::Http1),
            ("http2-a-b", Protocol::Http2),
            ("grpc-orders", Protocol::Grpc),
            ("grpc-web", Protocol::Http1),
            ("grpc-web-x", Protocol::Http1),
            ("tcp-raw", Protocol::Tcp),
            ("tls-x", Protocol::Tls),
            ("https-x", Protocol::Tls),
            ("mysql", Protocol::Tcp),
            ("httpx", Protocol::Detect),
            ("web", Protocol::Detect),
            ("my-http", Protocol::Detect),
        ];
        for (name, expected) in table {
            assert_eq!(read(None, None, Some(name)), (expected, vec![]), "{name}");
        }
    }

    #[test]
    fn what_is_written_out_counts_more_than_the_name() {
        assert_eq!(read(Some("tcp"), None, Some("http")).0, Protocol::Tcp);
        assert_eq!(read(None, Some("kubernetes.io/h2c"), Some("tcp-x")).0, Protocol::Http2);
        assert_eq!(read(None, Some("kubernetes.io/ws"), None).0, Protocol::Http1);
        assert_eq!(read(Some("tls"), Some("https"), None), (Protocol::Tls, vec![]), "both say the same");
        assert_eq!(read(None, None, None), (Protocol::Detect, vec![]));
    }

    #[test]
    fn what_contradicts_and_what_is_unknown_is_told_with_its_place() {
        let (_, problems) = read(Some("http"), Some("https"), None);
        let expected = "spec.ports[0].appProtocol: it contradicts the port's protocol, http (leave one of them out)";
        assert_eq!(problems, [expected]);
        let (_, problems) = read(None, Some("kubernetes.io/h2"), None);
        assert!(
            problems[0].starts_with("spec.ports[0].appProtocol: expected one of http, http2, grpc, "),
            "{problems:?}"
        );
        assert!(
            problems[0].ends_with(r#"found "kubernetes.io/h2" (did you mean "kubernetes.io/h2c"?)"#),
            "{problems:?}"
        );
    }
}
