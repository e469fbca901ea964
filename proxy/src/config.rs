//! The sidecar's settings: flags, environment and `--settings` file share one set of names.

mod ports;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

pub use ports::ServedPort;

const EXAMPLE: &str = "\
Example:
  weft proxy --control-plane 127.0.0.1:15010 --trust-anchor anchor.pem --join-token-file token \\
      --namespace shop --service orders --app 127.0.0.1:8080

Every flag is also an environment variable (WEFT_SERVICE) and a key of the --settings file (service:).
Flags win over the environment, the environment over the file. `weft run` sets all of this up by itself.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLE)]
pub struct Config {
    /// Address of the control plane's gRPC port
    #[arg(long, env = "WEFT_CONTROL_PLANE", value_name = "HOST:PORT")]
    pub control_plane: String,

    /// PEM file with the mesh's trust anchors, by which the control plane is verified at first contact
    #[arg(long, env = "WEFT_TRUST_ANCHOR", value_name = "FILE")]
    pub trust_anchor: PathBuf,

    /// Join token that proves this workload at first contact
    #[arg(long, env = "WEFT_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,

    /// File that holds the join token
    #[arg(long, env = "WEFT_JOIN_TOKEN_FILE", value_name = "FILE", conflicts_with = "join_token")]
    pub join_token_file: Option<PathBuf>,

    /// Namespace of the workload; host names without one are looked for here
    #[arg(long, env = "WEFT_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Service that the application serves; without it the application only calls others
    #[arg(long, env = "WEFT_SERVICE", value_name = "NAME", requires = "app")]
    pub service: Option<String>,

    /// Port under which others reach the service (repeatable): of the first, --app says where the application listens; on
    /// each further one, which needs --intercept, the same application listens under the same number
    #[arg(long = "service-port", env = "WEFT_SERVICE_PORT", value_name = "PORT", value_delimiter = ',', default_value = "80", value_parser = clap::value_parser!(u16).range(1..))]
    pub service_ports: Vec<u16>,

    /// Where the application listens
    #[arg(long, env = "WEFT_APP", value_name = "IP:PORT")]
    pub app: Option<SocketAddr>,

    /// Label of the workload, for services that select by labels (repeatable)
    #[arg(long = "label", env = "WEFT_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// Zone in which the workload runs
    #[arg(long, env = "WEFT_ZONE", default_value = "")]
    pub zone: String,

    /// Carry the connections that `weft-proxy redirect` sends here, of an application that knows nothing of the sidecar
    #[arg(long, env = "WEFT_INTERCEPT")]
    pub intercept: bool,

    /// Port on loopback to which the application's outgoing connections are redirected
    #[arg(long, env = "WEFT_INTERCEPT_PORT", value_name = "PORT", default_value_t = 15001)]
    pub intercept_port: u16,

    /// Answer the DNS queries that `weft-proxy redirect --dns` sends here: names of the mesh get virtual addresses
    #[arg(long, env = "WEFT_DNS")]
    pub dns: bool,

    /// Port on loopback to which the application's DNS queries are redirected
    #[arg(long, env = "WEFT_DNS_PORT", value_name = "PORT", default_value_t = 15053)]
    pub dns_port: u16,

    /// Name server for everything that is not of the mesh (repeatable); default: those of /etc/resolv.conf
    #[arg(long = "dns-upstream", env = "WEFT_DNS_UPSTREAM", value_name = "IP[:PORT]", value_delimiter = ',', value_parser = name_server)]
    pub dns_upstream: Vec<SocketAddr>,

    /// Connections that may be open at a time, in each direction; more are refused
    #[arg(long, env = "WEFT_MAX_CONNECTIONS", value_name = "N", default_value_t = 20_000)]
    pub max_connections: usize,

    /// Listener for the application's outgoing requests: an HTTP proxy
    #[arg(long, env = "WEFT_OUTBOUND_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:15008")]
    pub outbound_listen: SocketAddr,

    /// Listener for requests from other sidecars
    #[arg(long, env = "WEFT_INBOUND_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:15006")]
    pub inbound_listen: SocketAddr,

    /// Address at which other sidecars reach this workload; default: the one that the inbound listener listens on, and
    /// with --intercept the application's port on the address from which the control plane is reached
    #[arg(long, env = "WEFT_ADVERTISE", value_name = "IP[:PORT]", value_parser = advertise)]
    pub advertise: Option<Advertise>,

    /// Listener for /ready, /live, /metrics, /config, /drain and /shutdown
    #[arg(long, env = "WEFT_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:15020")]
    pub admin_listen: SocketAddr,

    /// Folder for the SVID and the last good configuration; with it the sidecar can start without the control plane
    #[arg(long, env = "WEFT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Threads that carry traffic; default: one for each CPU, at most two
    #[arg(long, env = "WEFT_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,

    /// How long a request for a destination waits for the control plane's first word on it
    #[arg(long, env = "WEFT_DISCOVERY_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub discovery_timeout: Duration,

