//! Callers that send nothing more and wait, and callers that have gone.

use super::{super::caller::LOOK, server::closed, *};

const LAST: &str = "GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const OLD: &str = "GET /a HTTP/1.0\r\n\r\n";
const OPEN: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers after longer than anybody is waited for who might have gone.
async fn late(request: Request<Body>) -> Response<Body> {
    tokio::time::sleep(LOOK + LOOK / 2).await;
    tell(request).await
}

#[tokio::test]
async fn who_has_said_that_it_is_the_last_request_may_stop_sending() {
    let upload = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let answered = async |request| {
        let (mut caller, serving) = served(&Drain::new(), late).await;
        caller.send(request).await;
        caller.finish().await;
        let answer = caller.rest().await;
        assert!(answer.contains("200 OK") && answer.contains("/a "), "{request}: {answer}");
        assert_eq!(closed(serving).await, None);
    };
    tokio::join!(answered(LAST), answered(OLD), answered(upload));
}

#[tokio::test]
async fn who_has_not_said_so_gets_an_answer_that_comes_soon() {
    let soon = async |request| {
        tokio::task::yield_now().await;
        tell(request).await
    };
    let (mut caller, serving) = served(&Drain::new(), soon).await;
    caller.send(OPEN).await;
    caller.finish().await;
    let answer = caller.rest().await;
    assert!(answer.ends_with("/a 0: "), "{answer}");
    closed(serving).await;

    let (mut caller, serving) = served(&Drain::new(), late).await;
    caller.send(OPEN).await;
    caller.finish().await;
    assert_eq!(caller.rest().await, "", "it has most likely gone");
    closed(serving).await;
}

#[tokio::test]
async fn requests_that_were_sent_ahead_are_answered_all_the_same() {
    let (mut caller, serving) = served(&Drain::new(), tell).await;
    caller.send(OPEN.repeat(3)).await;
    caller.finish().await;
    let answers = caller.rest().await;
    assert_eq!(statuses(&answers), ["200"; 3], "{answers}");
    closed(serving).await;
}

/// What moves is proof enough; what has stopped to move is not.
#[tokio::test]
async fn an_answer_that_is_underway_goes_on_while_it_moves() {
    let (callee, listener) = super::client::callee().await;
    let peer = tokio::spawn(async move {
        let mut peer = super::client::accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for _ in 0..20 {
            tokio::time::sleep(LOOK / 10).await;
            peer.send("2\r\nhi\r\n").await;
        }
        peer.rest().await
    });
    let (mut caller, serving) = served(&Drain::new(), move |_| {
        let callee = callee.clone();
        async move { callee.get().await.unwrap() }
    })
    .await;
    caller.send(OPEN).await;
    caller.finish().await;
    let answer = caller.rest().await;
    assert_eq!(answer.matches("hi").count(), 20, "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "it ended because nothing moved: {answer}");
    within(peer).await.unwrap();
    closed(serving).await;
}

/// Nothing is left to be read that could tell.
#[tokio::test]
async fn who_is_reset_has_gone() {
    let (begun, dropped) = (Arc::new(tokio::sync::Notify::new()), Arc::new(()));
    let (told, held) = (begun.clone(), dropped.clone());
    let (mut caller, serving) = served(&Drain::new(), move |_| {
        let (told, held) = (told.clone(), held.clone());
        async move {
            let _held = held;
            told.notify_one();
            std::future::pending().await
        }
    })
    .await;
    caller.send(LAST).await;
    within(begun.notified()).await;
    caller.finish().await;
    tokio::time::sleep(LOOK + LOOK / 2).await;
    assert!(!serving.is_finished(), "it waits");
    socket2::SockRef::from(&*caller.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(caller);
    closed(serving).await;
    assert_eq!(Arc::strong_count(&dropped), 1, "and the handler with it");
}
