//! Against applications of real sockets: what each check asks, and the cause that people read.

use std::time::Duration;

use ::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;

use super::*;

/// No test waits for so long.
const PATIENT: Duration = Duration::from_secs(30);

fn check(kind: CheckKind, timeout: Duration) -> HealthCheck {
    HealthCheck {
        port: 1,
        traffic_port: None,
        kind,
        interval: timeout,
        timeout,
        healthy_threshold: 1,
        unhealthy_threshold: 1,
    }
}

fn http(path: &str, host: Option<&str>, statuses: &[u16]) -> CheckKind {
    CheckKind::Http {
        path: path.into(),
        host: host.map(str::to_owned),
        statuses: statuses.iter().map(|status| StatusCode::from_u16(*status).unwrap()).collect(),
    }
}

fn grpc(service: &str) -> CheckKind {
    CheckKind::Grpc { service: service.into() }
}

/// Answers each connection with these bytes; what it was asked comes through the channel.
async fn canned(answer: &'static [u8]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (heard, asked) = mpsc::unbounded_channel();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heard.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer).await.unwrap();
        }
    });
    (at, asked)
}

/// The failure with the address taken out, which is another one each time.
async fn outcome(at: SocketAddr, kind: CheckKind, timeout: Duration) -> Result<(), (String, bool)> {
    let outcome = probe(at, &check(kind, timeout)).await;
    outcome.map_err(|failure| (failure.cause.replace(&at.to_string(), "APP"), failure.is_connected))
}

#[tokio::test]
async fn an_application_that_nobody_can_connect_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    assert_eq!(outcome(at, CheckKind::Tcp, PATIENT).await, Ok(()));
    drop(listener);
    for kind in [CheckKind::Tcp, http("/", None, &[]), grpc("")] {
        let refused = Err(("APP refused the connection".to_owned(), false));
        assert_eq!(outcome(at, kind, PATIENT).await, refused);
    }
}

#[tokio::test]
async fn the_status_decides() {
    let unavailable = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
    let found = b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
    let no_content = b"HTTP/1.1 204 No Content\r\n\r\n";
    let answered = |status: u16| Err((format!("GET /healthz answered {status}"), true));
    for (answer, statuses, expected) in [
        (&unavailable[..], &[][..], answered(503)),
        (unavailable, &[503], Ok(())),
        (found, &[], answered(302)),
        (no_content, &[], Ok(())),
        (no_content, &[200, 302], answered(204)),
        (found, &[200, 302], Ok(())),
    ] {
        let (at, _asked) = canned(answer).await;
        assert_eq!(outcome(at, http("/healthz", None, statuses), PATIENT).await, expected);
    }
}

#[tokio::test]
async fn what_it_asks() {
    let (at, mut asked) = canned(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    outcome(at, http("/up?deep=1", Some("orders.internal"), &[]), PATIENT).await.unwrap();
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /up?deep=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: orders.internal\r\n") && request.contains("user-agent: weft-health"), "{request}");
    outcome(at, http("/", None, &[]), PATIENT).await.unwrap();
    assert!(asked.recv().await.unwrap().contains(&format!("host: {at}\r\n")));
}

#[tokio::test]
async fn no_answer_and_no_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let short = Duration::from_millis(300);
    let cause = |what: &str| Err((format!("{what} did not answer within 300ms"), true));
    assert_eq!(outcome(silent, http("/a", None, &[]), short).await, cause("GET /a"));
    assert_eq!(outcome(silent, grpc(""), short).await, cause("Health/Check"));

    let (at, _asked) = canned(b"SSH-2.0-OpenSSH\r\n\r\n").await;
    let (cause, is_connected) = outcome(at, http("/a", None, &[]), PATIENT).await.unwrap_err();
    assert!(cause.starts_with("GET /a got no answer: ") && is_connected, "{cause}");
    let (cause, is_connected) = outcome(at, http("not a path", None, &[]), PATIENT).await.unwrap_err();
    assert!(cause.starts_with("GET not a path cannot be asked for: ") && is_connected, "{cause}");
}

#[tokio::test]
async fn what_the_server_says_of_its_services() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("orders.v1.Orders", ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    assert_eq!(outcome(at, grpc(""), PATIENT).await, Ok(()));
    let not_serving = "Health/Check of \"orders.v1.Orders\" answered NOT_SERVING".to_owned();
    assert_eq!(outcome(at, grpc("orders.v1.Orders"), PATIENT).await, Err((not_serving, true)));
    let unknown = "Health/Check of \"other\" is not known there".to_owned();
    assert_eq!(outcome(at, grpc("other"), PATIENT).await, Err((unknown, true)));
    reporter.set_service_status("orders.v1.Orders", ServingStatus::Serving).await;
    assert_eq!(outcome(at, grpc("orders.v1.Orders"), PATIENT).await, Ok(()));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let empty = tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    tokio::spawn(empty.serve_with_incoming(TcpListenerStream::new(listener)));
    let (cause, _) = outcome(at, grpc(""), PATIENT).await.unwrap_err();
    assert!(cause.starts_with("Health/Check failed: "), "{cause}");
}
