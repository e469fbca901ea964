//! The name servers that other names are asked of: which they are, and in which order they are asked.
//!
//! They are those of the system, or those that were given. A server that is late does not hold up the next one, and
//! one that answered is asked first from then on.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{Error, answer::Answer, exchange::exchange, system::ResolvConf};

/// For all servers together.
pub const DEADLINE: Duration = Duration::from_millis(4500);
/// How long a server may be silent before the next one is asked as well.
const NEXT: Duration = Duration::from_secs(1);
/// How often the system's configuration is read while it is used.
const REREAD: Duration = Duration::from_secs(5);

pub struct Upstream {
    servers: Mutex<Servers>,
    /// None: the servers were given.
    system: Option<ResolvConf>,
    /// Our own addresses, which are no name servers of ours.
    own: Vec<SocketAddr>,
    /// Index of the server that answered last.
    first: AtomicUsize,
}

struct Servers {
    list: Vec<SocketAddr>,
    read_at: Instant,
}

impl Upstream {
    /// # Errors
    /// One of the servers is this proxy.
    pub fn new(given: Option<Vec<SocketAddr>>, system: ResolvConf, own: Vec<SocketAddr>) -> Result<Self, Error> {
        let (list, system) = match given {
            Some(list) => (list, None),
            None => (system.servers(), Some(system)),
        };
        if let Some(server) = list.iter().find(|server| is_own(server, &own)) {
            let source_name = system.map_or_else(|| "--dns-upstream".to_owned(), |system| system.to_string());
            return Err(Error::Loop { server: *server, source_name });
        }
        let servers = Mutex::new(Servers { list, read_at: Instant::now() });
        Ok(Self { servers, system, own, first: AtomicUsize::new(0) })
    }

    /// The first answer that says something, within `DEADLINE`.
    ///
    /// # Errors
    /// There was none. What a server said instead is there, if one said anything.
    pub async fn ask(&self, question: &Arc<[u8]>) -> Result<Answer, Option<Answer>> {
        let mut refusal = None;
        match tokio::time::timeout(DEADLINE, self.ask_in_turn(question, &mut refusal)).await {
            Ok(Some(answer)) => Ok(answer),
            _ => Err(refusal),
        }
    }

    async fn ask_in_turn(&self, question: &Arc<[u8]>, refusal: &mut Option<Answer>) -> Option<Answer> {
        let mut servers = self.in_order().into_iter();
        let mut asked = JoinSet::new();
        loop {
            let next = servers.next();
            let patience = if next.is_some() { NEXT } else { DEADLINE };
            if let Some((index, server)) = next {
                let question = question.clone();
                asked.spawn(async move { (index, server, exchange(server, &question).await) });
            }
            match tokio::time::timeout(patience, asked.join_next()).await {
                Ok(Some(Ok((index, _, Ok(answer))))) if !answer.is_failure() => {
                    self.first.store(index, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(Some(Ok((_, _, Ok(answer))))) => *refusal = Some(answer),
                Ok(Some(Ok((_, server, Err(error))))) => tracing::debug!(%server, %error, "a name server failed"),
                Ok(None) => return None,
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }

    /// With the index of each.
    fn in_order(&self) -> Vec<(usize, SocketAddr)> {
        let mut servers: Vec<_> = self.current().into_iter().enumerate().collect();
        let first = self.first.load(Ordering::Relaxed);
        if first < servers.len() {
            servers.rotate_left(first);
        }
        servers
    }

    /// The system's servers change with the network that a laptop is in.
    fn current(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(system) = self.system.as_ref().filter(|_| servers.read_at.elapsed() >= REREAD) {
            servers.read_at = Instant::now();
            let mut list = system.servers();
            list.retain(|server| !is_own(server, &self.own));
            if list != servers.list {
                tracing::info!(servers = ?list, "the system's name servers have changed");
                servers.list = list;
            }
        }
        servers.list.clone()
    }
}

/// Whether what is sent to `server` comes back to us. Sent to no address, it stays on the machine.
fn is_own(server: &SocketAddr, own: &[SocketAddr]) -> bool {
    let ip = server.ip().to_canonical();
    let same = |own: IpAddr| own == ip || (ip.is_unspecified() && ip.is_ipv4() == own.is_ipv4());
    own.iter().any(|own| own.port() == server.port() && same(own.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_systems_servers_are_read_again_and_never_include_this_proxy() {
        let file = std::env::temp_dir().join(format!("weft-upstream-{:016x}", rand::random::<u64>()));
        let servers = |upstream: &Upstream| upstream.current().iter().map(ToString::to_string).collect::<Vec<_>>();
        std::fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
        let own = vec!["127.0.0.1:53".parse().unwrap()];
        let upstream = Upstream::new(None, ResolvConf::at(&file), own).unwrap();
        assert_eq!(servers(&upstream), ["192.0.2.1:53"]);
        std::fs::write(&file, "nameserver 127.0.0.1\nnameserver 192.0.2.2\n").unwrap();
        assert_eq!(servers(&upstream), ["192.0.2.1:53"], "not for each question");
        tokio::time::advance(REREAD).await;
        assert_eq!(servers(&upstream), ["192.0.2.2:53"]);
        std::fs::remove_file(&file).unwrap();
    }
}
