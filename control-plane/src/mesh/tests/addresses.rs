//! Virtual addresses: given before they are told, kept over a restart, taken back when the service is gone.

use std::{net::IpAddr, path::Path};

use weft_proxy_api::ServiceName;

use super::*;

/// Two names whose hashes want one place: who came first can only be known from the disk.
const COLLIDING: [&str; 2] = ["s16823", "s17837"];

fn addresses(mesh: &Mesh, service: &str) -> Vec<IpAddr> {
    mesh.published().snapshot.host(&ServiceName::new("shop", service)).addresses
}

/// A mesh of what is on the disk now: all that one leaves which is killed.
async fn restarted(folder: &Path) -> (tempfile::TempDir, Mesh) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("weft.redb"), copy.path().join("weft.redb")).unwrap();
    let mesh = Mesh::start(parts(&copy)).await.unwrap();
    (copy, mesh)
}

async fn delete(mesh: &Mesh, service: &str) {
    let keys = vec![Key::new(crate::resources::Kind::MeshService, "shop", service)];
    let request = DeleteRequest { keys, dry_run: false, author: "ada".into(), message: String::new() };
    mesh.delete(request, Timestamp::UNIX_EPOCH).await.unwrap();
}

#[tokio::test]
async fn a_service_keeps_its_address_over_restarts_and_whatever_else_comes_and_goes() {
    let (folder, mesh) = mesh().await;
    let [early, late] = COLLIDING;
    apply(&mesh, vec![service(late, "10.0.0.1:80")]).await.unwrap();
    apply(&mesh, vec![service(early, "10.0.0.1:80")]).await.unwrap();
    let (first, second) = (addresses(&mesh, late), addresses(&mesh, early));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(first.iter().all(|address| !second.contains(address)));

    let (folder, mesh) = restarted(folder.path()).await;
    assert_eq!((addresses(&mesh, late), addresses(&mesh, early)), (first.clone(), second.clone()));

    delete(&mesh, late).await;
    assert_eq!((addresses(&mesh, late), addresses(&mesh, early)), (vec![], second.clone()), "it does not move up");
    let (_folder, mesh) = restarted(folder.path()).await;
    assert_eq!(addresses(&mesh, early), second);
    apply(&mesh, vec![service(late, "10.0.0.1:80")]).await.unwrap();
    assert_eq!(addresses(&mesh, late), first, "its place was free");
}

#[tokio::test]
async fn a_service_that_workloads_imply_has_an_address_while_there_are_some() {
    let (folder, mesh) = mesh().await;
    mesh.register("w1", 1, registration(1)).await.unwrap();
    let given = addresses(&mesh, "cart");
    assert_eq!(given.len(), 2);
    mesh.register("w2", 2, registration(2)).await.unwrap();
    mesh.leave("w1", 1).await.unwrap();
    assert_eq!(addresses(&mesh, "cart"), given);
    mesh.register("w2", 2, Registration { service: "web".into(), ..registration(2) }).await.unwrap();
    assert!(addresses(&mesh, "cart").is_empty());
    assert_eq!(addresses(&mesh, "web").len(), 2);

    // A MeshService takes the name over, and the workload leaves: the service was there all the time.
    let web = addresses(&mesh, "web");
    apply(&mesh, vec![service("web", "10.0.0.1:80")]).await.unwrap();
    mesh.leave("w2", 2).await.unwrap();
    assert_eq!(addresses(&mesh, "web"), web);
    let (_folder, mesh) = restarted(folder.path()).await;
    assert_eq!(addresses(&mesh, "web"), web);
}

/// The lease of the workload before outlives a restart, and so does who came later.
#[tokio::test]
async fn who_has_an_address_now_is_known_after_a_restart() {
    let (folder, mesh) = mesh().await;
    for (id, holder) in [("z", 1), ("a", 2)] {
        mesh.register(id, holder, registration(1)).await.unwrap();
    }
    let holder = |mesh: &Mesh| match mesh.published().snapshot.address("127.0.0.1:1".parse().unwrap()).leads {
        weft_proxy_api::Leads::Member { endpoint, .. } => endpoint.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(holder(&mesh), "a");
    mesh.register("z", 1, registration(2)).await.unwrap();
    mesh.register("z", 1, registration(1)).await.unwrap();
    assert_eq!(holder(&mesh), "z");
    let (_folder, mesh) = restarted(folder.path()).await;
    assert_eq!(holder(&mesh), "z");
}
