//! What is checked of an application, and where. Pure.

use std::{net::SocketAddr, time::Duration};

use weft_proxy_api::policy::{CheckKind, HealthCheck};

/// One check, and the address that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub at: SocketAddr,
    pub check: HealthCheck,
}

/// Of one port of the workload: `endpoint_port` is where others reach the application, which listens at `app`. It must
/// accept connections there, whatever else is checked. `configured` are the checks of all ports, as others know them.
pub fn plan(configured: &[HealthCheck], app: SocketAddr, endpoint_port: u16) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for check in configured.iter().filter(|check| check.traffic_port.is_none_or(|port| port == endpoint_port)) {
        let port = if check.port == endpoint_port { app.port() } else { check.port };
        let at = SocketAddr::new(app.ip(), port);
        if !planned.iter().any(|other| other.at == at) {
            planned.push(Planned { at, check: check.clone() });
        }
    }
    if !planned.iter().any(|planned| planned.at == app) {
        planned.push(Planned { at: app, check: accepts_connections(app.port()) });
    }
    planned
}

/// A single refused connection may be a full backlog; two in a row are an application that is gone.
fn accepts_connections(port: u16) -> HealthCheck {
    HealthCheck {
        port,
        traffic_port: None,
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        healthy_threshold: 1,
        unhealthy_threshold: 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_traffic_is_always_checked() {
        let app: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let http = |port, path: &str| HealthCheck {
            kind: CheckKind::Http { path: path.into(), host: None, statuses: Vec::new() },
            ..accepts_connections(port)
        };
        let planned = |configured: &[HealthCheck]| -> Vec<String> {
            let kind = |check: &HealthCheck| match &check.kind {
                CheckKind::Http { path, .. } => path.clone(),
                _ => "accepts".to_owned(),
            };
            let planned = plan(configured, app, 15006);
            planned.iter().map(|planned| format!("{} {}", planned.at.port(), kind(&planned.check))).collect()
        };
        assert_eq!(planned(&[]), ["8080 accepts"]);
        assert_eq!(planned(&[http(15006, "/a")]), ["8080 /a"], "as others know it");
        assert_eq!(planned(&[http(8080, "/a")]), ["8080 /a"], "as the application knows it");
        assert_eq!(planned(&[http(9000, "/a")]), ["9000 /a", "8080 accepts"]);
        assert_eq!(planned(&[http(15006, "/a"), http(8080, "/b")]), ["8080 /a"], "one for each port");
        let of = |traffic_port, check| HealthCheck { traffic_port: Some(traffic_port), ..check };
        let checks = [of(15006, http(9000, "/a")), of(9090, http(9000, "/b")), of(9090, http(9090, "/c"))];
        assert_eq!(planned(&checks), ["9000 /a", "8080 accepts"], "other ports have checks of their own");
    }
}
