//! A call that may not be done twice is not: whatever breaks, no application gets a `POST` without an `Idempotency-Key` a
//! second time.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, header};
use tokio::sync::watch;
use weft_tests::{CALL_ID, ControlPlane, calls, request};

use super::{URL, processes::AppProcess, shown};

const POSTS: u64 = 10_000;
const CLIENTS: usize = 16;
/// A quarter of all requests meets one of these, in turns.
const FAULTS: [&str; 8] =
    ["4", "reset-before", "reset-in-head", "unavailable", "close-after", "reset-in-body", "close-write", "truncate"];

#[tokio::test]
async fn a_post_without_an_idempotency_key_is_never_sent_twice() {
    let control_plane = ControlPlane::start().await;
    let (mut apps, mut sidecars) = (Vec::new(), Vec::new());
    for name in ["first", "second", "third"] {
        let app = AppProcess::start(control_plane.folder(), name, &FAULTS).await;
        sidecars.push(control_plane.sidecar("orders").serves(app.address()).start().await);
        apps.push(app);
    }
    let caller = control_plane.sidecar("caller").start().await;

    let (begun, mut under_way) = watch::channel(0);
    let load = calls(caller.outbound(), POSTS, CLIENTS, move |number| {
        begun.send_replace(number);
        let post = request(URL).method(Method::POST).header(CALL_ID, number);
        // With a body and without: what has none could be sent again without having been kept.
        let body = if number.is_multiple_of(2) { Bytes::from(format!("call {number}")) } else { Bytes::new() };
        (post.header(header::CONTENT_TYPE, "text/plain"), body)
    });
    let killing = async {
        for turn in 1..=8 {
            under_way.wait_for(|number| *number >= POSTS * turn / 9).await.unwrap();
            // What a killed sidecar has passed on is with its application: nobody can know.
            if turn % 2 == 0 {
                let sidecar = sidecars.remove(0).restart().await;
                sidecars.push(sidecar);
            } else {
                apps[turn as usize / 2 % 3].replace(control_plane.folder()).await;
            }
        }
    };
    let (seen, ()) = tokio::join!(load, killing);
    let seen = shown("POST, with all of these and kill -9 of both", seen);

    let mut times: HashMap<String, u32> = HashMap::new();
    for id in apps.iter().flat_map(|app| app.calls(control_plane.folder())) {
        *times.entry(id).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{} calls came more than once: {twice:?}", twice.len());
    let arrived = times.len() as u64;
    assert!(arrived >= POSTS / 2 && seen.status(200) <= arrived && seen.failed() > POSTS / 10, "{arrived}: {seen:#?}");
}
