//! How connections begin, and that they must.

use std::time::{Duration, Instant};

use super::{
    frames::{ACK, PREFACE, SETTINGS, frame},
    *,
};
use crate::http::http1::tests::tell;

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn who_does_not_say_what_it_speaks_is_answered_that_it_is_slow() {
    for sent in ["P", "PRI * HT", "GET"] {
        let mut served = Served::new(None, Limits { head: SHORT, ..LIMITS }, tell).await;
        let begun = Instant::now();
        served.caller.send(sent).await;
        let answer = served.caller.head().await;
        assert!(begun.elapsed() >= SHORT);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("proxy-status: weft-inbound;"), "{answer}");
        served.end().await;
    }
}

#[tokio::test]
async fn http_2_begins_in_time_or_not_at_all() {
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let beginning = [PREFACE, &settings].concat();
    for (speaks, sent) in [
        (Some(Hop::Http2), &beginning[..0]),
        (Some(Hop::Http2), &beginning[..10]),
        (Some(Hop::Http1Streams), PREFACE),
        (Some(Hop::Http1Streams), &beginning[..30]),
        (Some(Hop::Http2), &beginning[..beginning.len() - 1]),
    ] {
        let mut served = Served::new(speaks, Limits { head: SHORT, ..LIMITS }, tell).await;
        let begun = Instant::now();
        served.caller.send(sent).await;
        assert_eq!(served.caller.fill().await, 0, "{} bytes", sent.len());
        assert!(begun.elapsed() >= SHORT);
        served.end().await;
        assert_eq!(served.refused("slow_head"), 1);
    }
    let mut served = Served::new(None, Limits { head: SHORT, ..LIMITS }, tell).await;
    served.caller.send(PREFACE).await;
    assert!(served.caller.head().await.starts_with("HTTP/1.1 408 "));
    served.end().await;
    assert_eq!(served.refused("slow_head"), 1);
}

/// Whole, it is passed on whole.
#[tokio::test]
async fn http_2_may_begin_in_pieces() {
    let beginning = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat();
    for (speaks, size) in [(None, 1), (None, 100), (Some(Hop::Http2), 7)] {
        let mut served = Served::new(speaks, LIMITS, tell).await;
        served.caller.send_pieces(&beginning, size).await;
        let settings = served.caller.frame().await.unwrap();
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        while served.caller.frame().await.unwrap().flags != ACK {}
    }
}

/// Its time is over when it has begun.
#[tokio::test]
async fn http_2_may_rest_once_it_has_begun() {
    let mut served = Served::new(None, Limits { head: SHORT, ..LIMITS }, tell).await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    while served.caller.frame().await.unwrap().flags != ACK {}
    tokio::time::sleep(4 * SHORT).await;
    assert!(!served.serving.is_finished());
    assert_eq!(served.refused("slow_head"), 0);
}

/// What is no preface is for the reader of HTTP/2 to refuse, and a frame without an end too.
#[tokio::test]
async fn what_cannot_be_http_2_is_not_waited_for() {
    let endless = [PREFACE, &[0xff, 0xff, 0xff, SETTINGS, 0, 0, 0, 0, 0]].concat();
    for sent in [&b"GET / HTTP/1.1\r\n"[..], &endless] {
        let mut served = Served::new(Some(Hop::Http2), LIMITS, tell).await;
        served.caller.send(sent).await;
        while served.caller.frame().await.is_some() {}
        served.end().await;
        assert_eq!(served.refused("slow_head"), 0);
    }
}

#[tokio::test]
async fn who_says_nothing_is_idle() {
    let mut served = Served::new(None, Limits { idle: SHORT, ..LIMITS }, tell).await;
    assert_eq!(served.caller.fill().await, 0);
    served.end().await;
    assert_eq!(served.refused("slow_head"), 0);
}
