//! A whole proxy on loopback, asked by raw messages, with name servers of the tests' own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question},
    rr::{Name, RData, Record, RecordType, rdata::SOA},
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::task::AbortOnDropHandle;

use super::*;

mod fake;
mod forwarded;
mod limits;
mod mesh;
mod outage;

use fake::Fake;

/// A proxy for an application in namespace `shop`, and a client of it.
struct Proxy {
    address: SocketAddr,
    metrics: DnsMetrics,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    fn start(upstream: &[SocketAddr]) -> Self {
        Self::start_on(upstream, |_| true)
    }

    /// On a machine with these routes.
    fn start_on(upstream: &[SocketAddr], has_route: fn(IpAddr) -> bool) -> Self {
        let sockets = sockets::bind(0).unwrap();
        let metrics = DnsMetrics::default();
        let upstream = Upstream::new(Some(upstream.to_vec()), ResolvConf::default(), Vec::new()).unwrap();
        let server = Server {
            namespace: "shop".to_owned(),
            lookup: Box::new(|name| Box::pin(services(name))),
            forwarder: Arc::new(Forwarder::new(upstream, metrics.clone())),
            metrics: metrics.clone(),
            has_route,
        };
        let address = sockets[0].address;
        let serving = tokio::spawn(async move {
            serve::serve(Arc::new(server), sockets).await.unwrap();
        });
        Self { address, metrics, _serving: AbortOnDropHandle::new(serving) }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.tell(&query(name, kind)).await
    }

    /// Checks what holds for every answer.
    async fn tell(&self, query: &Message) -> Message {
        let answer = Message::from_vec(&self.send(&query.to_vec().unwrap()).await).unwrap();
        assert_answers(query, &answer);
        answer
    }

    async fn send(&self, message: &[u8]) -> Vec<u8> {
        let socket = self.socket().await;
        socket.send(message).await.unwrap();
        receive(&socket).await
    }

    async fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket
    }

    async fn ask_over_tcp(&self, query: &Message) -> Message {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        stream::write(&mut connection, &query.to_vec().unwrap()).await.unwrap();
        let answer = Message::from_vec(&in_time(stream::read(&mut connection)).await.unwrap()).unwrap();
        assert_answers(query, &answer);
        answer
    }
}

/// Longer than anything here takes.
async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), wait).await.expect("it does not come")
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let length = in_time(socket.recv(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    buffer
}

fn assert_answers(query: &Message, answer: &Message) {
    assert_eq!(answer.message_type, MessageType::Response);
    assert_eq!(answer.id, query.id);
    assert_eq!(answer.queries.len(), 1);
    assert!(answer.queries[0].name().eq_case(query.queries[0].name()), "the question in its own spelling");
    assert_eq!(answer.queries, query.queries);
    assert!(answer.recursion_available);
    assert_eq!(answer.recursion_desired, query.recursion_desired);
    assert_eq!(answer.edns.is_some(), query.edns.is_some());
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.add_query(Question::query(name, kind));
    message
}

fn with_edns(mut query: Message, datagram: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(datagram).set_dnssec_ok(true);
    query.set_edns(edns);
    query
}

/// What the control plane would say.
async fn services(name: ServiceName) -> Found {
    let addresses = |addresses: &[&str]| Found::Addresses(addresses.iter().map(|ip| ip.parse().unwrap()).collect());
    match name.to_string().as_str() {
        "shop/orders" => addresses(&["240.0.0.1", "fd77:6566:7400::1"]),
        "store/orders" => addresses(&["240.0.0.2", "fd77:6566:7400::2"]),
        "shop/v4" => addresses(&["240.0.0.3"]),
        "shop/empty" => addresses(&[]),
        "shop/slow" => std::future::pending().await,
        name if name.starts_with("away/") => Found::Unknown,
        _ => Found::NoSuchService,
    }
}

fn address(name: &str, ttl: u32, ip: &str) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, RData::A(ip.parse().unwrap()))
}

fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let zone = Name::from_ascii(zone).unwrap();
    Record::from_rdata(zone.clone(), ttl, RData::SOA(SOA::new(zone.clone(), zone, 1, 1, 1, 1, minimum)))
}

fn ips(message: &Message) -> Vec<String> {
    let ip = |record: &Record| match &record.data {
        RData::A(ip) => ip.to_string(),
        RData::AAAA(ip) => ip.to_string(),
        other => panic!("{other:?}"),
    };
    message.answers.iter().map(ip).collect()
}

/// From now on the clock moves when everything waits for it. Only where no name server answers: what comes over a socket
/// may be overtaken by the clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
}
