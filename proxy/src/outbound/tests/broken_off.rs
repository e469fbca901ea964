//! Answers whose head is good, and whose body is not.

use weft_proxy_api::policy::CircuitBreaker;

use super::*;

/// More than is said.
const CUT: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");

/// Two failures in a row open the circuit.
async fn mesh(app: &App) -> Mesh {
    Mesh::with(&[app], |service| {
        service.backends[0].circuit_breaker =
            CircuitBreaker { consecutive_failures: Some(2), ..CircuitBreaker::default() };
    })
}

/// The connection is closed after the answer.
fn last() -> Request<Body> {
    let mut request = request(Method::GET, Body::empty());
    request.headers_mut().insert("x-early", "1".parse().unwrap());
    request
}

#[tokio::test]
async fn they_count_against_the_backend() {
    let app = App::start(|_, _| CUT).await;
    let mesh = mesh(&app).await;
    for _ in 0..2 {
        let answer = mesh.send(last()).await;
        assert_eq!((answer.status, answer.body), (200, None));
    }
    let answer = mesh.send(last()).await;
    assert_eq!((answer.status, app.count()), (503, 2), "{answer:?}");
}

#[tokio::test]
async fn a_caller_that_has_seen_enough_is_no_failure() {
    let app = App::start(|_, _| Act::SayAndHold("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")).await;
    let mesh = mesh(&app).await;
    let connection = Arc::new(Connection::new(mesh.cx.clone(), Aim::Named, Ipv4Addr::LOCALHOST.into()));
    for count in 1..=4 {
        let response = connection.clone().handle(request(Method::GET, Body::empty())).await;
        assert_eq!((response.status().as_u16(), app.count()), (200, count));
    }
}
