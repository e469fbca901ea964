//! The application's name server: its DNS queries are redirected here.
//!
//! A name of the mesh gets the service's virtual addresses, from `lookup`; everything else is passed on to the system's
//! name servers. Which services there are, and which addresses they have, is decided by the control plane; where
//! connections to these addresses lead, by `mesh`. Called by `app`.
//!
//! Messages are read and written with hickory-proto, and moved by sockets of our own. hickory-server would have us
//! implement a trait, and has no limit on queries or connections; hickory-resolver and its forwarder read every record
//! and lose the whole answer over one that they do not like, where an application must get what its name server said.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hickory_proto::{ProtoError, op::ResponseCode};
use tokio::time::{Instant, timeout};
use weft_proxy_api::ServiceName;

pub use metrics::DnsMetrics;

use forward::Forwarder;
use mesh_name::Meant;
use query::{Query, Refusal, Transport};
use sockets::Pair;
use system::ResolvConf;
use upstream::Upstream;

mod answer;
mod cache;
mod exchange;
mod forward;
mod layout;
mod mesh_name;
mod metrics;
mod query;
mod serve;
mod sockets;
mod stream;
mod system;
mod upstream;

/// Every query is answered within this time. Resolvers give up, or ask again, after 5 s.
const DEADLINE: Duration = Duration::from_millis(4800);
/// For `lookup`, so that as much time is left for name servers.
const LOOKUP: Duration = Duration::from_secs(2);

/// What a look-up says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its virtual addresses, of both families.
    Addresses(Vec<IpAddr>),
    NoSuchService,
    /// The control plane has not said.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for DNS queries on {address} (--dns-port): {source}{}", hint(.source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "the name server {server} ({source_name}) is this proxy itself: queries would go round for ever; name another with \
         --dns-upstream, or another port with --dns-port"
    )]
    Loop { server: SocketAddr, source_name: String },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": another process has it; choose another port, or 0 for a free one",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
        _ => "",
    }
}

/// Bound, and not yet serving.
pub struct Dns {
    sockets: Vec<Pair>,
    upstream: Upstream,
}

/// Binds `port` on both loopback addresses, for UDP and TCP; 0 asks for a port that is free for all of them.
/// `upstream` replaces the system's name servers.
///
/// # Errors
/// The port is taken, or a name server is this proxy.
pub fn bind(port: u16, upstream: Option<Vec<SocketAddr>>) -> Result<Dns, Error> {
    let sockets = sockets::bind(port)?;
    let own = sockets.iter().map(|pair| pair.address).collect();
    Ok(Dns { upstream: Upstream::new(upstream, ResolvConf::default(), own)?, sockets })
}

impl Dns {
    /// One for each family that this machine has, with the same port.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|pair| pair.address)
    }

    /// Serves; never ends. `namespace` is the application's own.
    ///
    /// # Errors
    /// The runtime does not take the sockets, or a task that listens has broken off.
    pub async fn run<L, F>(self, namespace: String, metrics: DnsMetrics, lookup: L) -> io::Result<Infallible>
    where
        L: Fn(ServiceName) -> F + Send + Sync + 'static,
        F: Future<Output = Found> + Send + 'static,
    {
        let forwarder = Arc::new(Forwarder::new(self.upstream, metrics.clone()));
        let lookup = Box::new(move |name| Box::pin(lookup(name)) as Lookup);
        let server = Server { namespace, lookup, forwarder, metrics, has_route: sockets::has_route };
        serve::serve(Arc::new(server), self.sockets).await
    }
}

type Lookup = Pin<Box<dyn Future<Output = Found> + Send>>;

struct Server {
    namespace: String,
    lookup: Box<dyn Fn(ServiceName) -> Lookup + Send + Sync>,
    forwarder: Arc<Forwarder>,
    metrics: DnsMetrics,
    has_route: fn(IpAddr) -> bool,
}

impl Server {
    /// The way of every query. None: it gets no answer.
    async fn answer(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let deadline = Instant::now() + DEADLINE;
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(refusal) => {
                self.metrics.malformed.inc();
                return match refusal {
                    Refusal::Silence => None,
                    Refusal::Answer(answer) => Some(answer),
                };
            }
        };
        let answer = self.find(&query, deadline).await.and_then(|answer| query.fit(answer, transport));
        answer.inspect_err(|error| tracing::warn!(%error, "a DNS answer cannot be written")).ok()
    }

    async fn find(&self, query: &Query, deadline: Instant) -> Result<Vec<u8>, ProtoError> {
        let ours = mesh_name::is_in_mesh(query.name());
        let answer = match mesh_name::meant(query, &self.namespace) {
            Meant::Others => return self.forwarder.answer(query, deadline).await,
            Meant::Nothing(zone) => query.nothing(ResponseCode::NXDomain, zone),
            Meant::Service(name) => match timeout(LOOKUP, (self.lookup)(name)).await.unwrap_or(Found::Unknown) {
                Found::Addresses(addresses) => mesh_name::addresses(query, &addresses, self.has_route),
                Found::NoSuchService if ours => mesh_name::no_such_service(query),
                Found::Unknown if ours => {
                    self.metrics.failed.inc();
                    return query.answer(ResponseCode::ServFail).to_vec();
                }
                Found::NoSuchService | Found::Unknown => return self.forwarder.answer(query, deadline).await,
            },
        };
        self.metrics.mesh.inc();
        answer.to_vec()
    }
}

#[cfg(test)]
mod tests;
