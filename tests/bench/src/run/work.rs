//! The works: what is sent, to which application, and who takes part.

use super::{
    app::AppKind,
    load::Load,
    peers::{Peer, Protocol, Shape, Variant},
};

pub struct Work {
    /// `a` to `h`; works of one letter are chosen together.
    pub id: &'static str,
    pub title: &'static str,
    pub load: Load,
    pub app: AppKind,
    pub shape: Shape,
    /// Proxies, application and load all run on one CPU.
    pub pinned: bool,
    /// Bytes of an answer's body where the cost follows them.
    pub body: Option<u64>,
}

pub const ALL: [Work; 10] = [
    Work { load: wrk(64, "/1k"), ..basic("a", "HTTP/1.1 keep-alive, 1 KiB answers, 64 connections") },
    Work { load: wrk(1, "/1k"), pinned: true, ..basic("b", "the same, 1 connection, all on one CPU") },
    Work { load: h2("/1k", None), ..basic("c", "HTTP/2, 16 connections of 10 streams, 1 KiB answers") },
    Work {
        load: h2("/weft.bench.Echo/Say", Some(128)),
        app: AppKind::Unary,
        ..basic("d", "gRPC-like unary calls, 16 connections of 10 streams, 128 B messages")
    },
    Work { load: wrk(16, "/64k"), body: Some(64 << 10), ..basic("e-64k", "64 KiB bodies, 16 connections") },
    Work { load: wrk(16, "/1m"), body: Some(1 << 20), ..basic("e-1m", "1 MiB bodies, 16 connections") },
    Work {
        load: wrk(16, "/1m"),
        shape: Shape::Tunnel,
        body: Some(1 << 20),
        ..basic("f", "opaque TCP, in bulk, 16 connections")
    },
    Work {
        load: Load::Wrk { connections: 16, path: "/1k", close: true },
        ..basic("g", "a new connection of the app per request, 16 at a time")
    },
    Work {
        load: Load::Handshakes { callers: 8 },
        ..basic("g-tls", "a new mutual TLS connection per request, inbound side")
    },
    Work { load: wrk(64, "/1k"), shape: Shape::Hop, ..basic("h", "one hop, plaintext, 1 KiB answers, 64 connections") },
];

const fn basic(id: &'static str, title: &'static str) -> Work {
    let load = wrk(64, "/1k");
    Work { id, title, load, app: AppKind::Files, shape: Shape::Pair, pinned: false, body: None }
}

const fn wrk(connections: u32, path: &'static str) -> Load {
    Load::Wrk { connections, path, close: false }
}

const fn h2(path: &'static str, message: Option<usize>) -> Load {
    Load::H2load { clients: 16, streams: 10, path, message }
}

impl Work {
    /// Whether a choice of works, by letters or by whole ids, has it.
    pub fn is_chosen(&self, choice: &[String]) -> bool {
        let letter = self.id.split('-').next().unwrap_or_default();
        choice.is_empty() || choice.iter().any(|chosen| chosen == self.id || chosen == letter)
    }

    /// Who can do this work, out of all that there are.
    pub fn takes(&self, peer: &Peer) -> bool {
        let variants = self.id == "a";
        match peer {
            Peer::Direct => !matches!(self.load, Load::Handshakes { .. }),
            // What is spoken between the two matters only where there are two.
            Peer::Bare(between) => self.shape != Shape::Tunnel && self.speaks_between(*between, variants),
            Peer::Envoy(between) => {
                let speaks = self.speaks_between(*between, true);
                speaks && (self.shape == Shape::Pair || *between == Protocol::H1)
            }
            Peer::Weft(Variant::Plain) | Peer::Haproxy => true,
            Peer::Weft(_) => variants,
            Peer::Given(_) => self.shape == Shape::Pair && self.load.speaks() == Protocol::H1,
        }
    }

    /// HTTP/2 stays what it is; HTTP/1.1 can travel as either.
    fn speaks_between(&self, between: Protocol, either: bool) -> bool {
        let front = self.load.speaks();
        // The handshakes' client speaks HTTP/1.1 to the inbound proxy itself.
        let either = either && front == Protocol::H1 && !matches!(self.load, Load::Handshakes { .. });
        between == front || either
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(id: &str) -> &'static Work {
        ALL.iter().find(|work| work.id == id).unwrap()
    }

    #[test]
    fn a_letter_chooses_all_of_its_works() {
        let chosen = |choice: &str| -> Vec<_> {
            ALL.iter().filter(|work| work.is_chosen(&[choice.to_owned()])).map(|work| work.id).collect()
        };
        assert_eq!(chosen("e"), ["e-64k", "e-1m"]);
        assert_eq!(chosen("e-1m"), ["e-1m"]);
        assert!(chosen("z").is_empty());
        assert!(ALL.iter().all(|work| work.is_chosen(&[])));
    }

    #[test]
    fn each_takes_part_where_it_can() {
        let (h1, h2) = (Peer::Envoy(Protocol::H1), Peer::Envoy(Protocol::H2));
        assert!(work("a").takes(&h1) && work("a").takes(&h2));
        assert!(!work("c").takes(&h1) && work("c").takes(&h2));
        assert!(work("h").takes(&h1) && !work("h").takes(&h2));
        assert!(!work("g-tls").takes(&h2) && !work("g-tls").takes(&Peer::Direct));
        assert!(work("f").takes(&Peer::Weft(Variant::Plain)) && !work("b").takes(&Peer::Weft(Variant::AccessLog)));
    }
}
