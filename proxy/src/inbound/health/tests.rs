//! The watcher, by what it says of a real application while the control plane's words change.

use std::time::{Duration, SystemTime};

use tokio::{io::AsyncWriteExt, net::TcpListener};
use weft_certs::{Ca, Identity, SpiffeId, TrustDomain};
use weft_proxy_api::{
    Inbound, Resource,
    inbound::{InboundPort, Mtls},
    policy::{CheckKind, HealthCheck},
};

use super::*;
use crate::telemetry::{AccessLog, Metrics};

const ENDPOINT_PORT: u16 = 15006;
const RARELY: Duration = Duration::from_secs(3600);

struct Watched {
    store: Arc<Store>,
    missed: watch::Sender<()>,
    health: watch::Receiver<Vec<Health>>,
    _watcher: AbortOnDropHandle<()>,
}

impl Watched {
    fn start(app: SocketAddr) -> Self {
        let trust_domain: TrustDomain = "weft.local".parse().unwrap();
        let now = SystemTime::now();
        let ca = Ca::create(trust_domain.clone(), now).unwrap();
        let id = SpiffeId::workload(&trust_domain, "shop", "orders").unwrap();
        let identity = Identity::new(ca.issue(&id, RARELY, now).unwrap(), ca.trust_bundle());
        let metrics = Arc::new(Metrics::new());
        let access_log = Arc::new(AccessLog::start(metrics.access_log_dropped.clone()).unwrap());
        let (store, _asked) = Store::new(identity, metrics, access_log, "");
        let (says, health) = watch::channel(vec![unknown(); 2]);
        let missed = watch::Sender::new(());
        let watcher = Watcher {
            app,
            endpoint_port: ENDPOINT_PORT,
            store: store.clone(),
            missed: missed.clone(),
            health: says,
            index: 1,
        };
        let watcher = AbortOnDropHandle::new(tokio::spawn(watcher.run()));
        Self { store, missed, health, _watcher: watcher }
    }

    /// What the control plane says now.
    fn told(&self, health_checks: Vec<HealthCheck>) {
        let port = InboundPort { port: ENDPOINT_PORT, mtls: Mtls::Strict, protocol: Default::default() };
        let inbound = Inbound { ports: vec![port], health_checks, ..Inbound::new("orders-1") };
        self.store.apply(vec![Resource::Inbound(inbound)], Vec::new());
    }

    async fn becomes(&mut self, expected: &str) {
        let says = |health: &Health| match health {
            Health::Healthy => "healthy".to_owned(),
            Health::Unhealthy { cause } => cause.clone(),
        };
        let is_so = self.health.wait_for(|health| says(&health[1]).contains(expected));
        let is_so = timeout(Duration::from_secs(30), is_so).await.is_ok();
        assert!(is_so, "expected {expected}, is {:?}", self.health.borrow());
        assert_eq!(self.health.borrow()[0], unknown(), "of another port nothing is said");
    }
}

fn check(kind: CheckKind) -> HealthCheck {
    HealthCheck {
        port: ENDPOINT_PORT,
        traffic_port: None,
        kind,
        interval: RARELY,
        timeout: Duration::from_secs(30),
        healthy_threshold: 1,
        unhealthy_threshold: 1,
    }
}

fn http(path: &str) -> HealthCheck {
    check(CheckKind::Http { path: path.into(), host: None, statuses: Vec::new() })
}

/// Answers every request with the status that its path ends with.
async fn app() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let read = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]);
                if let Some(status) = head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()) {
                    let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn nothing_is_checked_before_the_control_plane_knows_the_endpoint() {
    let (address, _app) = app().await;
    let mut watched = Watched::start(address);
    watched.store.apply(vec![Resource::Inbound(Inbound::new("orders-1"))], Vec::new());
    tokio::task::yield_now().await;
    watched.becomes("it has not been checked yet").await;
    watched.told(vec![http("/503")]);
    watched.becomes("GET /503 answered 503").await;
    watched.told(Vec::new());
    watched.becomes("healthy").await;
}

#[tokio::test]
async fn what_is_checked_may_change_at_any_time() {
    let (address, _app) = app().await;
    let mut watched = Watched::start(address);
    watched.told(vec![http("/200")]);
    watched.becomes("healthy").await;
    watched.told(vec![http("/404")]);
    watched.becomes("GET /404 answered 404").await;
    watched.told(vec![http("/204")]);
    watched.becomes("healthy").await;
    watched.told(vec![HealthCheck { unhealthy_threshold: 2, interval: CLOSELY, ..http("/500") }]);
    watched.becomes("GET /500 answered 500").await;
}

/// The interval is an hour: it looks at once when the application was missed, and so often that it sees it come back.
#[tokio::test]
async fn an_application_that_was_missed_is_looked_at_at_once() {
    let (address, app) = app().await;
    let mut watched = Watched::start(address);
    watched.told(vec![HealthCheck { unhealthy_threshold: 2, ..http("/200") }]);
    watched.becomes("healthy").await;
    drop(app);
    watched.missed.send_replace(());
    watched.becomes("refused the connection").await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    watched.becomes("healthy").await;
}

/// A check that goes elsewhere does not stand for the port of the traffic.
#[tokio::test]
async fn all_checks_must_succeed() {
    let (address, app) = app().await;
    let (elsewhere, _elsewhere) = self::app().await;
    let mut watched = Watched::start(address);
    watched.told(vec![HealthCheck { port: elsewhere.port(), ..http("/503") }]);
    watched.becomes("GET /503 answered 503").await;
    watched.told(vec![HealthCheck { port: elsewhere.port(), ..http("/200") }]);
    watched.becomes("healthy").await;
    drop(app);
    watched.missed.send_replace(());
    watched.becomes(&format!("{address} refused the connection")).await;
}