    /// What is logged: a level, or module=level pairs
    #[arg(long, env = "WEFT_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// Form of the log on standard error
    #[arg(long, env = "WEFT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The address that others are told; without a port, the inbound listener's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertise {
    pub ip: IpAddr,
    pub port: Option<u16>,
}

impl Config {
    pub fn worker_count(&self) -> usize {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or(cpus.min(2), usize::from)
    }

    /// Where other sidecars reach this workload, given where the inbound listener came to be. Redirection brings
    /// connections to the application's own port to the sidecar. `toward` finds the own address on the way to the control
    /// plane.
    ///
    /// # Errors
    /// The listener takes every address, so that none can be told to others.
    pub fn advertised(
        &self,
        inbound: SocketAddr,
        toward: impl FnOnce(&str) -> std::io::Result<IpAddr>,
    ) -> Result<SocketAddr, String> {
        if let Some(app) = self.app.filter(|_| self.intercept) {
            let ip = match (self.advertise, app.ip()) {
                (Some(advertise), _) => advertise.ip,
                (None, ip) if !ip.is_unspecified() && !ip.is_loopback() => ip,
                (None, _) => toward(&self.control_plane).map_err(|error| {
                    format!(
                        "the address at which others reach this workload is not known, since there is no way to {}: \
                         {error}; say it with --advertise IP",
                        self.control_plane
                    )
                })?,
            };
            return Ok(SocketAddr::new(ip, self.advertise.and_then(|advertise| advertise.port).unwrap_or(app.port())));
        }
        match self.advertise {
            Some(address) => Ok(SocketAddr::new(address.ip, address.port.unwrap_or(inbound.port()))),
            // Who only calls is reached by nobody.
            None if self.intercept => Ok(inbound),
            None if inbound.ip().is_unspecified() => Err(format!(
                "--inbound-listen {inbound} takes every address: say with --advertise IP which one others reach"
            )),
            None => Ok(inbound),
        }
    }

    /// # Errors
    /// The token's file cannot be read.
    pub fn read_join_token(&self) -> std::io::Result<Option<String>> {
        match &self.join_token_file {
            Some(file) => std::fs::read_to_string(file).map(|text| Some(text.trim().to_owned())).map_err(|e| {
                std::io::Error::new(e.kind(), format!("cannot read the join token from {}: {e}", file.display()))
            }),
            None => Ok(self.join_token.clone()),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn advertise(text: &str) -> Result<Advertise, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Advertise { ip: address.ip(), port: Some(address.port()) });
    }
    text.parse().map(|ip| Advertise { ip, port: None }).map_err(|_| "expected IP or IP:PORT".to_owned())
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    let ip = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS));
    text.parse().or_else(|_| ip()).map_err(|_| "expected IP or IP:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    pub(super) fn config(flags: &[&str]) -> Config {
        let required = ["test", "--control-plane", "127.0.0.1:1", "--trust-anchor", "anchor.pem"];
        Cli::try_parse_from(required.iter().chain(flags)).unwrap().config
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn others_are_told_an_address_that_they_can_reach() {
        let inbound = "10.0.0.5:15006".parse().unwrap();
        let any = "0.0.0.0:15006".parse().unwrap();
        let own = |_: &str| Ok([10, 0, 0, 9].into());
        assert_eq!(config(&[]).advertised(inbound, own), Ok(inbound));
        assert!(config(&[]).advertised(any, own).unwrap_err().contains("--advertise"));
        let of = |flags: &[&str]| config(flags).advertised(any, own).unwrap().to_string();
        assert_eq!(of(&["--advertise", "10.0.0.7"]), "10.0.0.7:15006");
        assert_eq!(of(&["--advertise", "10.0.0.7:1"]), "10.0.0.7:1");
        // A redirected application is reached at its own port.
        let redirected = |flags: &[&str]| of(&[&["--intercept"], flags].concat());
        assert_eq!(redirected(&["--app", "0.0.0.0:5432"]), "10.0.0.9:5432");
        assert_eq!(redirected(&["--app", "127.0.0.1:5432"]), "10.0.0.9:5432");
        assert_eq!(redirected(&["--app", "10.0.0.8:5432"]), "10.0.0.8:5432");
        assert_eq!(redirected(&["--app", "0.0.0.0:5432", "--advertise", "10.0.0.7"]), "10.0.0.7:5432");
        let lost = |_: &str| Err(std::io::Error::other("no route"));
        let error = config(&["--intercept", "--app", "0.0.0.0:1"]).advertised(any, lost).unwrap_err();
        assert!(error.contains("no route") && error.contains("--advertise"), "{error}");
    }

    #[test]
    fn name_servers_have_a_port() {
        let of = |text: &str| name_server(text).map(|address| address.to_string());
        assert_eq!(of("10.0.0.2").unwrap(), "10.0.0.2:53");
        assert_eq!(of("fd00::2").unwrap(), "[fd00::2]:53");
        assert_eq!(of("10.0.0.2:5353").unwrap(), "10.0.0.2:5353");
        assert!(of("dns.example.com").is_err());
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(config(&["--label", "version=v1"]).labels, [("version".to_owned(), "v1".to_owned())]);
        assert!(label("version").is_err() && label("=v1").is_err());
    }
}
