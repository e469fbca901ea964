//! What is sent again, how often, and what is said about it.

use weft_proxy_api::policy::{Backoff, CircuitBreaker, Retry, RetryBudget};

use super::{
    app::{OK, UNAVAILABLE},
    *,
};

async fn answering() -> App {
    App::start(|_, _| OK).await
}

async fn failing() -> App {
    App::start(|_, _| UNAVAILABLE).await
}

/// Without waits.
fn at_once(service: &mut Service) {
    policies(service).retry.backoff = Backoff::None;
}

fn kept(length: usize) -> &'static str {
    "x".repeat(length).leak()
}

#[tokio::test]
async fn who_asks_sees_nothing_of_one_endpoint_that_fails() {
    let (good, bad) = (answering().await, failing().await);
    let mesh = Mesh::with(&[&good, &bad], at_once);
    for _ in 0..30 {
        let answer = mesh.get().await;
        assert_eq!((answer.status, answer.why()), (200, ""), "{answer:?}");
    }
    let retries = mesh.metric(r#"weft_retries_total{backend="shop/orders:80",reason="status"}"#);
    assert!(retries >= 1);
    assert_eq!(retries, bad.count() as u64, "each of its failures was made good elsewhere");
    assert_eq!(good.count(), 30);
}

#[tokio::test]
async fn the_last_answer_is_passed_on_with_the_number_of_attempts() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], at_once);
    let answer = mesh.get().await;
    assert_eq!((answer.status, answer.body.as_deref(), app.count()), (503, Some("busy"), 3));
    assert!(answer.why().contains("received-status=503"), "{}", answer.why());
    assert!(answer.why().contains("3 attempts, and no more: attempts used up"), "{}", answer.why());
    let counts: Vec<_> = app.seen().iter().map(|seen| seen.field("weft-attempt-count").map(str::to_owned)).collect();
    assert_eq!(counts, [None, Some("2".into()), Some("3".into())]);
}

#[tokio::test]
async fn a_post_is_sent_again_only_with_a_key() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], at_once);
    for body in [Body::empty(), Body::full("hello"), pieces(vec!["hello"], true)] {
        let before = app.count();
        let answer = mesh.send(request(Method::POST, body)).await;
        assert_eq!((answer.status, answer.why(), app.count()), (503, "", before + 1));
    }
    let before = app.count();
    let mut with_key = request(Method::POST, Body::full("hello"));
    with_key.headers_mut().insert("idempotency-key", "\"1\"".parse().unwrap());
    assert_eq!(mesh.send(with_key).await.status, 503);
    assert_eq!(app.count(), before + 3);
    assert!(app.seen()[before..].iter().all(|seen| seen.body == "hello"));
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_a_limit() {
    for (length, attempts, why) in [(10 << 10, 3, "attempts used up"), (1 << 20, 1, "body was not kept")] {
        for known in [true, false] {
            let app = failing().await;
            let mesh = Mesh::with(&[&app], at_once);
            let body = if known { Body::full(kept(length)) } else { pieces(vec![kept(length / 2); 2], true) };
            let answer = mesh.send(request(Method::PUT, body)).await;
            assert_eq!((answer.status, app.count()), (503, attempts), "{length} {known}");
            assert!(answer.why().contains(why), "{}", answer.why());
            assert!(app.seen().iter().all(|seen| seen.body.len() == length), "{length} {known}");
        }
    }
}

