use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use tokio::io::AsyncReadExt;
use tokio_rustls::{TlsConnector, client::TlsStream as ClientStream};
use weft_certs::{Ca, Clock, Identity, SpiffeId, TrustBundle, tls};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const SVID_LIFETIME: Duration = Duration::from_secs(3600);

/// A listener with one place, and a clock that stands still until it is moved.
struct Fixture {
    ca: Ca,
    seconds: Arc<AtomicU64>,
    places: Arc<Semaphore>,
    address: SocketAddr,
    connections: mpsc::Receiver<Connection>,
    _tasks: Tasks,
}

impl Fixture {
    async fn start() -> Self {
        let (now, seconds) = (SystemTime::now(), Arc::new(AtomicU64::new(0)));
        let ca = Ca::create("weft.local".parse().unwrap(), now).unwrap();
        let own = ca.issue(&SpiffeId::control_plane(ca.trust_domain()), SVID_LIFETIME, now).unwrap();
        let identity = Identity::new(own, ca.trust_bundle());
        let (moved, places, tasks) = (seconds.clone(), Arc::new(Semaphore::new(1)), Tasks::default());
        let acceptor = Acceptor {
            name: "test",
            tls: tls::server_config_optional_client(&identity, &[b"h2"]),
            metrics: Arc::default(),
            clock: Clock::from_fn(move || now + Duration::from_secs(moved.load(Ordering::Relaxed))),
            places: places.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { ca, seconds, places, address, connections: acceptor.start(listener, &tasks), _tasks: tasks }
    }

    async fn connect(&mut self, svid: Option<&Arc<Identity>>) -> (ClientStream<TcpStream>, Connection) {
        let bundle: TrustBundle = self.ca.trust_bundle();
        let expected = SpiffeId::control_plane(bundle.trust_domain());
        let config = match svid {
            Some(identity) => tls::client_config(identity, &[b"h2"]),
            None => tls::bootstrap_client_config(bundle, expected, &[b"h2"]),
        };
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let client = TlsConnector::from(config).connect(tls::no_sni(), tcp);
        let both = async { (client.await.unwrap(), self.connections.recv().await.unwrap()) };
        tokio::time::timeout(DEADLINE, both).await.unwrap()
    }

    fn workload(&self) -> Arc<Identity> {
        let id = SpiffeId::workload(self.ca.trust_domain(), "shop", "orders").unwrap();
        Identity::new(self.ca.issue(&id, SVID_LIFETIME, SystemTime::now()).unwrap(), self.ca.trust_bundle())
    }

    /// Moves both clocks: the certificates', and that of the runtime's timers, which must stand still by now.
    async fn advance(&self, time: Duration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::Relaxed);
        tokio::time::advance(time).await;
    }
}

/// What a read gives now; `None`: nothing yet. The runtime's clock stands still, so that the timeout takes no time and is
/// last.
async fn read(connection: &mut Connection) -> Option<io::Result<u8>> {
    tokio::time::timeout(Duration::from_millis(1), connection.read_u8()).await.ok()
}

fn is_over(read: Option<io::Result<u8>>) -> bool {
    read.is_some_and(|read| read.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut))
}

#[tokio::test]
async fn a_connection_has_its_place_until_it_ends() {
    let mut fixture = Fixture::start().await;
    let (_client, connection) = fixture.connect(None).await;
    assert_eq!(fixture.places.available_permits(), 0, "an idle connection takes a place");
    drop(connection);
    let (_client, _connection) = fixture.connect(None).await;
}

#[tokio::test]
async fn a_peer_without_an_svid_has_the_time_for_a_first_one() {
    let mut fixture = Fixture::start().await;
    let (_client, mut connection) = fixture.connect(None).await;
    tokio::time::pause();
    fixture.advance(STRANGER - Duration::from_secs(2)).await;
    assert!(read(&mut connection).await.is_none());
    fixture.advance(Duration::from_secs(3)).await;
    assert!(is_over(read(&mut connection).await));
}

#[tokio::test]
async fn a_connection_ends_with_its_svid_unless_it_was_renewed() {
    let mut fixture = Fixture::start().await;
    let workload = fixture.workload();
    let (_client, mut connection) = fixture.connect(Some(&workload)).await;
    assert_eq!(connection.peer.identity.as_ref(), Some(workload.svid().id()));
    tokio::time::pause();
    fixture.advance(SVID_LIFETIME / 2).await;
    assert!(read(&mut connection).await.is_none());
    let life = connection.peer.life.clone();
    life.extend(workload.svid().not_after() + SVID_LIFETIME);
    fixture.advance(SVID_LIFETIME).await;
    assert!(read(&mut connection).await.is_none(), "it was renewed in time");
    fixture.advance(SVID_LIFETIME).await;
    assert!(is_over(read(&mut connection).await));
    life.extend(workload.svid().not_after() + SVID_LIFETIME * 9);
    assert!(life.is_over(), "what is over stays over");
}

#[test]
fn places_leave_descriptors_for_the_rest_and_for_the_admin_api() {
    for limit in [Some(64), Some(1024), Some(1 << 20), None] {
        let Places { grpc, admin } = Places::within(limit);
        assert!(grpc > 0 && admin > 0, "{limit:?}");
        assert!(limit.is_none_or(|limit| (grpc + admin) as u64 <= limit / 8 * 7), "{limit:?}");
    }
}
