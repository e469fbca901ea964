//! The server, as a caller sees it.

use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};

use super::*;
use crate::http::upgrade;

/// Why the connection was refused, when it has ended.
pub(super) async fn closed(serving: JoinHandle<Option<Refusal>>) -> Option<Refusal> {
    within(serving).await.unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// The answers to `sent` until the connection closes.
async fn answers<A>(sent: &str, answer: impl Fn(Request<Body>) -> A + Send + Sync + 'static) -> String
where
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let (mut caller, serving) = served(&Drain::new(), answer).await;
    caller.send(sent).await;
    let answers = caller.rest().await;
    closed(serving).await;
    answers
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let (mut caller, serving) = served(&Drain::new(), tell).await;
    for path in ["/1", "/2"] {
        caller.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")).await;
        let (head, body) = caller.message().await;
        assert_eq!(body, format!("{path} 2: hi"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("connection"), "{head}");
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
    }
    caller.send(LAST).await;
    assert!(caller.rest().await.contains("\r\nconnection: close\r\n"));
    assert_eq!(closed(serving).await, None);
}

#[tokio::test]
async fn a_date_that_the_handler_gives_is_kept() {
    let dated = async |_| Response::builder().header("date", "today").body(Body::empty()).unwrap();
    let answers = answers(LAST, dated).await;
    assert_eq!(answers.matches("date: ").count(), 1, "{answers}");
    assert!(answers.contains("date: today"), "{answers}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let sent: String = (0..500).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    let answers = answers(&format!("{sent}{LAST}"), tell).await;
    let paths: Vec<_> =
        answers.match_indices(" 0: ").map(|(at, _)| answers[..at].rsplit('/').next().unwrap()).collect();
    let expected: Vec<_> = (0..500).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn callers_of_http_1_0_get_no_chunks() {
    let old = answers("GET /a HTTP/1.0\r\n\r\n", tell).await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("/a 0: ") && !old.contains("keep-alive"), "{old}");

    let (mut caller, serving) = served(&Drain::new(), tell).await;
    caller.send("GET /a HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n").await;
    let (head, body) = caller.message().await;
    assert!(head.contains("\r\nconnection: keep-alive\r\n") && body == "/a 0: ", "{head}{body}");
    caller.send("GET /b HTTP/1.0\r\n\r\n").await;
    assert!(caller.rest().await.ends_with("/b 0: "));
    closed(serving).await;

    // Of unknown length: the end of the connection ends it.
    let (mut caller, serving) = served(&Drain::new(), relay(b"HTTP/1.1 200 OK\r\n\r\nto the end").await).await;
    caller.send("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = caller.rest().await;
    assert!(answer.ends_with("\r\n\r\nto the end") && !answer.contains("chunked"), "{answer}");
    assert!(!answer.contains("keep-alive") && !answer.contains("content-length"), "{answer}");
    closed(serving).await;
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A handler that sends each request to a peer, which answers `answer` and closes.
async fn relay(answer: &'static [u8]) -> impl Fn(Request<Body>) -> Answering {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut peer = Peer::new(stream);
            peer.head().await;
            peer.send(answer).await;
        }
    });
    let callee = super::client::Callee::at(address);
    move |request| {
        let callee = callee.clone();
        Box::pin(async move { callee.send(request).await.unwrap() })
    }
}

#[tokio::test]
async fn answers_to_head_have_the_fields_of_the_body_that_they_do_not_have() {
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    let known = answers(&format!("{head}{LAST}"), async |_| Response::new(Body::full("hello"))).await;
    assert_eq!(known.matches("content-length: 5\r\n").count(), 2, "{known}");
    assert_eq!(known.matches("hello").count(), 1, "{known}");
    let said = async |_| Response::builder().header("content-length", "7").body(Body::empty()).unwrap();
    let said = answers("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", said).await;
    assert!(said.contains("content-length: 7\r\n"), "{said}");
    let silent = answers("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", async |_| status(200)).await;
    assert!(!silent.contains("content-length"), "{silent}");
}

#[tokio::test]
async fn answers_that_have_no_body_do_not_say_one() {
    let answer = async |request: Request<Body>| {
        let status: u16 = request.uri().path()[1..].parse().unwrap_or(200);
        Response::builder().status(status).header("content-length", "5").body(Body::full("hello")).unwrap()
    };
    let sent = ["204", "304"].map(|path| format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n")).concat();
    let answers = answers(&format!("{sent}{LAST}"), answer).await;
    let [none, same, last]: [&str; 3] =
        answers.split_inclusive("\r\n\r\n").take(3).collect::<Vec<_>>().try_into().unwrap();
    assert!(none.starts_with("HTTP/1.1 204") && !none.contains("content-length"), "{none}");
    assert!(same.starts_with("HTTP/1.1 304") && same.contains("content-length: 5\r\n"), "{same}");
    assert!(last.starts_with("HTTP/1.1 200") && answers.ends_with("\r\n\r\nhello"), "{answers}");
}

#[tokio::test]
async fn the_handler_can_close_the_connection() {
    let closing = async |_| Response::builder().header("connection", "close").body(Body::full("bye")).unwrap();
    let answers = answers(&GET.repeat(2), closing).await;
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    assert!(answers.ends_with("bye"), "the second request is not served: {answers}");
}

const EXPECTING: &str = "POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

#[tokio::test]
async fn a_caller_that_waits_is_told_to_continue_when_the_body_is_read() {
    let (mut caller, serving) = served(&Drain::new(), tell).await;
    for _ in 0..2 {
        caller.send(EXPECTING).await;
        assert_eq!(caller.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        caller.send("hello").await;
        assert_eq!(caller.message().await.1, "/a 5: hello");
    }
    // One that does not wait needs no word.
    caller.send(format!("{EXPECTING}hello")).await;
    assert_eq!(caller.message().await.1, "/a 5: hello");
    drop(caller);
    closed(serving).await;
}

#[tokio::test]
async fn a_caller_that_waits_and_is_refused_is_not_told_to_continue() {
    let answers = answers(EXPECTING, async |_| status(403)).await;
    assert_eq!(statuses(&answers), ["403"]);
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
}

#[tokio::test]
async fn a_callers_old_version_means_no_interim_answer() {
    let (mut caller, serving) = served(&Drain::new(), tell).await;
    caller.send("POST /a HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhel").await;
    tokio::task::yield_now().await;
    caller.send("lo").await;
    assert!(caller.head().await.starts_with("HTTP/1.0 200"));
    drop(caller);
    closed(serving).await;
}

#[tokio::test]
async fn a_small_body_that_nobody_wanted_does_not_end_the_connection() {
    for body in ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n"]
    {
        let sent = format!("POST / HTTP/1.1\r\nhost: a\r\n{body}{LAST}");
        assert_eq!(statuses(&answers(&sent, async |_| status(403)).await), ["403", "403"]);
    }
}

#[tokio::test]
async fn a_large_body_that_nobody_wanted_ends_the_connection_and_the_caller_knows() {
    let (mut caller, serving) = served(&Drain::new(), async |_| Response::new(Body::full("x".repeat(50_000)))).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n").await;
    caller.send("y".repeat(100_000)).await;
    let (head, body) = caller.message().await;
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(body.len(), 50_000);
    caller.send("y".repeat(100_000)).await;
    assert_eq!(caller.fill().await, 0);
    drop(caller);
    assert_eq!(closed(serving).await, None);
}

#[tokio::test]
async fn a_malformed_body_that_nobody_wanted_is_counted() {
    let (mut caller, serving) = served(&Drain::new(), async |_| status(200)).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n").await;
    assert_eq!(statuses(&caller.rest().await), ["200"]);
    assert_eq!(closed(serving).await, Some(Refusal::Chunk));
}

/// Says when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().map(|told| told.send(()));
    }
}

/// A handler that says that it has begun, waits forever, and says that it is dropped. What it does with the body is
/// `read`'s business.
fn waits<R>(
    read: impl Fn(Body) -> R + Send + Sync + 'static,
) -> (impl Fn(Request<Body>) -> Answering, Arc<Notify>, oneshot::Receiver<()>)
where
    R: Future<Output = ()> + Send + 'static,
{
    let (begun, (dropped, is_dropped)) = (Arc::new(Notify::new()), oneshot::channel());
    let (told, dropped) = (begun.clone(), Mutex::new(Some(dropped)));
    let handle = move |request: Request<Body>| {
        let (told, dropped) = (told.clone(), Dropped(dropped.lock().unwrap().take()));
        let reading = read(request.into_body());
        Box::pin(async move {
            let _dropped = dropped;
            reading.await;
            told.notify_one();
            std::future::pending().await
        }) as Answering
    };
    (handle, begun, is_dropped)
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_caller_goes() {
    let (handle, begun, dropped) = waits(async |_| ());
    let (mut caller, serving) = served(&Drain::new(), handle).await;
    caller.send(GET).await;
    within(begun.notified()).await;
    drop(caller);
    within(dropped).await.unwrap();
    closed(serving).await;
}

/// As a request's body goes to an HTTP/2 connection.
#[tokio::test]
async fn a_handler_is_dropped_when_its_caller_goes_after_another_task_has_read_the_body() {
    let (handle, begun, dropped) = waits(async |body| {
        tokio::spawn(async move { assert_eq!(read(body).await.0, "hello") });
    });
    let (mut caller, serving) = served(&Drain::new(), handle).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").await;
    within(begun.notified()).await;
    caller.send("llo").await;
    drop(caller);
    within(dropped).await.unwrap();
    closed(serving).await;
}

#[tokio::test]
async fn who_still_reads_the_body_learns_that_the_request_is_over() {
    let (result, read_to) = oneshot::channel();
    let result = Mutex::new(Some(result));
    let (mut caller, serving) = served(&Drain::new(), move |request: Request<Body>| {
        let result = result.lock().unwrap().take().unwrap();
        let begun = Arc::new(Notify::new());
        let told = begun.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            let first = body.frame().await.is_some_and(|frame| frame.is_ok());
            let mut next = std::pin::pin!(body.frame());
            assert!(poll_once(next.as_mut()).is_pending());
            told.notify_one();
            let _ = result.send((first, next.await));
        });
        async move {
            begun.notified().await;
            status(403)
        }
    })
    .await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").await;
    assert_eq!(statuses(&caller.rest().await), ["403"]);
    let (first, next) = within(read_to).await.unwrap();
    assert!(first && matches!(next, Some(Err(_))), "a body that was cut must not look complete");
    closed(serving).await;
}

/// The rest of the body is here, and the server skips it: who reads it later must not take that for the end.
#[tokio::test]
async fn a_body_that_was_skipped_does_not_look_complete() {
    let (body, kept) = oneshot::channel();
    let body = Mutex::new(Some(body));
    let (mut caller, serving) = served(&Drain::new(), move |request: Request<Body>| {
        if let Some(body) = body.lock().unwrap().take() {
            let _ = body.send(request.into_body());
        }
        async { status(200) }
    })
    .await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    caller.message().await;
    let (data, _, broke_off) = read(within(kept).await.unwrap()).await;
    assert!(data.is_empty() && broke_off);
    caller.send(LAST).await;
    assert_eq!(statuses(&caller.rest().await), ["200"]);
    closed(serving).await;
}

#[tokio::test]
async fn bodies_are_streamed_back_while_they_come_in() {
    let (mut caller, serving) = served(&Drain::new(), echo).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(caller.head().await.contains("\r\ntransfer-encoding: chunked\r\n"));
    for _ in 0..3 {
        caller.send("2\r\nhi\r\n").await;
        assert_eq!(caller.take(7).await, "2\r\nhi\r\n");
    }
    caller.send("0\r\nsum: 6\r\nconnection: close\r\nhost: b\r\n\r\n").await;
    assert_eq!(caller.until("\r\n\r\n").await, "0\r\nsum: 6\r\n\r\n");

    let length = 3 << 20;
    caller.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    assert!(caller.head().await.contains(&format!("\r\ncontent-length: {length}\r\n")));
    let sent: Vec<u8> = (0..length).map(|n: usize| (n / 7) as u8).collect();
    let (mut reading, mut writing) = caller.stream.split();
    let mut received = std::mem::take(&mut caller.read);
    let receive = async {
        while received.len() < length {
            assert_ne!(reading.read_buf(&mut received).await.unwrap(), 0);
        }
    };
    within(async { tokio::join!(receive, async { writing.write_all(&sent).await.unwrap() }) }).await;
    assert!(received == sent);
    caller.send(LAST).await;
    assert_eq!(statuses(&caller.rest().await), ["200"]);
    assert_eq!(closed(serving).await, None);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let (mut caller, serving) = served(&Drain::new(), echo).await;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    caller.head().await;
    assert_eq!(caller.take(7).await, "2\r\nhi\r\n");
    caller.send("x\r\n").await;
    assert_eq!(caller.rest().await, "", "not even the last chunk");
    assert_eq!(closed(serving).await, Some(Refusal::Chunk));
}

/// A caller that knows no chunks has only the end of the connection to go by.
#[tokio::test]
async fn an_answer_without_a_length_that_breaks_off_ends_in_a_reset() {
    let broken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n";
    let (mut caller, serving) = served(&Drain::new(), relay(broken).await).await;
    caller.send("GET / HTTP/1.0\r\n\r\n").await;
    let end = within(async {
        loop {
            match caller.stream.read_buf(&mut caller.read).await {
                Ok(1..) => {}
                Ok(0) => return None,
                Err(error) => return Some(error.kind()),
            }
        }
    });
    assert_eq!(end.await, Some(std::io::ErrorKind::ConnectionReset));
    closed(serving).await;
}

#[tokio::test]
async fn an_answer_is_held_to_the_length_that_it_says() {
    for (said, sent) in [("5", "too long"), ("50", "too short")] {
        let answer =
            move |_| async move { Response::builder().header("content-length", said).body(Body::full(sent)).unwrap() };
        let answers = answers(&GET.repeat(2), answer).await;
        assert!(answers.len() < 300 && !answers.contains("too long"), "the connection ends there: {answers}");
        assert!(statuses(&answers).len() < 2, "{answers}");
    }
}

/// The caller reads nothing at first: a body without an end fills the connection, and no more.
#[tokio::test]
async fn an_endless_answer_ends_when_the_caller_goes() {
    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callee = super::client::Callee::at(endless.local_addr().unwrap());
    let gone = tokio::spawn(async move {
        let mut peer = Peer::new(endless.accept().await.unwrap().0);
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while peer.stream.write_all(b"5\r\nhello\r\n").await.is_ok() {}
    });
    let (mut caller, serving) = served(&Drain::new(), move |request| {
        let callee = callee.clone();
        async move { callee.send(request).await.unwrap() }
    })
    .await;
    caller.send(GET).await;
    caller.head().await;
    drop(caller);
    within(gone).await.unwrap();
    closed(serving).await;
}

#[tokio::test]
async fn a_drain_ends_an_idle_connection() {
    let drain = Drain::new();
    let (mut caller, serving) = served(&drain, tell).await;
    caller.send(GET).await;
    caller.message().await;
    drain.begin();
    assert_eq!(caller.rest().await, "");
    assert_eq!(closed(serving).await, None);
}

#[tokio::test]
async fn a_drain_lets_a_request_finish_and_says_that_it_was_the_last() {
    let (drain, begun, go_on) = (Drain::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, waited) = (begun.clone(), go_on.clone());
    let (mut caller, serving) = served(&drain, move |_| {
        let (told, waited) = (told.clone(), waited.clone());
        async move {
            told.notify_one();
            waited.notified().await;
            Response::new(Body::full("done"))
        }
    })
    .await;
    caller.send(GET).await;
    within(begun.notified()).await;
    drain.begin();
    go_on.notify_one();
    let answer = caller.rest().await;
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("done"), "{answer}");
    closed(serving).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_limit() {
    let limit = Duration::from_millis(100);
    for sent in ["", "\r\n"] {
        let (mut caller, connection) = pair().await;
        let begun = std::time::Instant::now();
        let serving = tokio::spawn(async move {
            let handler = Arc::new(Answers(tell));
            serve(connection, Limits { idle: limit, ..LIMITS }, &handler, &Drain::new()).await
        });
        caller.send(sent).await;
        assert_eq!(caller.fill().await, 0);
        assert!(begun.elapsed() >= limit);
        assert_eq!(closed(serving).await, None);
    }
}

/// A request may take longer than its connection may be idle, which counts from its end.
#[tokio::test]
async fn a_connection_is_not_idle_while_it_is_used() {
    let limit = Duration::from_millis(100);
    let (mut caller, connection) = pair().await;
    let serving = tokio::spawn(async move {
        let handler = Arc::new(Answers(move |_| async move {
            tokio::time::sleep(2 * limit).await;
            Response::new(Body::full("slow"))
        }));
        serve(connection, Limits { idle: limit, ..LIMITS }, &handler, &Drain::new()).await
    });
    let begun = std::time::Instant::now();
    caller.send(GET).await;
    assert_eq!(caller.message().await.1, "slow");
    assert_eq!(caller.fill().await, 0);
    assert!(begun.elapsed() >= 3 * limit);
    assert_eq!(closed(serving).await, None);
}

/// The two ends of an upgraded connection, after `early` was sent behind the request.
async fn upgraded(request: &str) -> (Peer, Connection, String) {
    let (connection, upgraded) = oneshot::channel();
    let connection = Arc::new(Mutex::new(Some(connection)));
    let (mut caller, serving) = served(&Drain::new(), move |mut request: Request<Body>| {
        let granted = upgrade::on(&mut request);
        let connection = connection.lock().unwrap().take().unwrap();
        tokio::spawn(async move { connection.send(granted.connection().await.unwrap()).ok() });
        let is_connect = request.method() == http::Method::CONNECT;
        let status = if is_connect { 200 } else { 101 };
        let answer = Response::builder().status(status).header("connection", "upgrade").body(Body::empty()).unwrap();
        async { answer }
    })
    .await;
    caller.send(request).await;
    let head = caller.head().await;
    closed(serving).await;
    (caller, within(upgraded).await.unwrap(), head)
}

const BYTES: &str = "\x16\x03\r\x01 \r\n\r\n folded\r\nContent-Length: x\r\n\0";

#[tokio::test]
async fn what_follows_an_upgrade_or_connect_is_not_looked_at() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "HTTP/1.1 101 "),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let (mut caller, connection, head) = upgraded(&format!("{request}{BYTES}")).await;
        assert!(head.starts_with(status), "{head}");
        assert!(!head.contains("content-length") && !head.contains("chunked"), "{head}");
        caller.send(BYTES).await;
        let (mut io, early) = connection.into_parts();
        let mut received = early.to_vec();
        while received.len() < 2 * BYTES.len() {
            assert_ne!(within(io.read_buf(&mut received)).await.unwrap(), 0);
        }
        assert_eq!(String::from_utf8_lossy(&received), BYTES.repeat(2));
        within(io.write_all(b"from us")).await.unwrap();
        assert_eq!(caller.take(7).await, "from us");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_goes_on_as_http() {
    let upgrade = "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(statuses(&answers(&format!("{upgrade}{LAST}"), tell).await), ["200", "200"]);
    let connect = "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n";
    let refused = answers(&format!("{connect}{LAST}"), async |_| status(405)).await;
    assert_eq!(statuses(&refused), ["405"], "what follows is for nobody");
}

