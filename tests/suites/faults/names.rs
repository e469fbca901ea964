//! Names of hosts outside the mesh that stop resolving, and names of nothing.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use weft_tests::{ControlPlane, Faults, FaultyApp, NameServer, Seen, calls, eventually, get, request};

use super::{CLIENTS, shown};

const CALLS: u64 = 200;

fn outside(name: &str, host: &str, port: u16) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: MeshService\n\
         metadata: {{name: {name}}}\n\
         spec: {{dns: {{host: {host}, port: {port}}}}}\n"
    )
}

async fn all_of(caller: SocketAddr, url: &'static str) -> Seen {
    calls(caller, CALLS, CLIENTS, move |_| (request(url), Bytes::new())).await
}

#[tokio::test]
async fn a_name_that_does_not_resolve_any_more() {
    let mut names = NameServer::start(Some(Ipv4Addr::LOCALHOST)).await;
    let control_plane = ControlPlane::start_with(&["--dns-server", &names.address().to_string()]).await;
    let calls = control_plane.folder().path().join("calls");
    let app = FaultyApp::start("ledger", SocketAddr::from(([127, 0, 0, 1], 0)), &calls, Faults::none()).await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&outside("ledger", "ledger.example", app.address().port())).await;
    eventually("the name is resolved", async || match get(caller.outbound(), "http://ledger/").await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    })
    .await;
    names.set(None);
    names.asked_again(3).await;
    let seen = shown("a name that does not resolve any more", all_of(caller.outbound(), "http://ledger/").await);
    assert_eq!(seen.status(200), CALLS, "the last good answer stays: {seen:#?}");
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    let mut names = NameServer::start(None).await;
    let control_plane = ControlPlane::start_with(&["--dns-server", &names.address().to_string()]).await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&outside("ledger", "ledger.example", 80)).await;
    names.asked_again(1).await;
    let seen = shown("a name that has never resolved", all_of(caller.outbound(), "http://ledger/").await);
    assert_eq!(seen.status(503), CALLS, "{seen:#?}");
    assert!(seen.examples["503"].contains("default/ledger:80"), "{seen:#?}");
    let seen = shown("a service that does not exist", all_of(caller.outbound(), "http://ledgers/").await);
    assert_eq!(seen.status(502), CALLS, "{seen:#?}");
    assert!(seen.examples["502"].contains("did you mean default/ledger"), "{seen:#?}");
}
