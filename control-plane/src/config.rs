//! How a control plane is started: every setting is a flag, an environment variable and a key of the settings file,
//! all under the same name.
//!
//! Decides which values are possible; what they do is `app`'s. Used by the binary `weft-control-plane` and by
//! `weft control-plane`.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use weft_certs::TrustDomain;
use weft_proxy_api::settings::{self, SettingsError};

/// An SVID below this would have to be renewed faster than a handshake and a renewal can be relied upon to take.
const SHORTEST_SVID_LIFETIME: Duration = Duration::from_secs(5);
/// An SVID cannot be revoked, so it must not outlive the attention of who issued it.
const LONGEST_SVID_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// Run the control plane: it keeps the traffic rules, issues identities and tells every sidecar what to do.
///
/// It creates what is missing in the data folder (certificate authority, store, credentials), prints one line when it
/// is ready, and writes DIR/admin.yaml, which the other commands read to reach it.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft-control-plane", version = crate::VERSION, after_help = EXAMPLES)]
pub struct Config {
    /// The folder of everything that lasts: CA keys, store, admin.yaml. Back it up; nobody else may read it.
    #[arg(long, env = "WEFT_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Where sidecars connect (gRPC over TLS: configuration and identity). Port 0 asks for a free one.
    #[arg(long, env = "WEFT_GRPC_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:15010")]
    pub grpc_listen: SocketAddr,

    /// Where the weft command connects (HTTPS with a token; also /metrics, /live and /ready). Port 0 asks for a free one.
    #[arg(long, env = "WEFT_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:15014")]
    pub admin_listen: SocketAddr,

    /// The trust domain of all identities, as in spiffe://weft.local/ns/shop/sa/orders. It is fixed at the first start.
    #[arg(long, env = "WEFT_TRUST_DOMAIN", value_name = "NAME", default_value = "weft.local")]
    pub trust_domain: TrustDomain,

    /// How long an SVID is valid, from 5s to 90d. Sidecars renew at about two thirds of it.
    #[arg(long, env = "WEFT_SVID_LIFETIME", value_name = "TIME", default_value = "24h", value_parser = svid_lifetime)]
    pub svid_lifetime: Duration,

    /// How long the endpoint of a sidecar that is no longer heard of stays in balancing.
    #[arg(long, env = "WEFT_ENDPOINT_GRACE", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub endpoint_grace: Duration,

    /// The DNS server that resolves the hosts of MeshServices. Default: those of the system.
    #[arg(long, env = "WEFT_DNS_SERVER", value_name = "IP:PORT")]
    pub dns_server: Option<SocketAddr>,

    /// Resources to begin with: applied at the first start, while there are none. Later starts leave the file alone.
    #[arg(long, env = "WEFT_RULES", value_name = "FILE")]
    pub rules: Option<PathBuf>,

    /// What to log: a level, or a filter such as `info,weft_control_plane::serve=debug`.
    #[arg(long, env = "WEFT_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How to log, on standard error.
    #[arg(long, env = "WEFT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// A YAML file with any of these settings, such as `grpc-listen: 0.0.0.0:15010`. Flags and environment win over it.
    #[arg(long, env = "WEFT_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  weft-control-plane --data-dir ./weft-data
  weft-control-plane --data-dir /var/lib/weft --grpc-listen 0.0.0.0:15010
  WEFT_CONFIG=./weft-data/admin.yaml weft status";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads the settings from `args` (the program's name first), the environment and the settings file that either names.
    ///
    /// # Errors
    /// A setting is unknown or impossible, or the file cannot be read. `--help` and `--version` come as errors too, as
    /// clap has it: [`clap::Error::exit`] prints them.
    pub fn load(args: impl IntoIterator<Item = OsString>) -> Result<Self, SettingsError> {
        let matches = settings::parse(Self::command(), args.into_iter().collect())?;
        Ok(Self::from_arg_matches(&matches)?)
    }
}

fn svid_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if !(SHORTEST_SVID_LIFETIME..=LONGEST_SVID_LIFETIME).contains(&lifetime) {
        return Err("must be from 5s to 90d".to_owned());
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Result<Config, SettingsError> {
        Config::load(std::iter::once("weft-control-plane").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = load(&["--data-dir", "d"]).unwrap();
        assert_eq!(config.grpc_listen.to_string(), "127.0.0.1:15010");
        assert_eq!(config.admin_listen.to_string(), "127.0.0.1:15014");
        assert_eq!(config.trust_domain.to_string(), "weft.local");
        assert_eq!(config.svid_lifetime, Duration::from_secs(24 * 3600));
    }

    #[test]
    fn the_settings_file_gives_defaults_and_flags_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, "data-dir: /d\nsvid-lifetime: 1h\nendpoint-grace: 3s\n").unwrap();
        let file = file.to_str().unwrap();
        let config = load(&["--settings", file, "--endpoint-grace", "4s"]).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/d"));
        assert_eq!(config.svid_lifetime, Duration::from_secs(3600));
        assert_eq!(config.endpoint_grace, Duration::from_secs(4));
    }

    #[test]
    fn impossible_lifetimes_are_refused() {
        for bad in ["4s", "91d", "soon"] {
            assert!(load(&["--data-dir", "d", "--svid-lifetime", bad]).is_err(), "{bad}");
        }
        assert!(load(&["--data-dir", "d", "--svid-lifetime", "5s"]).is_ok());
    }
}
