//! The limits on a request's time, each by what the caller sees.

use weft_proxy_api::policy::{Backoff, Retry, Timeouts};

use super::{app::OK, *};

/// An answer comes sooner, on a busy machine, too.
const SOON: Duration = Duration::from_millis(200);
/// Longer than a test may take.
const LATE: Duration = Duration::from_secs(50);
/// A body of which the end does not come.
const BEGUN: Act = Act::SayAndHold("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel");

async fn holding(times: usize) -> App {
    App::start(move |number, _| if number < times { Act::Hold } else { OK }).await
}

fn limited(app: &App, timeouts: Timeouts) -> Mesh {
    Mesh::with(&[app], |service| {
        let policies = policies(service);
        policies.timeouts = timeouts;
        policies.retry.backoff = Backoff::None;
    })
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_followed_by_another() {
    for timeouts in [
        Timeouts { backend_request: Some(SOON), request: Some(LATE), ..Timeouts::NONE },
        Timeouts { response_header: Some(SOON), request: Some(LATE), ..Timeouts::NONE },
        Timeouts { response_header: Some(SOON), ..Timeouts::NONE },
    ] {
        for body in [Body::empty(), Body::full("hello")] {
            let app = holding(2).await;
            let mesh = limited(&app, timeouts.clone());
            let answer = mesh.send(request(Method::PUT, body)).await;
            assert_eq!((answer.status, app.count()), (200, 3), "{timeouts:?}");
            assert_eq!(mesh.metric(r#"weft_retries_total{backend="shop/orders:80",reason="timeout"}"#), 2);
        }
    }
}

#[tokio::test]
async fn the_answer_says_which_limit_was_reached() {
    for (timeouts, level) in [
        (Timeouts { request: Some(SOON), ..Timeouts::NONE }, "the request timeout"),
        (Timeouts { total: Some(SOON), request: Some(LATE), ..Timeouts::NONE }, "the total timeout"),
        (Timeouts { backend_request: Some(SOON), ..Timeouts::NONE }, "the attempt timeout"),
        (
            Timeouts { response_header: Some(SOON), request: Some(LATE), ..Timeouts::NONE },
            "the response header timeout",
        ),
        (Timeouts { response_header: Some(LATE), request: Some(SOON), ..Timeouts::NONE }, "the request timeout"),
    ] {
        let app = holding(10).await;
        let answer = limited(&app, timeouts).send(request(Method::POST, Body::full("hello"))).await;
        assert_eq!((answer.status, app.count()), (504, 1), "{level}");
        assert!(answer.why().contains(level), "{level}: {}", answer.why());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_go_on_breaks_off() {
    for timeouts in [
        Timeouts { idle: Some(SOON), ..Timeouts::default() },
        Timeouts { total: Some(4 * SOON), ..Timeouts::default() },
        Timeouts { total: Some(LATE), idle: Some(SOON), ..Timeouts::NONE },
    ] {
        let app = App::start(|_, _| BEGUN).await;
        let answer = limited(&app, timeouts.clone()).get().await;
        assert_eq!((answer.status, answer.body), (200, None), "{timeouts:?}");
    }
}

#[tokio::test]
async fn limits_that_are_not_reached_change_nothing() {
    let app = App::start(|_, _| OK).await;
    let all = Some(LATE);
    let timeouts =
        Timeouts { backend_request: all, response_header: all, idle: all, total: all, ..Timeouts::default() };
    let mesh = limited(&app, timeouts);
    for body in [Body::empty(), Body::full("hello"), pieces(vec!["hel", "lo"], true)] {
        let answer = mesh.send(request(Method::PUT, body)).await;
        assert_eq!((answer.status, answer.body.as_deref()), (200, Some("ok")));
    }
}

/// Nobody is blamed but the caller, and nothing is sent again.
#[tokio::test]
async fn a_request_that_does_not_go_on_is_the_callers_matter() {
    for timeouts in [
        Timeouts { idle: Some(SOON), ..Timeouts::NONE },
        Timeouts { backend_request: Some(SOON), ..Timeouts::NONE },
        Timeouts { request: Some(SOON), response_header: Some(SOON), ..Timeouts::NONE },
    ] {
        let app = holding(10).await;
        let mesh = limited(&app, timeouts.clone());
        let answer = mesh.send(request(Method::PUT, pieces(vec!["hel"], false))).await;
        assert_eq!(answer.status, 504, "{timeouts:?}");
        assert_eq!(mesh.metric(r#"weft_failures_total{direction="outbound",reason="upload_timeout"}"#), 1);
        assert_eq!(mesh.metric(r#"weft_retries_total{backend="shop/orders:80",reason="timeout"}"#), 0);
    }
}

#[tokio::test]
async fn no_attempt_is_begun_that_would_be_too_late() {
    let app = App::start(|_, _| Act::Say("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")).await;
    let mesh = Mesh::with(&[&app], |service| {
        policies(service).timeouts.request = Some(Duration::from_secs(5));
        policies(service).retry = Retry { backoff: Backoff::Fixed(LATE), ..Retry::default() };
    });
    let answer = mesh.get().await;
    assert_eq!((answer.status, app.count()), (503, 1));
    assert!(answer.why().contains("no time left"), "{}", answer.why());
}
