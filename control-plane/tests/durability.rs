//! `kill -9` at random moments during applies: whatever was acknowledged is there afterwards, in order, and services have the
//! addresses that were told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod harness;

#[path = "harness/process.rs"]
mod process;

use std::time::Duration;

use harness::{Admin, DEADLINE, apply_service};
use hyper::{Method, StatusCode};
use process::Process;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::Notify;

const KILLS: usize = 20;

/// Applies one after the other until the process dies; each acknowledged one is noted, and the first of them told.
async fn write_until_killed(admin: &Admin, next: &mut u32, acknowledged: &mut Vec<(u64, u32)>, first: &Notify) {
    let Ok(mut connection) = admin.connect().await else { return };
    loop {
        let value = *next;
        *next += 1;
        let request = apply_service(&format!("s{}", value % 3), &format!("10.0.0.1:{}", value + 1));
        let Ok((status, change)) = connection.send(Method::POST, "/v1/apply", request).await else { return };
        assert_eq!(status, StatusCode::OK, "{change}");
        acknowledged.push((change["revision"].as_u64().unwrap(), value));
        first.notify_one();
    }
}

#[tokio::test]
async fn no_acknowledged_revision_is_lost_under_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut next, mut acknowledged) = (0, Vec::new());
    for round in 0..KILLS {
        let Process { mut child, admin } = Process::start(&data_dir).await;
        check(&admin, &acknowledged, round).await;
        let (first, moment) = (Notify::new(), Duration::from_micros(random.random_range(0..40_000)));
        let writing = write_until_killed(&admin, &mut next, &mut acknowledged, &first);
        let killing = async {
            // Every other round dies early, during the first connection and write; the rest in the midst of writes.
            if round % 2 == 0 {
                first.notified().await;
            }
            tokio::time::sleep(moment).await;
            // SIGKILL: no handler of the process runs.
            child.start_kill().unwrap();
            child.wait().await.unwrap();
        };
        tokio::time::timeout(DEADLINE, async { tokio::join!(writing, killing) }).await.unwrap();
    }
    assert!(acknowledged.len() >= KILLS / 2, "{} applies were acknowledged", acknowledged.len());
    let process = Process::start(&data_dir).await;
    check(&process.admin, &acknowledged, KILLS).await;
    check_contents(&process.admin, &acknowledged).await;
}

/// Every acknowledged revision is in the history, without a gap below and in the order of the acknowledgements.
async fn check(admin: &Admin, acknowledged: &[(u64, u32)], round: usize) {
    let (status, history) = admin.get(&format!("/v1/history?limit={}", u32::MAX)).await;
    assert_eq!(status, StatusCode::OK);
    let mut revisions: Vec<u64> =
        history.as_array().unwrap().iter().map(|event| event["revision"].as_u64().unwrap()).collect();
    revisions.reverse();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>(), "round {round}: a gap");
    assert!(acknowledged.is_sorted_by(|a, b| a.0 < b.0), "round {round}: out of order");
    let newest = acknowledged.last().map_or(0, |(revision, _)| *revision);
    assert!(revisions.len() as u64 >= newest, "round {round}: revision {newest} was acknowledged and is gone");
}

/// What each revision wrote: its object's port says which apply it was.
async fn check_contents(admin: &Admin, acknowledged: &[(u64, u32)]) {
    let mut connection = admin.connect().await.unwrap();
    for (revision, value) in acknowledged {
        let path = format!("/v1/resources?revision={revision}");
        let (_, resources) = connection.send(Method::GET, &path, Value::Null).await.unwrap();
        let name = format!("s{}", value % 3);
        let item = resources["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == name.as_str());
        let address =
            &item.unwrap_or_else(|| panic!("revision {revision} lacks {name}"))["spec"]["static"][0]["address"];
        assert_eq!(*address, format!("10.0.0.1:{}", value + 1), "revision {revision}");
    }
}

/// Two names whose hashes want one place: which of them has it can only be known from the disk.
const COLLIDING: [&str; 2] = ["s17837", "s16823"];

#[tokio::test]
async fn virtual_addresses_are_the_same_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut told = Vec::new();
    let Process { mut child, admin } = Process::start(&data_dir).await;
    for name in COLLIDING {
        let request = apply_service(name, "10.0.0.1:80");
        let (status, change) = admin.send(Method::POST, "/v1/apply", request).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{change}");
        told.push(addresses(&admin, name).await);
    }
    assert_eq!(told[0].as_array().unwrap().len(), 2);
    assert_ne!(told[0], told[1]);
    child.start_kill().unwrap();
    child.wait().await.unwrap();

    let process = Process::start(&data_dir).await;
    for (name, told) in COLLIDING.into_iter().zip(told) {
        assert_eq!(addresses(&process.admin, name).await, told, "{name}");
    }
}

async fn addresses(admin: &Admin, service: &str) -> Value {
    admin.get(&format!("/v1/services/shop/{service}/routes")).await.1["addresses"].clone()
}
