//! Weighted splits: as the weights say, the same user always the same, and a change moves no more than it must.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_tests::{
    Connection, ControlPlane, Sidecar, Workload, binomial_interval, open_tunnel, request, split, versions,
};

const REQUESTS: u64 = 2000;

struct Mesh {
    control_plane: ControlPlane,
    v1: Workload,
    v2: Workload,
    caller: Sidecar,
}

async fn mesh() -> Mesh {
    let control_plane = ControlPlane::start().await;
    let v1 = Workload::start(&control_plane, "orders", "v1").await;
    let v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    let rules = format!("{}---\n{}", versions("orders"), split("orders", 90, 10));
    control_plane.apply(&rules).await;
    Mesh { control_plane, v1, v2, caller }
}

impl Mesh {
    /// Which version answers each user.
    async fn who_answers(&self, users: u64) -> BTreeMap<u64, String> {
        let mut connection = Connection::open(self.caller.outbound()).await.unwrap();
        let mut answers = BTreeMap::new();
        for user in 0..users {
            let asked = request("http://orders/").header("x-user", format!("user-{user}"));
            let answer = connection.send(asked).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            answers.insert(user, answer.text());
        }
        answers
    }
}

#[tokio::test]
async fn the_split_is_that_of_the_weights() {
    let mesh = mesh().await;
    let answers = mesh.who_answers(REQUESTS).await;
    let v2 = answers.values().filter(|version| *version == "v2").count() as u64;
    let expected = binomial_interval(REQUESTS, 0.1);
    assert!(expected.contains(&v2), "{v2} of {REQUESTS} requests went to v2, expected {expected:?}");
    assert_eq!((mesh.v1.app.answered(), mesh.v2.app.answered()), (REQUESTS - v2, v2));

    mesh.control_plane.apply(&split("orders", 0, 1)).await;
    let answers = mesh.who_answers(100).await;
    assert!(answers.values().all(|version| version == "v2"), "a weight of 0 gets nothing");
}

/// A `TCPRoute` knows nothing of what is inside: here HTTP, which tells who answers.
#[tokio::test]
async fn connections_are_split_whatever_they_carry() {
    let mesh = mesh().await;
    let route =
        |v1, v2| split("orders", v1, v2).replace("HTTPRoute", "TCPRoute").replace("k8s.io/v1\n", "k8s.io/v1alpha2\n");
    // Where there is a route for requests, that decides.
    let warned = mesh.control_plane.weft_with_input(&["apply", "-f", "-"], &route(90, 10)).await;
    assert!(warned.stderr.contains("HTTPRoute default/orders is attached"), "{warned:?}");
    mesh.control_plane.weft(&["delete", "httproute", "orders"]).await.expect_ok();
    mesh.control_plane.settled().await;
    let v2 = async |connections: u64| {
        let mut v2 = 0;
        for _ in 0..connections {
            let mut tunnel = open_tunnel(mesh.caller.outbound(), "orders:80").await;
            tunnel.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            tunnel.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("weft-server-id"), "{answer}");
            v2 += u64::from(answer.ends_with("v2"));
        }
        v2
    };
    let seen = v2(200).await;
    let expected = binomial_interval(200, 0.1);
    assert!(expected.contains(&seen), "{seen} of 200 connections went to v2, expected {expected:?}");
    mesh.control_plane.apply(&route(0, 1)).await;
    assert_eq!(v2(20).await, 20, "a weight of 0 gets nothing");
    // Whoever knows of the sidecar may ask it for requests all the same.
    assert!(mesh.who_answers(20).await.values().all(|version| version == "v2"));
}

#[tokio::test]
async fn users_stay_and_only_the_moved_share_moves() {
    let mesh = mesh().await;
    let sticky = "apiVersion: weft.dev/v1alpha1\n\
        kind: TrafficPolicy\n\
        metadata: {name: orders-sticky}\n\
        spec: {targetRef: {kind: HTTPRoute, name: orders}, stickySplit: {header: x-user}}\n";
    mesh.control_plane.apply(sticky).await;
    let before = mesh.who_answers(REQUESTS).await;
    assert_eq!(mesh.who_answers(REQUESTS).await, before, "each user meets the version of the first time");
    let v2 = before.values().filter(|version| *version == "v2").count() as u64;
    assert!(binomial_interval(REQUESTS, 0.1).contains(&v2), "{v2} of {REQUESTS}");

    mesh.control_plane.apply(&split("orders", 70, 30)).await;
    let after = mesh.who_answers(REQUESTS).await;
    let moved: Vec<_> = before.iter().filter(|(user, version)| after[user] != **version).collect();
    assert!(moved.iter().all(|(_, version)| *version == "v1"), "nobody goes back from v2 to v1");
    let expected = binomial_interval(REQUESTS, 0.2);
    assert!(
        expected.contains(&(moved.len() as u64)),
        "{} of {REQUESTS} users moved, expected {expected:?}",
        moved.len()
    );
}

#[tokio::test]
async fn a_sidecar_that_comes_later_agrees_on_who_is_who() {
    let mut mesh = mesh().await;
    let sticky = "apiVersion: weft.dev/v1alpha1\n\
        kind: TrafficPolicy\n\
        metadata: {name: orders-sticky}\n\
        spec: {targetRef: {kind: HTTPRoute, name: orders}, stickySplit: {header: x-user}}\n";
    mesh.control_plane.apply(sticky).await;
    let first = mesh.who_answers(200).await;
    mesh.caller = mesh.control_plane.sidecar("other").start().await;
    assert_eq!(mesh.who_answers(200).await, first);
}
