//! Callers that send or read slowly, or not at all.

use tokio::sync::oneshot;

use super::{server::closed, *};

/// Short enough to wait for, and of no account where it must not matter.
const SHORT: Duration = Duration::from_millis(50);
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Callers who send one byte after the other come no further than those who stop.
#[tokio::test]
async fn a_head_must_be_complete_in_time() {
    let before = [String::new(), GET.to_owned()];
    for (before, pace) in before.iter().flat_map(|before| [(before, None), (before, Some(SHORT / 10))]) {
        let limits = Limits { head: SHORT, ..LIMITS };
        let (mut caller, serving) = served_within(limits, &Drain::new(), tell).await;
        if !before.is_empty() {
            caller.send(before).await;
            caller.message().await;
        }
        let begun = std::time::Instant::now();
        caller.send("GET / HTTP/1.1\r\nx: ").await;
        let mut answer = Vec::new();
        while let Some(pace) = pace
            && begun.elapsed() < DEADLINE
            && tokio::time::timeout(pace, caller.stream.read_buf(&mut answer)).await.is_err()
        {
            caller.stream.write_all(b"y").await.unwrap();
        }
        let answer = String::from_utf8(answer).unwrap() + &caller.rest().await;
        assert!(begun.elapsed() >= SHORT);
        assert_eq!(statuses(&answer), ["408"], "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("\r\nproxy-status: weft-inbound; error=http_request_error; details=\""), "{answer}");
        assert_eq!(closed(serving).await, Some(Refusal::SlowHead));
    }
}

/// Its time begins with its first byte.
#[tokio::test]
async fn a_caller_may_take_its_time_before_and_between_requests() {
    let (mut caller, serving) = served_within(Limits { head: SHORT, ..LIMITS }, &Drain::new(), tell).await;
    for _ in 0..2 {
        tokio::time::sleep(2 * SHORT).await;
        caller.send("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
        assert_eq!(caller.message().await.1, "/a 2: hi");
    }
    drop(caller);
    assert_eq!(closed(serving).await, None);
}

const UPLOAD: &str = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel";

#[tokio::test]
async fn a_body_that_stands_still_ends_the_request() {
    let (result, read_to) = oneshot::channel();
    let result = Arc::new(std::sync::Mutex::new(Some(result)));
    let (mut caller, serving) =
        served_within(Limits { stall: SHORT, ..LIMITS }, &Drain::new(), move |request: Request<Body>| {
            let result = result.clone();
            async move {
                // In another task, as a body is read that goes on over HTTP/2.
                tokio::spawn(async move {
                    let read = read(request.into_body()).await;
                    result.lock().unwrap().take().unwrap().send(read).unwrap();
                });
                std::future::pending().await
            }
        })
        .await;
    let begun = std::time::Instant::now();
    caller.send(UPLOAD).await;
    let answer = caller.rest().await;
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(statuses(&answer), ["408"], "{answer}");
    assert!(answer.contains("too slow"), "{answer}");
    let (data, _, broke_off) = within(read_to).await.unwrap();
    assert_eq!((data.as_str(), broke_off), ("hel", true), "it must not look complete");
    assert_eq!(closed(serving).await, Some(Refusal::SlowBody));
}

/// Nobody has said that more is to come: a stream may rest for hours.
#[tokio::test]
async fn a_stream_may_rest() {
    let (mut caller, serving) = served_within(Limits { stall: SHORT, ..LIMITS }, &Drain::new(), echo).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    caller.head().await;
    for _ in 0..2 {
        tokio::time::sleep(4 * SHORT).await;
        caller.send("2\r\nhi\r\n").await;
        assert_eq!(caller.take(7).await, "2\r\nhi\r\n");
    }
    caller.send("0\r\n\r\n").await;
    caller.until("0\r\n\r\n").await;
    drop(caller);
    assert_eq!(closed(serving).await, None);
}

/// How long a handler takes is not the caller's matter.
#[tokio::test]
async fn a_caller_may_wait() {
    let (mut caller, serving) = served_within(Limits { stall: SHORT, ..LIMITS }, &Drain::new(), async |request| {
        tokio::time::sleep(4 * SHORT).await;
        tell(request).await
    })
    .await;
    caller.send(GET).await;
    assert_eq!(caller.message().await.1, "/ 0: ");
    drop(caller);
    assert_eq!(closed(serving).await, None);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends() {
    for answer in ["content-length: 50000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n2faf080\r\n"] {
        let callee = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = super::client::Callee::at(callee.local_addr().unwrap());
        let gone = tokio::spawn(async move {
            let mut peer = Peer::new(callee.accept().await.unwrap().0);
            peer.head().await;
            peer.send(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
            let mut sent = 0;
            while peer.stream.write_all(&[b'x'; 1000]).await.is_ok() {
                sent += 1000;
            }
            sent
        });
        let (mut caller, serving) = served_within(Limits { stall: SHORT, ..LIMITS }, &Drain::new(), move |request| {
            let target = target.clone();
            async move { target.send(request).await.unwrap() }
        })
        .await;
        caller.send(GET).await;
        caller.head().await;
        assert_eq!(closed(serving).await, Some(Refusal::SlowAnswer));
        assert!(within(gone).await.unwrap() < 50_000_000, "what nobody reads is not taken either");
    }
}

#[tokio::test]
async fn an_answer_that_has_said_how_long_it_is_must_go_on() {
    let (callee, listener) = super::client::callee().await;
    let gone = tokio::spawn(async move {
        let mut peer = super::client::accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
        peer.rest().await
    });
    let (mut caller, serving) = served_within(Limits { stall: SHORT, ..LIMITS }, &Drain::new(), move |_| {
        let callee = callee.clone();
        async move { callee.get().await.unwrap() }
    })
    .await;
    caller.send(GET).await;
    caller.until("hel").await;
    assert_eq!(closed(serving).await, Some(Refusal::SlowAnswer));
    assert_eq!(caller.fill().await, 0);
    within(gone).await.unwrap();
}
