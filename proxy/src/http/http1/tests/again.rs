//! Connections that are closed while a request is on its way, and how long they may rest.

use http::Method;

use super::{
    client::{Callee, NO_CONTENT, accept, callee, request, upload},
    *,
};
use crate::{error::Kind, http::pool::Unanswered};

/// How a callee closes a connection on which a request has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Closes {
    Silently,
    /// With a reset.
    Abruptly,
    /// After the first byte of an answer.
    AfterAByte,
    /// After an interim answer.
    AfterAWord,
}

/// Sends a request on a connection that was used before and is closed when it has come. Returns how often the request
/// came, and what became of it.
async fn sent_to_one_that_closes(request: Request<Body>, closes: Closes) -> (usize, Result<u16, Unanswered>) {
    let (callee, listener) = callee().await;
    let mut came = 0;
    let peer = async {
        let mut first = accept(&listener).await;
        first.head().await;
        first.send(NO_CONTENT).await;
        first.head().await;
        came += 1;
        close(first, closes).await;
        loop {
            let mut next = accept(&listener).await;
            next.head().await;
            came += 1;
            next.send(NO_CONTENT).await;
        }
    };
    let talk = async {
        callee.get().await.unwrap();
        callee.send(request).await.map(|response| response.status().as_u16())
    };
    let sent = within(async {
        tokio::select! {
            sent = talk => sent,
            () = peer => unreachable!(),
        }
    });
    let sent = sent.await;
    (came, sent)
}

async fn close(mut peer: Peer, closes: Closes) {
    match closes {
        Closes::Silently => {}
        Closes::Abruptly => socket2::SockRef::from(&*peer.stream()).set_linger(Some(Duration::ZERO)).unwrap(),
        Closes::AfterAByte => peer.send("H").await,
        Closes::AfterAWord => peer.send("HTTP/1.1 103 Early Hints\r\n\r\n").await,
    }
}

#[tokio::test]
async fn what_can_be_done_twice_is_sent_again() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
        for closes in [Closes::Silently, Closes::Abruptly] {
            let (times, sent) = sent_to_one_that_closes(request(method.clone(), Body::empty()), closes).await;
            assert_eq!((times, sent.unwrap()), (2, 204), "{method} {closes:?}");
        }
    }
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_sent_once() {
    let (_caller, chunked) = upload(None).await;
    for (method, body, closes) in [
        (Method::POST, Body::empty(), Closes::Silently),
        (Method::PATCH, Body::empty(), Closes::Abruptly),
        (Method::POST, Body::full("hello"), Closes::Silently),
        (Method::PUT, Body::full("hello"), Closes::Silently),
        (Method::GET, Body::full("hello"), Closes::Abruptly),
        (Method::PUT, chunked, Closes::Silently),
        // An answer has begun: whatever it was, the request was processed.
        (Method::GET, Body::empty(), Closes::AfterAByte),
        (Method::GET, Body::empty(), Closes::AfterAWord),
    ] {
        let (times, sent) = sent_to_one_that_closes(request(method.clone(), body), closes).await;
        let unanswered = sent.unwrap_err();
        assert_eq!((times, unanswered.error.kind), (1, Kind::Reset), "{method} {closes:?}");
        assert!(!unanswered.untouched, "nobody else may send it either: {method} {closes:?}");
    }
}

/// A fresh connection that is closed is no race.
#[tokio::test]
async fn it_is_sent_again_once() {
    let (callee, listener) = callee().await;
    let peer = async {
        let mut first = accept(&listener).await;
        first.head().await;
        first.send(NO_CONTENT).await;
        first.head().await;
        drop(first);
        accept(&listener).await.head().await;
        // Whoever came a third time would wait here.
        accept(&listener).await
    };
    let talk = async {
        callee.get().await.unwrap();
        callee.get().await.unwrap_err()
    };
    let unanswered = within(async {
        tokio::select! {
            unanswered = talk => unanswered,
            _ = peer => panic!("it came a third time"),
        }
    });
    let unanswered = unanswered.await;
    assert_eq!(unanswered.error.kind, Kind::Reset);
    assert!(!unanswered.untouched, "it was sent");
}

/// Answers `answer` to each request, on whatever connection, and says on which.
async fn numbered(answer: &'static str) -> (Callee, tokio::sync::mpsc::UnboundedReceiver<usize>) {
    let (callee, listener) = callee().await;
    let (connections, used) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let mut peer = Peer::new(listener.accept().await.unwrap().0);
            let connections = connections.clone();
            tokio::spawn(async move {
                while peer.has_request().await && connections.send(number).is_ok() {
                    peer.stream().write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (callee, used)
}

async fn used_after(answer: &'static str, rest: Duration) -> [usize; 2] {
    let (callee, mut used) = numbered(answer).await;
    read(callee.get().await.unwrap().into_body()).await;
    tokio::time::sleep(rest).await;
    read(callee.get().await.unwrap().into_body()).await;
    [used.recv().await.unwrap(), used.recv().await.unwrap()]
}

#[tokio::test]
async fn a_connection_rests_no_longer_than_the_callee_says() {
    let at_once = Duration::ZERO;
    for never in [
        "HTTP/1.1 204 No\r\nkeep-alive: timeout=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, Timeout=0\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nkeep-alive: timeout=1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        assert_eq!(used_after(never, at_once).await, [0, 1], "{never}");
    }
    for long in
        ["timeout=5", "timeout=100000000000000", "timeout=99999999999999999999", "timeout=x", "timeout", "max=1"]
    {
        let answer = format!("HTTP/1.1 204 No\r\nkeep-alive: {long}\r\n\r\n").leak();
        assert_eq!(used_after(answer, at_once).await, [0, 0], "{long}");
    }
}

/// A second before the callee would close it.
#[tokio::test]
async fn a_connection_that_has_rested_is_not_used() {
    for (timeout, used) in [("2", [0, 1]), ("60", [0, 0])] {
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nkeep-alive: timeout={timeout}\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        );
        assert_eq!(used_after(chunked.leak(), Duration::from_millis(1100)).await, used, "{timeout}");
    }
}
