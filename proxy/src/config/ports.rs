//! The ports at which the application serves: the one of `--app`, and further ones beside it.

use std::{collections::BTreeSet, net::SocketAddr};

use weft_proxy_api::MOST_PORTS;

use super::Config;

/// A port at which the application serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedPort {
    /// Under which others know it.
    pub service_port: u16,
    /// Where they reach it.
    pub address: SocketAddr,
    /// Where the application listens.
    pub app: SocketAddr,
}

impl Config {
    /// What clap cannot tell of the flags.
    ///
    /// # Errors
    /// They do not go together; in words, for who wrote them.
    pub fn check(&self) -> Result<(), String> {
        let Some((first, further)) = self.service_ports.split_first() else { return Ok(()) };
        if self.service_ports.len() > MOST_PORTS {
            return Err(format!("--service-port names {} ports: {MOST_PORTS} at most", self.service_ports.len()));
        }
        if let Some(port) = further.first().filter(|_| !self.intercept) {
            return Err(format!(
                "--service-port {port} is a further port beside {first}, which needs --intercept: only of redirected \
                 connections is it known which port they were meant for"
            ));
        }
        let mut named = BTreeSet::from([*first]);
        if let Some(port) = further.iter().find(|port| !named.insert(**port)) {
            return Err(format!("--service-port names {port} twice"));
        }
        let own = [
            ("--inbound-listen", self.inbound_listen.port()),
            ("--outbound-listen", self.outbound_listen.port()),
            ("--admin-listen", self.admin_listen.port()),
            ("--intercept-port", self.intercept_port),
            ("--dns-port", self.dns_port),
        ];
        if let Some((flag, port)) = own.iter().find(|(_, port)| further.contains(port)) {
            return Err(format!(
                "--service-port {port} is the sidecar's own, of {flag}: give one of them another port"
            ));
        }
        let of_first = [self.app.map(|app| app.port()), self.advertise.and_then(|advertise| advertise.port)];
        if let Some(port) = further.iter().find(|port| of_first.contains(&Some(**port))) {
            return Err(format!(
                "--service-port {port} is where others reach the application of --app, which stands behind the service \
                 port {first}: leave {port} out, or name it first, in place of {first}"
            ));
        }
        Ok(())
    }

    /// The ports at which the application serves, the one of `--app` first; none where there is no application.
    /// `advertised` is where others reach that one.
    pub fn served(&self, advertised: SocketAddr) -> Vec<ServedPort> {
        let Some((app, (first, further))) = self.app.zip(self.service_ports.split_first()) else { return Vec::new() };
        let at = |ip: SocketAddr, port: u16| SocketAddr::new(ip.ip(), port);
        let first = ServedPort { service_port: *first, address: advertised, app };
        let further = further.iter().map(|port| ServedPort {
            service_port: *port,
            address: at(advertised, *port),
            app: at(app, *port),
        });
        std::iter::once(first).chain(further).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::config;

    #[test]
    fn an_application_serves_at_its_own_port_and_at_further_ones() {
        let served = |flags: &[&str]| -> Vec<String> {
            let ports = config(flags).served("10.0.0.7:8080".parse().unwrap());
            ports.iter().map(|port| format!("{} {} {}", port.service_port, port.address, port.app)).collect()
        };
        assert!(served(&[]).is_empty());
        assert_eq!(served(&["--app", "127.0.0.1:8080"]), ["80 10.0.0.7:8080 127.0.0.1:8080"]);
        assert_eq!(
            served(&["--app", "0.0.0.0:8080", "--service-port", "81,9090", "--service-port", "9091"]),
            ["81 10.0.0.7:8080 0.0.0.0:8080", "9090 10.0.0.7:9090 0.0.0.0:9090", "9091 10.0.0.7:9091 0.0.0.0:9091"]
        );
    }

    #[test]
    fn further_ports_must_be_told_apart() {
        let check = |flags: &str| config(&flags.split_whitespace().collect::<Vec<_>>()).check();
        let refused = |flags: &str| check(flags).unwrap_err();
        assert_eq!((check(""), check("--service-port 81")), (Ok(()), Ok(())));
        assert_eq!(check("--intercept --app 0.0.0.0:8080 --service-port 80,9090"), Ok(()));
        assert!(refused("--app 0.0.0.0:8080 --service-port 80,9090").contains("needs --intercept"));
        assert!(refused("--intercept --service-port 80,9090,9090").contains("names 9090 twice"));
        assert!(refused("--intercept --service-port 80,80").contains("names 80 twice"));
        assert!(refused("--intercept --app 0.0.0.0:9090 --service-port 80,9090").contains("leave 9090 out"));
        assert!(refused("--intercept --advertise 10.0.0.1:9 --service-port 80,9").contains("leave 9 out"));
        let many: Vec<String> = (1..=65).map(|port| port.to_string()).collect();
        assert!(refused(&format!("--intercept --service-port {}", many.join(","))).contains("64 at most"));
    }
}