#[tokio::test]
async fn a_body_goes_on_where_the_answer_came_before_its_end() {
    let app = App::start(|number, _| if number == 0 { UNAVAILABLE } else { OK }).await;
    let mesh = Mesh::with(&[&app], at_once);
    let (sender, frames) = tokio::sync::mpsc::channel(1);
    let upload = async {
        let data = |text: &'static str| Ok(http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes())));
        sender.send(data("hel")).await.unwrap();
        while app.count() == 0 {
            tokio::task::yield_now().await;
        }
        sender.send(data("lo")).await.unwrap();
        drop(sender);
    };
    let mut early = request(Method::PUT, Body::relayed(frames));
    early.headers_mut().insert("x-early", "1".parse().unwrap());
    let (answer, ()) = tokio::join!(mesh.send(early), upload);
    assert_eq!((answer.status, app.seen()[1].body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn a_budget_stops_a_storm() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], |service| {
        at_once(service);
        service.backends[0].retry_budget = RetryBudget { percent: 20, min_per_second: 1 };
        service.backends[0].circuit_breaker =
            CircuitBreaker { minimum_requests: 1_000_000, ..CircuitBreaker::default() };
    });
    let mut last = mesh.get().await;
    for _ in 1..200 {
        last = mesh.get().await;
    }
    assert_eq!(last.status, 503);
    let count = app.count();
    assert!((210..=250).contains(&count), "{count}");
    let exhausted = mesh.metric(r#"weft_retry_budget_exhausted_total{direction="outbound",backend="shop/orders:80"}"#);
    assert!(exhausted > 100, "{exhausted}");
}

#[tokio::test]
async fn a_longer_wait_than_is_allowed_is_passed_on() {
    let app = App::start(|_, _| Act::Say("HTTP/1.1 429 No\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n")).await;
    let answer = Mesh::with(&[&app], |_| {}).get().await;
    assert_eq!((answer.status, app.count()), (429, 1));
    assert!(answer.why().contains("1 attempt, and no more: it asks for a longer wait"), "{}", answer.why());
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn a_probe_is_one_attempt_and_an_open_circuit_gets_none() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], |service| {
        at_once(service);
        service.backends[0].circuit_breaker = CircuitBreaker {
            consecutive_failures: Some(2),
            open_initial: Duration::from_millis(1),
            open_max: Duration::from_millis(1),
            ..CircuitBreaker::default()
        };
    });
    for made in [3, 6] {
        assert_eq!((mesh.get().await.status, app.count()), (503, made), "requests count, not attempts");
    }
    let probe = async {
        loop {
            let answer = mesh.get().await;
            if app.count() > 6 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let probe = tokio::time::timeout(PATIENCE, probe).await.unwrap();
    assert_eq!((probe.status, app.count()), (503, 7));
    assert!(probe.why().contains("1 attempt, and no more: the circuit is not closed"), "{}", probe.why());
}

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn what_reached_nobody_goes_elsewhere_whatever_it_is() {
    let app = answering().await;
    let mesh = Mesh::new();
    let endpoints = vec![endpoint(app.address, None), endpoint(nobody().await, None)];
    mesh.publish(endpoints, |service| service.backends[0].retry_budget = RetryBudget { percent: 0, min_per_second: 0 });
    for _ in 0..20 {
        let answer = mesh.send(request(Method::POST, pieces(vec!["hello"], true))).await;
        assert_eq!((answer.status, answer.body.as_deref()), (200, Some("ok")), "{answer:?}");
    }
    assert!(app.seen().iter().all(|seen| seen.body == "hello"));
}

#[tokio::test]
async fn the_only_endpoint_is_tried_again() {
    let mesh = Mesh::new();
    mesh.publish(vec![endpoint(nobody().await, None)], at_once);
    let answer = mesh.send(request(Method::POST, Body::full("hello"))).await;
    assert_eq!(answer.status, 503);
    assert!(answer.why().contains("3 attempts, and no more: attempts used up"), "{}", answer.why());
    assert_eq!(mesh.metric(r#"weft_retries_total{backend="shop/orders:80",reason="unsent"}"#), 2);
}

#[tokio::test]
async fn nothing_is_tried_again_where_the_policy_says_so() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], |service| policies(service).retry = Retry { attempts: 0, ..Retry::default() });
    let answer = mesh.get().await;
    assert_eq!((answer.status, answer.why(), app.count()), (503, "", 1));
}

#[tokio::test]
async fn the_application_learns_which_attempt_it_gets_from_sidecars_alone() {
    let app = App::start(|number, _| if number == 0 { UNAVAILABLE } else { OK }).await;
    let mesh = Mesh::new();
    mesh.publish(vec![mesh.sidecar(&app).await], at_once);
    let mut claimed = request(Method::GET, Body::empty());
    claimed.headers_mut().insert("weft-attempt-count", "7".parse().unwrap());
    assert_eq!(mesh.send(claimed).await.status, 200);
    let counts: Vec<_> = app.seen().iter().map(|seen| seen.field("weft-attempt-count").map(str::to_owned)).collect();
    assert_eq!(counts, [None, Some("2".into())]);
}

#[tokio::test]
async fn a_circuit_that_only_says_what_it_would_do_stops_nothing() {
    let app = failing().await;
    let mesh = Mesh::with(&[&app], |service| {
        at_once(service);
        service.backends[0].circuit_breaker =
            CircuitBreaker { consecutive_failures: Some(1), dry_run: true, ..CircuitBreaker::default() };
    });
    for made in [3, 6] {
        assert_eq!((mesh.get().await.status, app.count()), (503, made));
    }
}
