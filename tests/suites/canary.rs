//! Weighted splits: as the weights say, the same user always the same, and a change moves no more than it must.

use std::collections::BTreeMap;

use weft_tests::{Connection, ControlPlane, Sidecar, Workload, binomial_interval, request, split, versions};

const REQUESTS: u64 = 800;

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
