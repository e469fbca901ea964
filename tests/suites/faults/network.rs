//! Connections that break, and answers that are not what they seem.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use weft_tests::{Fault, PATIENCE, Seen, Sidecar};

use super::{ATTEMPT_LIMIT, GETS, Mesh, REQUEST_LIMIT, UNTIL_EJECTED, gets, shown, timeouts};

#[tokio::test]
async fn one_application_of_three_breaks_connections() {
    let mesh = Mesh::start().await;
    let none_failed = |seen: Seen| assert_eq!(seen.status(200), GETS, "{seen:#?}");
    none_failed(shown("nothing", gets(&mesh.caller().await).await));
    // Nothing of an answer has come, and a GET may be done twice.
    for fault in [Fault::ResetBefore, Fault::CloseWrite, Fault::ResetInHead, Fault::Unavailable] {
        none_failed(mesh.while_one(fault).await);
    }
    // The answer is good, whatever becomes of the connection.
    for fault in [Fault::CloseAfter, Fault::CloseRead, Fault::Trickle] {
        none_failed(mesh.while_one(fault).await);
    }
    // The caller has the beginning of the answer already, and is not led to believe that it is all.
    for fault in [Fault::ResetInBody, Fault::Truncate] {
        let seen = mesh.while_one(fault).await;
        assert_eq!(seen.status(200) + seen.broken, GETS, "{seen:#?}");
        assert!(seen.broken > 0 && seen.broken <= UNTIL_EJECTED, "{seen:#?}");
    }
}

#[tokio::test]
async fn one_application_of_three_is_silent() {
    let mesh = Mesh::start().await;
    mesh.control_plane.apply(&timeouts(REQUEST_LIMIT)).await;
    let seen = mesh.while_one(Fault::Silence).await;
    assert_eq!(seen.status(200) + seen.status(504), GETS, "{seen:#?}");
    assert!(seen.failed() > 0 && seen.failed() <= UNTIL_EJECTED, "{seen:#?}");
    mesh.control_plane.apply(&timeouts(ATTEMPT_LIMIT)).await;
    let seen = mesh.while_one(Fault::Silence).await;
    assert_eq!(seen.status(200), GETS, "{seen:#?}");
}

#[tokio::test]
async fn a_caller_that_trickles_its_request_is_served_and_one_that_stops_is_answered() {
    let mesh = Mesh::start().await;
    let caller = mesh.caller().await;
    let head = "POST http://orders/ HTTP/1.1\r\nhost: orders\r\ncontent-length: 20\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(caller.outbound()).await.unwrap();
    for byte in format!("{head}{}", "x".repeat(20)).as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(answered(stream).await, Some(StatusCode::OK));

    mesh.control_plane.apply(&timeouts(REQUEST_LIMIT)).await;
    let mut stream = TcpStream::connect(caller.outbound()).await.unwrap();
    stream.write_all(format!("{head}half").as_bytes()).await.unwrap();
    assert_eq!(answered(stream).await, Some(StatusCode::GATEWAY_TIMEOUT));
    circuits_are_closed(&mesh, &caller).await;
}

async fn answered(mut stream: TcpStream) -> Option<StatusCode> {
    let mut answer = Vec::new();
    // It may be reset after the answer, whose request was not read to its end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it hangs");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok())
}

async fn circuits_are_closed(mesh: &Mesh, caller: &Sidecar) {
    let all = mesh.control_plane.json(&["circuits"]).await;
    let open = all.as_array().unwrap().iter().filter(|circuit| circuit["state"] != "closed").count();
    assert_eq!(open, 0, "{all}");
    let transitions =
        caller.metric(r#"weft_circuit_transitions_total{backend="default/orders:80",endpoint="",to="open"}"#);
    assert_eq!(transitions.await, 0.0);
}
