use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use weft_certs::{Ca, Identity, SpiffeId, TrustDomain};

use super::*;
use crate::error::Kind;
use crate::telemetry::Metrics;

fn identity() -> Arc<Identity> {
    let trust_domain: TrustDomain = "weft.local".parse().unwrap();
    let now = std::time::SystemTime::now();
    let ca = Ca::create(trust_domain.clone(), now).unwrap();
    let id = SpiffeId::workload(&trust_domain, "shop", "frontend").unwrap();
    Identity::new(ca.issue(&id, Duration::from_secs(60), now).unwrap(), ca.trust_bundle())
}

fn pool() -> Arc<Pool> {
    Pool::new(Arc::new(Client::new(&identity(), Arc::new(Metrics::new()), Default::default())))
}

fn request() -> Request<Body> {
    Request::get("http://orders/").body(Body::empty()).unwrap()
}

/// The paused clock moves only when everybody waits: whoever waits for another's connect would wait longer.
#[tokio::test(start_paused = true)]
async fn requests_to_a_silent_peer_fail_together_after_the_connect_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = Some(identity().svid().id().clone());
    let target = Arc::new(Target { address: silent.local_addr().unwrap(), identity });
    let (pool, limit) = (pool(), Duration::from_secs(5));
    let started = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (pool, target) = (pool.clone(), target.clone());
            tokio::spawn(async move {
                pool.send(&target, Hop::Http2, limit, &mut request(), Keep::Nothing).await.map(|_| ())
            })
        })
        .collect();
    for waiting in waiting {
        let unanswered = waiting.await.unwrap().unwrap_err();
        assert_eq!(unanswered.error.kind, Kind::ConnectTimeout);
        assert!(unanswered.untouched, "nothing was sent");
    }
    assert!(started.elapsed() < 2 * limit);
}

#[tokio::test]
async fn a_full_http2_connection_gets_company() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Arc::new(Target { address: listener.local_addr().unwrap(), identity: None });
    let requests = Arc::new(AtomicUsize::new(0));
    let (connections, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn({
        let requests = requests.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.send(()).unwrap();
                let requests = requests.clone();
                let never = service_fn(move |_| {
                    requests.fetch_add(1, Ordering::Relaxed);
                    std::future::pending::<Result<Response<Body>, Infallible>>()
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), never));
            }
        }
    });
    let pool = pool();
    let send = || {
        let (pool, target) = (pool.clone(), target.clone());
        tokio::spawn(async move {
            pool.send(&target, Hop::Http2, Duration::from_secs(5), &mut request(), Keep::Nothing).await.map(|_| ())
        })
    };
    let mut pending: Vec<_> = (0..STREAMS_PER_CONNECTION).map(|_| send()).collect();
    let all_arrived = async |count| {
        while requests.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_arrived(STREAMS_PER_CONNECTION)).await.unwrap();
    assert!(accepted.try_recv().is_ok());
    assert!(accepted.try_recv().is_err(), "a burst makes one connection");

    pending.push(send());
    tokio::time::timeout(Duration::from_secs(20), all_arrived(STREAMS_PER_CONNECTION + 1)).await.unwrap();
    assert!(accepted.try_recv().is_ok(), "one more than fits makes another");
    pending.iter().for_each(tokio::task::JoinHandle::abort);
}
