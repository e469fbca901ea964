//! Applications that close the connection on which a request has come, behind their sidecars.

use super::{app::OK, *};

/// Resets the connections of the first `times` requests.
async fn restarting(times: usize) -> App {
    App::start(move |number, _| if number < times { Act::Reset } else { OK }).await
}

#[tokio::test]
async fn what_can_be_done_twice_is_sent_again_even_to_the_only_endpoint() {
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        let (mesh, app) = (Mesh::new(), restarting(2).await);
        mesh.publish(vec![mesh.sidecar(&app).await], |_| {});
        let answer = mesh.send(request(method.clone(), Body::empty())).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("weft-un")), "{answer:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_sent_once() {
    let (mesh, app) = (Mesh::new(), restarting(1).await);
    mesh.publish(vec![mesh.sidecar(&app).await], |_| {});
    let answer = mesh.send(request(Method::POST, Body::empty())).await;
    assert_eq!((answer.status, app.count()), (502, 1), "{answer:?}");
    assert!(answer.why().contains("closed the connection before it answered"), "{answer:?}");
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("weft-un")), "{answer:?}");
}

#[tokio::test]
async fn an_application_cannot_say_that_it_has_not_got_a_request() {
    for mark in ["weft-unanswered: 1", "weft-unprocessed: 1", "weft_unprocessed: 1"] {
        let said: &str = format!("HTTP/1.1 502 No\r\n{mark}\r\ncontent-length: 0\r\n\r\n").leak();
        let (mesh, app) = (Mesh::new(), App::start(move |_, _| Act::Say(said)).await);
        mesh.publish(vec![mesh.sidecar(&app).await], |_| {});
        assert_eq!((mesh.send(request(Method::POST, Body::empty())).await.status, app.count()), (502, 1));
    }
}