/// One task reads the body while the server writes the answer, for which it has to wait: both must go on.
#[tokio::test]
async fn a_body_that_another_task_reads_does_not_stall_the_answer() {
    const PIECES: usize = 200;
    let length = 2 << 20;
    let (callee, listener) = super::client::callee().await;
    tokio::spawn(async move {
        let mut peer = super::client::accept(&listener).await;
        peer.head().await;
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length))).await;
    });
    let (counting, mut counted) = tokio::sync::mpsc::unbounded_channel();
    let (mut caller, serving) = served(&Drain::new(), move |request: Request<Body>| {
        let (callee, counting, mut body) = (callee.clone(), counting.clone(), request.into_body());
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                counting.send(frame.into_data().unwrap().len()).unwrap();
            }
        });
        async move { callee.get().await.unwrap() }
    })
    .await;
    caller.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", PIECES + 1)).await;
    caller.head().await;
    for _ in 0..PIECES {
        caller.send("y").await;
        assert_eq!(within(counted.recv()).await, Some(1));
    }
    caller.take(length).await;
    drop(caller);
    closed(serving).await;
}

/// Nothing is written that could fail.
#[tokio::test]
async fn a_quiet_answer_ends_when_the_caller_goes() {
    let (callee, listener) = super::client::callee().await;
    let gone = tokio::spawn(async move {
        let mut peer = super::client::accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        peer.rest().await
    });
    let (mut caller, serving) = served(&Drain::new(), move |_| {
        let callee = callee.clone();
        async move { callee.get().await.unwrap() }
    })
    .await;
    caller.send(GET).await;
    caller.until("hello").await;
    drop(caller);
    assert_eq!(within(gone).await.unwrap(), "");
    closed(serving).await;
}

/// Somebody keeps the body, which knows the connection.
#[tokio::test]
async fn a_connection_does_not_outlive_its_service() {
    let (body, kept) = tokio::sync::mpsc::unbounded_channel();
    let (mut caller, serving) = served(&Drain::new(), move |request: Request<Body>| {
        let body = body.clone();
        async move {
            let mut read = request.into_body();
            read.frame().await;
            body.send(read).unwrap();
            std::future::pending().await
        }
    })
    .await;
    let mut kept = kept;
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    let _body = within(kept.recv()).await.unwrap();
    caller.stream.shutdown().await.unwrap();
    assert_eq!(caller.rest().await, "");
    closed(serving).await;
}
