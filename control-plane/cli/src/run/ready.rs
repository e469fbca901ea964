//! The one line that a sidecar prints on standard output when it is ready.

use std::{net::SocketAddr, str::FromStr};

const START: &str = "weft-proxy ready";

/// `weft-proxy ready outbound=127.0.0.1:15008 inbound=10.0.0.1:15006 admin=127.0.0.1:15020`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub outbound: SocketAddr,
    pub inbound: SocketAddr,
    pub admin: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the ready line of a sidecar: {0:?}")]
pub struct NotReady(String);

impl FromStr for Ready {
    type Err = NotReady;

    /// Fields that are not known are left alone, so that a later sidecar can say more.
    fn from_str(line: &str) -> Result<Self, NotReady> {
        let fail = || NotReady(line.to_owned());
        let fields = line.trim_end().strip_prefix(START).ok_or_else(fail)?;
        let field = |name: &str| {
            let found = fields.split_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|address| address.parse().ok()).ok_or_else(fail)
        };
        Ok(Self { outbound: field("outbound")?, inbound: field("inbound")?, admin: field("admin")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read() {
        let line = "weft-proxy ready outbound=127.0.0.1:1 inbound=[::1]:2 admin=127.0.0.1:3\n";
        let ready: Ready = line.parse().unwrap();
        assert_eq!(ready.outbound.to_string(), "127.0.0.1:1");
        assert_eq!(ready.inbound.to_string(), "[::1]:2");
        assert_eq!(ready.admin.to_string(), "127.0.0.1:3");
    }

    #[test]
    fn order_and_further_fields_do_not_matter() {
        let line = "weft-proxy ready dns=127.0.0.1:4 admin=127.0.0.1:3 inbound=127.0.0.1:2 outbound=127.0.0.1:1";
        assert_eq!(line.parse::<Ready>().unwrap().outbound.port(), 1);
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            "listening",
            "weft-proxy ready",
            "weft-proxy ready outbound=127.0.0.1:1 inbound=127.0.0.1:2",
            "weft-proxy ready outbound=here inbound=127.0.0.1:2 admin=127.0.0.1:3",
            "xweft-proxy ready outbound=127.0.0.1:1 inbound=127.0.0.1:2 admin=127.0.0.1:3",
        ] {
            assert!(line.parse::<Ready>().is_err(), "{line:?}");
        }
    }
}
