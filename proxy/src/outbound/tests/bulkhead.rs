//! Connections to a backend that may have so many, and what the answers of others say of its limits.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};
use weft_proxy_api::policy::Bulkhead;

use super::*;

/// HTTP/1.1, one request at a time on each connection; answers while it is let.
struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    answers: watch::Sender<bool>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    asked: AtomicUsize,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, answers) = (Arc::new(Counts::default()), watch::Sender::new(true));
        let (counted, may_answer) = (counts.clone(), answers.subscribe());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.accepted.fetch_add(1, Ordering::SeqCst);
                let open = counted.open.fetch_add(1, Ordering::SeqCst) + 1;
                counted.most_open.fetch_max(open, Ordering::SeqCst);
                tokio::spawn(serve(stream, counted.clone(), may_answer.clone()));
            }
        });
        Self { address, counts, answers }
    }

    fn holds(&self) {
        self.answers.send_replace(false);
    }

    fn answers(&self) {
        self.answers.send_replace(true);
    }

    fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    fn most_open(&self) -> usize {
        self.counts.most_open.load(Ordering::SeqCst)
    }

    /// Returns when so many requests have come in all.
    async fn asked(&self, count: usize) {
        let come = async {
            while self.counts.asked.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, come).await.expect("the requests come");
    }
}

async fn serve(mut stream: TcpStream, counts: Arc<Counts>, mut may_answer: watch::Receiver<bool>) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            counts.asked.fetch_add(1, Ordering::SeqCst);
            may_answer.wait_for(|may| *may).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    }
    counts.open.fetch_sub(1, Ordering::SeqCst);
}

fn connections(max: u32) -> Bulkhead {
    Bulkhead { max_connections: Some(max), ..Bulkhead::default() }
}

/// `orders` at these endpoints, with so many connections at most.
fn mesh(endpoints: Vec<Endpoint>, max: u32, connect_timeout: Duration) -> Arc<Mesh> {
    let mesh = Mesh::new();
    publish(&mesh, endpoints, max, connect_timeout);
    Arc::new(mesh)
}

fn publish(mesh: &Mesh, endpoints: Vec<Endpoint>, max: u32, connect_timeout: Duration) {
    mesh.publish(endpoints, |service| {
        let backend = service.backends.first_mut().unwrap();
        backend.bulkhead = connections(max);
        backend.connect_timeout = connect_timeout;
    });
}

fn ask(mesh: &Arc<Mesh>, count: usize) -> JoinSet<u16> {
    let asking = (0..count).map(|_| {
        let mesh = mesh.clone();
        async move { mesh.send(request(Method::GET, Body::empty())).await.status }
    });
    asking.collect()
}

/// Another worker of the same sidecar.
fn worker(mesh: &Mesh) -> Mesh {
    let cx = &mesh.cx;
    let worker = Outbound {
        namespace: cx.namespace.clone(),
        workload: cx.workload.clone(),
        discovery_timeout: cx.discovery_timeout,
        mesh: cx.mesh.clone(),
        pool: Pool::new(cx.client.clone()),
        client: cx.client.clone(),
        max_connections: cx.max_connections,
        copies: cx.copies.clone(),
        drain: cx.drain.clone(),
        metrics: cx.metrics.clone(),
        access_log: cx.access_log.clone(),
    };
    let ca = Ca::create("weft.local".parse::<TrustDomain>().unwrap(), SystemTime::now()).unwrap();
    Mesh { cx: Arc::new(worker), ca }
}

#[tokio::test]
async fn requests_take_turns_on_the_connections_that_there_may_be() {
    let server = Server::start().await;
    let mesh = mesh(vec![endpoint(server.address, None)], 2, PATIENCE);
    server.holds();
    let asking = ask(&mesh, 8);
    server.asked(2).await;
    server.answers();
    assert_eq!(asking.join_all().await, [200; 8]);
    assert_eq!((server.accepted(), server.most_open()), (2, 2));
}

#[tokio::test]
async fn without_room_in_time_a_request_is_refused_and_the_backend_not_blamed() {
    let server = Server::start().await;
    let mesh = mesh(vec![endpoint(server.address, None)], 1, Duration::from_millis(50));
    server.holds();
    let held = ask(&mesh, 1);
    server.asked(1).await;
    for _ in 0..5 {
        let refused = mesh.send(request(Method::GET, Body::empty())).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.why().contains("error=connection_limit_reached"), "{refused:?}");
        assert!(refused.why().contains("1 connections are open, as many as there may be"), "{refused:?}");
    }
    server.answers();
    assert_eq!(held.join_all().await, [200]);
    let [backend] = &mesh.cx.mesh.backends()[..] else { panic!("one backend") };
    assert_eq!(backend.breaker.status(std::time::Instant::now()).times_opened, 0);
    assert!(backend.balancer.endpoints().iter().all(|endpoint| endpoint.breaker.is_closed()));
    assert_eq!(mesh.send(request(Method::GET, Body::empty())).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another_endpoint_and_another_worker() {
    let servers = [Server::start().await, Server::start().await];
    let endpoints = servers.iter().map(|server| endpoint(server.address, None)).collect();
    let first = mesh(endpoints, 1, PATIENCE);
    let second = worker(&first);
    for worker in [&*first, &second, &*first, &second, &*first, &*first, &*first, &*first] {
        assert_eq!(worker.send(request(Method::GET, Body::empty())).await.status, 200);
    }
    assert!(servers.iter().map(Server::accepted).sum::<usize>() >= 4);
}

#[tokio::test]
async fn requests_between_sidecars_share_the_only_connection() {
    let (server, mesh) = (Server::start().await, Mesh::new());
    let app = App { address: server.address, seen: Arc::default() };
    let callee = mesh.sidecar(&app).await;
    publish(&mesh, vec![callee], 1, PATIENCE);
    server.holds();
    let asking = ask(&Arc::new(mesh), 30);
    server.asked(30).await;
    server.answers();
    assert_eq!(asking.join_all().await, [200; 30]);
}

#[tokio::test]
async fn a_connection_keeps_its_place_when_the_limit_changes() {
    let server = Server::start().await;
    let mesh = mesh(vec![endpoint(server.address, None)], 2, PATIENCE);
    server.holds();
    let held = ask(&mesh, 2);
    server.asked(2).await;
    publish(&mesh, vec![endpoint(server.address, None)], 1, Duration::from_millis(50));
    assert_eq!(mesh.send(request(Method::GET, Body::empty())).await.status, 503);
    publish(&mesh, vec![endpoint(server.address, None)], 3, PATIENCE);
    let third = ask(&mesh, 1);
    server.asked(3).await;
    server.answers();
    assert_eq!(held.join_all().await, [200; 2]);
    assert_eq!(third.join_all().await, [200]);
    assert_eq!(server.most_open(), 3);
}
