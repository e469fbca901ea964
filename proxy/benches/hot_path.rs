//! Micro-benchmarks of what a request passes through without waiting, and of compiling what it passes through.
//!
//! `cargo bench -p weft-proxy --bench hot_path` measures; `-- --save-baseline before` keeps the figures, and
//! `-- --baseline before` compares with them. They say which part of a request has become faster; whether a request has
//! is for `weft-bench` to say.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may panic, as a test may")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use prometheus_client::metrics::counter::Counter;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use tokio::sync::watch;
use weft_proxy::{
    balance::{Affinity, Balancer},
    http::headers,
    mesh::{
        backend::Watchers,
        compile::{self, Backends},
    },
    policy::{CircuitBreaker, Outcome},
    route::{RouteTable, Split},
    telemetry::{Metrics, metrics::Direction},
};
use weft_proxy_api::{
    Backend, Endpoint, Service, ServicePort, policy,
    route::{
        Action, Filters, HeaderModifier, PathMatch, Route, RouteMatch, Rule, Split as Shares, Sticky, Target,
        WeightedBackend,
    },
};

criterion_group! {
    name = hot_path;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    targets = route_match, split, pick, circuit_breaker, header_rewriting, metrics, snapshot
}
criterion_main!(hot_path);

/// The last route matches: every one before it is looked at.
fn route_match(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route match");
    let headers = request_headers();
    for rules in [1, 10, 100] {
        let table = RouteTable::compile(&service(rules, 1));
        let uri: Uri = format!("/api/{}/items?page=1", rules - 1).parse().unwrap();
        assert_eq!(table.find(&Method::GET, &uri, &headers).unwrap().rule, rules - 1);
        group.bench_function(BenchmarkId::from_parameter(rules), |bench| {
            bench.iter(|| table.find(&Method::GET, black_box(&uri), &headers));
        });
    }
}

fn split(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split");
    let mut headers = request_headers();
    headers.insert("x-user", HeaderValue::from_static("user-4711"));
    let sticky = Sticky::Header(HeaderName::from_static("x-user"));
    for (name, sticky) in [("weighted", None), ("sticky", Some(sticky))] {
        let split = Split::new(&shares(&[90, 9, 1], sticky));
        let mut rng = rng();
        group.bench_function(name, |bench| bench.iter(|| split.pick(black_box(&headers), rng.next_u64())));
    }
}

/// With the two moving averages that decide, and the answer that goes into one.
fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for count in [2, 10, 100] {
        let balancer = Balancer::new(&Backend::new(orders(0)), "".into(), Counter::default());
        let now = Instant::now();
        balancer.update(&endpoints(count), now);
        let mut rng = rng();
        group.bench_function(BenchmarkId::new("peak EWMA", count), |bench| {
            bench.iter(|| {
                let mut picked = balancer.pick(now, &mut rng, None, Affinity::default()).unwrap();
                picked.head_arrived(now + Duration::from_millis(1));
                picked.finish(Outcome::Success, now + Duration::from_millis(1), 0.5)
            });
        });
    }
}

fn circuit_breaker(criterion: &mut Criterion) {
    let breaker = Arc::new(CircuitBreaker::new(policy::CircuitBreaker::default()));
    let now = Instant::now();
    criterion.bench_function("circuit breaker/admit and record", |bench| {
        bench.iter(|| {
            let guard = breaker.guard(black_box(now)).unwrap();
            guard.finish(Outcome::Success, now, 0.5)
        });
    });
}

fn header_rewriting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    let filter = HeaderModifier {
        set: vec![(HeaderName::from_static("x-canary"), HeaderValue::from_static("yes"))],
        add: vec![(HeaderName::from_static("via"), HeaderValue::from_static("1.1 shop"))],
        remove: vec![HeaderName::from_static("x-debug")],
    };
    let mut hop_by_hop = request_headers();
    hop_by_hop.insert("connection", HeaderValue::from_static("keep-alive, x-debug"));
    hop_by_hop.insert("keep-alive", HeaderValue::from_static("timeout=5"));
    for (name, headers) in [("nothing to strip", request_headers()), ("strip and filter", hop_by_hop)] {
        let strip_only = name == "nothing to strip";
        group.bench_function(name, |bench| {
            let rewrite = |headers: &mut HeaderMap| {
                headers::strip_hop_by_hop(headers);
                headers::strip_asserted(headers);
                if !strip_only {
                    headers::apply(&filter, headers);
                }
            };
            bench.iter_batched_ref(|| headers.clone(), rewrite, BatchSize::SmallInput);
        });
    }
    group.bench_function("request id", |bench| {
        bench.iter_batched_ref(request_headers, headers::request_id, BatchSize::SmallInput);
    });
}

fn metrics(criterion: &mut Criterion) {
    let requests = Metrics::new().requests(Direction::Outbound, "shop/orders:80");
    criterion.bench_function("metrics/record", |bench| {
        bench.iter(|| requests.record(black_box(StatusCode::OK), black_box(Duration::from_micros(700))));
    });
}

/// What an update costs from the decoded resources to live objects, when nothing was there before.
fn snapshot(criterion: &mut Criterion) {
    let (service, endpoints) = (service(10, 1), endpoints(100));
    let watchers = Watchers { metrics: Arc::new(Metrics::new()), transitions: watch::Sender::new(()), zone: "".into() };
    criterion.bench_function("snapshot/10 rules, 100 endpoints", |bench| {
        bench.iter(|| {
            let live = compile::backends(&service, &Backends::default(), &watchers);
            live.values().for_each(|backend| backend.balancer.update(&endpoints, Instant::now()));
            compile::destination(&orders(0), &service, &live, None, Arc::default())
        });
    });
}

fn orders(version: usize) -> ServicePort {
    ServicePort::new("shop", format!("orders-v{version}"), 80)
}

/// Rules by path prefix, each with a split over the backends.
fn service(rules: usize, backends: usize) -> Service {
    let mut service = Service::direct(Backend::new(orders(0)));
    service.backends = (0..backends).map(|version| Backend::new(orders(version))).collect();
    let pattern = service.rules[0].clone();
    service.rules = (0..rules)
        .map(|_| Rule { action: Action::Split(shares(&vec![1; backends], None)), ..pattern.clone() })
        .collect();
    let path = |rule| Some(PathMatch::Prefix(format!("/api/{rule}")));
    service.routes =
        (0..rules).map(|rule| Route { matches: RouteMatch { path: path(rule), ..Default::default() }, rule }).collect();
    service
}

fn shares(weights: &[u32], sticky: Option<Sticky>) -> Shares {
    let share = |(version, weight): (usize, &u32)| WeightedBackend {
        weight: *weight,
        target: Target::Backend(orders(version)),
        filters: Filters::default(),
    };
    Shares { backends: weights.iter().enumerate().map(share).collect(), sticky }
}

fn endpoints(count: u16) -> Vec<Endpoint> {
    let endpoint = |number: u16| Endpoint {
        id: format!("orders-{number}"),
        address: ([10, 0, 0, 1], 1024 + number).into(),
        identity: Some("spiffe://weft.local/ns/shop/sa/orders".parse().unwrap()),
        weight: 1,
        zone: String::new(),
        healthy: true,
    };
    (0..count).map(endpoint).collect()
}

/// What a browser or a client library sends.
fn request_headers() -> HeaderMap {
    let lines = [
        ("host", "orders.shop"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"),
        ("cookie", "session=5f8d1c; theme=dark"),
        ("x-debug", "1"),
    ];
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// Always the same, so that runs can be compared.
fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}
