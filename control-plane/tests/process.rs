//! The binary as a process: its ready line, its folder, its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod harness;
#[path = "harness/process.rs"]
mod process;

use std::os::unix::fs::PermissionsExt;

use harness::{DEADLINE, apply_service};
use hyper::Method;
use process::Process;
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn it_creates_what_is_missing_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data).await;
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("ca")), (0o700, 0o700));
    assert_eq!((mode("admin.yaml"), mode("weft.redb"), mode("ca/root.key")), (0o600, 0o600, 0o600));
    drop(process);
}

#[tokio::test]
async fn it_stops_in_order_on_sigterm_and_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let Process { mut child, admin } = Process::start(&folder.path().join("data")).await;
        admin.send(Method::POST, "/v1/apply", apply_service("orders", "10.0.0.1:80")).await.unwrap();
        kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), signal).unwrap();
        let status = tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        let again = Process::start(&folder.path().join("data")).await;
        assert_eq!(again.admin.get("/v1/history").await.1.as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_credentials_stay_over_a_restart_while_the_ports_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path()).await;
    let (token, anchor) = (first.admin.credentials.token.clone(), first.admin.credentials.trust_anchor.clone());
    let Process { mut child, .. } = first;
    child.kill().await.unwrap();
    let second = Process::start(folder.path()).await;
    assert_eq!(second.admin.credentials.token, token);
    assert_eq!(second.admin.credentials.trust_anchor, anchor);
    assert_eq!(second.admin.get("/v1/status").await.0, 200);
}
