//! The name servers of the system: the `nameserver` lines of resolv.conf(5).
//!
//! `search` and `ndots` are left to the application's own resolver, which has already applied them when it asks.

use std::{
    fmt,
    net::{SocketAddr, SocketAddrV6},
    path::PathBuf,
};

use resolv_conf::{Config, ScopedIp};

const PORT: u16 = 53;

#[derive(Debug)]
pub struct ResolvConf(PathBuf);

impl Default for ResolvConf {
    fn default() -> Self {
        Self("/etc/resolv.conf".into())
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl ResolvConf {
    #[cfg(test)]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Without a file, or without a server in it, those of this machine, as for any program.
    pub fn servers(&self) -> Vec<SocketAddr> {
        let text = std::fs::read(&self.0).unwrap_or_default();
        // What is wrong in one line leaves the others as they are.
        let (config, _) = Config::parse_with_errors(&text);
        config.get_nameservers_or_local().iter().filter_map(address).collect()
    }
}

/// None if it is in the scope of an interface that there is not.
fn address(ip: &ScopedIp) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V6(ip, Some(scope)) => Some(SocketAddrV6::new(*ip, PORT, 0, interface(scope)?).into()),
        ip => Some(SocketAddr::new(ip.into(), PORT)),
    }
}

/// The index of an interface, by its name or as a number.
fn interface(scope: &str) -> Option<u32> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex"));
    index.as_deref().unwrap_or(scope).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let file = std::env::temp_dir().join(format!("weft-resolv-conf-{:016x}", rand::random::<u64>()));
        std::fs::write(&file, text).unwrap();
        let servers = ResolvConf::at(&file).servers();
        std::fs::remove_file(&file).unwrap();
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_name_servers_are_read_whatever_else_there_is() {
        let text = "# by hand\nsearch example.com\nnameserver 192.0.2.1\nwhat is this\nnameserver none\n\
                    nameserver 2001:db8::1 # the other\noptions ndots:5 edns0\nnameserver fe80::1%7\n\
                    nameserver fe80::1%nosuchinterface\n";
        assert_eq!(servers(text), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
    }

    #[test]
    fn the_machines_own_server_is_asked_where_none_is_named() {
        assert_eq!(servers("search example.com\n"), ["127.0.0.1:53", "[::1]:53"]);
        let missing = ResolvConf::at("/nonexistent/resolv.conf").servers();
        assert_eq!(missing.len(), 2);
    }
}
