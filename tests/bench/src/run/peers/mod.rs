//! Who is measured, and how each of them is started for a work: one pair, one hop or one tunnel in front of an
//! application.

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde::Serialize;
use tokio::process::Command;
use weft_tests::free_port;

use super::{app::App, process::Process, site::Site};

mod bare;
mod envoy;
mod given;
mod haproxy;
mod tunnel;
mod weft;

pub use given::Recipe;
pub use weft::{SERVICE, Variant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    H1,
    H2,
}

impl Protocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::H1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

/// What stands between the load and the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two proxies with mutual TLS between them.
    Pair,
    /// One proxy, plaintext on both sides.
    Hop,
    /// Two proxies that carry bytes, with mutual TLS between them.
    Tunnel,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Peer {
    /// Nothing between the load and the application.
    Direct,
    /// What is spoken between the two.
    Bare(Protocol),
    Weft(Variant),
    Envoy(Protocol),
    Haproxy,
    Given(Arc<Recipe>),
}

/// What a peer is asked to stand in front of.
pub struct Order<'a> {
    pub site: &'a Site,
    pub app: &'a App,
    pub shape: Shape,
    /// What the load speaks.
    pub front: Protocol,
}

/// A peer that is running. Dropping it ends its processes.
pub struct Running {
    /// Where the load goes.
    pub entry: SocketAddr,
    /// The inbound proxy, and the TLS configuration of someone whom it accepts, who speaks what is spoken there.
    pub inbound: Option<(SocketAddr, Arc<ClientConfig>)>,
    /// The proxies, the one at the entry first.
    pub sides: Vec<Side>,
    _keep: Vec<Box<dyn Any>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub name: &'static str,
    pub process: u32,
    pub ready_after: Duration,
}

impl Peer {
    pub fn id(&self) -> String {
        match self {
            Self::Direct => "direct".into(),
            Self::Bare(Protocol::H1) => "bare".into(),
            Self::Bare(Protocol::H2) => "bare-h2".into(),
            Self::Weft(Variant::Plain) => "weft".into(),
            Self::Weft(Variant::Http2App) => "weft-h2-app".into(),
            Self::Weft(Variant::AccessLog) => "weft-log".into(),
            Self::Envoy(Protocol::H1) => "envoy-h1".into(),
            Self::Envoy(Protocol::H2) => "envoy-h2".into(),
            Self::Haproxy => "haproxy".into(),
            Self::Given(recipe) => recipe.name.clone(),
        }
    }

    /// Whether a choice of names or families (`weft`, `envoy`) has it; nothing chosen is everyone.
    pub fn is_chosen(&self, choice: &[String]) -> bool {
        let id = self.id();
        let of_family = |chosen: &String| id.strip_prefix(&**chosen).is_some_and(|rest| rest.starts_with('-'));
        choice.is_empty() || choice.iter().any(|chosen| *chosen == id || of_family(chosen))
    }

    /// Why it cannot take part on this machine.
    pub fn is_missing(&self, site: &Site) -> Option<String> {
        let program = match self {
            Self::Envoy(_) => site.tools.envoy(),
            Self::Haproxy => site.tools.haproxy(),
            Self::Direct | Self::Bare(_) | Self::Weft(_) | Self::Given(_) => return None,
        };
        program.err().map(|error| error.to_string())
    }

    /// What is spoken between its two sides when the load speaks `front`.
    pub fn between(&self, front: Protocol) -> Protocol {
        match self {
            Self::Bare(between) | Self::Envoy(between) => *between,
            Self::Weft(Variant::Http2App) => Protocol::H2,
            Self::Direct | Self::Weft(_) | Self::Haproxy | Self::Given(_) => front,
        }
    }

    /// Whether it differs from another peer only in what it logs.
    pub fn only_logs(&self) -> bool {
        *self == Self::Weft(Variant::AccessLog)
    }

    pub async fn start(&self, order: &Order<'_>) -> anyhow::Result<Running> {
        match self {
            Self::Direct => Ok(Running::nothing(order.app.address(order.front))),
            Self::Bare(between) => bare::start(order, *between).await,
            Self::Weft(variant) => weft::start(order, *variant).await,
            Self::Envoy(between) => envoy::start(order, *between).await,
            Self::Haproxy => haproxy::start(order).await,
            Self::Given(recipe) => recipe.start(order).await,
        }
    }
}

impl Running {
    fn nothing(entry: SocketAddr) -> Self {
        Self { entry, inbound: None, sides: Vec::new(), _keep: Vec::new() }
    }

    /// Of peers whose processes know nothing but an address to listen on and one to send to: `command` makes the
    /// command line of a side.
    async fn of_commands(
        order: &Order<'_>,
        name: &str,
        between: Protocol,
        command: impl Fn(&Place) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Self> {
        let app = order.app.address(order.front);
        let mut running = Self::nothing(app);
        if order.shape == Shape::Hop {
            running.add(order, name, "hop", app, &command).await?;
            return Ok(running);
        }
        let inbound = running.add(order, name, "inbound", app, &command).await?;
        running.inbound = Some((inbound, order.site.certificates.client(between.alpn())?));
        running.add(order, name, "outbound", inbound, &command).await?;
        running.sides.reverse();
        Ok(running)
    }

    async fn add(
        &mut self,
        order: &Order<'_>,
        name: &str,
        side: &'static str,
        to: SocketAddr,
        command: &impl Fn(&Place) -> anyhow::Result<Command>,
    ) -> anyhow::Result<SocketAddr> {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = order.site.fresh_folder(&format!("{name}-{side}"))?;
        let command = command(&Place { side, listen, to, folder: folder.clone() })?;
        let mut process = Process::start(name, command, &folder)?;
        let ready_after = process.listens(listen).await?;
        self.sides.push(Side { name: side, process: process.id(), ready_after });
        self._keep.push(Box::new(process));
        self.entry = listen;
        Ok(listen)
    }
}

/// One side of a pair that is to be started.
struct Place {
    /// `outbound`, `inbound` or `hop`.
    side: &'static str,
    listen: SocketAddr,
    to: SocketAddr,
    folder: std::path::PathBuf,
}

impl Place {
    fn accepts_tls(&self) -> bool {
        self.side == "inbound"
    }

    fn speaks_tls(&self) -> bool {
        self.side == "outbound"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_chooses_all_of_its_variants() {
        let (h1, log) = (Peer::Envoy(Protocol::H1), Peer::Weft(Variant::AccessLog));
        let chosen = |peer: &Peer, choice: &str| peer.is_chosen(&[choice.to_owned()]);
        assert!(chosen(&h1, "envoy") && chosen(&h1, "envoy-h1") && !chosen(&h1, "envoy-h2") && !chosen(&h1, "en"));
        assert!(chosen(&log, "weft") && !chosen(&Peer::Weft(Variant::Plain), "weft-log"));
        assert!(h1.is_chosen(&[]));
    }
}
