mod addresses;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use weft_certs::Ca;
use weft_proxy_api::{Kind as WireKind, ServicePort};

use super::*;
use crate::snapshot::WorkloadPort;

const GRACE: Duration = Duration::from_secs(30);

fn parts(folder: &tempfile::TempDir) -> Parts {
    let ca = Ca::create("weft.local".parse().unwrap(), std::time::SystemTime::now()).unwrap();
    Parts {
        store: Arc::new(Store::open(&folder.path().join("weft.redb")).unwrap()),
        fleet: Arc::new(Fleet::new(GRACE)),
        metrics: Arc::new(Metrics::default()),
        trust_bundle: ca.trust_bundle(),
        endpoint_grace: GRACE,
        tasks: Tasks::default(),
    }
}

/// For the tests of what reads a mesh.
pub(crate) mod testing {
    use super::*;

    pub async fn mesh() -> (tempfile::TempDir, Mesh) {
        let folder = tempfile::tempdir().unwrap();
        let mesh = Mesh::start(parts(&folder)).await.unwrap();
        (folder, mesh)
    }
}
use testing::mesh;

fn service(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"static": [{"address": address}]},
    })
}

fn split(v1: u32, v2: u32) -> Value {
    let backend = |name: &str, weight: u32| json!({"group": "weft.dev", "kind": "MeshService", "name": name, "port": 80, "weight": weight});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"group": "weft.dev", "kind": "MeshService", "name": "orders"}],
            "rules": [{"backendRefs": [backend("orders-v1", v1), backend("orders-v2", v2)]}],
        },
    })
}

fn shop() -> Vec<Value> {
    ["orders", "orders-v1", "orders-v2"].iter().map(|name| service(name, "10.0.0.1:80")).collect()
}

fn request(documents: Vec<Value>) -> ApplyRequest {
    ApplyRequest {
        documents,
        namespace: "default".into(),
        dry_run: false,
        author: "ada".into(),
        message: String::new(),
    }
}

async fn apply(mesh: &Mesh, documents: Vec<Value>) -> Result<Change, MeshError> {
    mesh.apply(request(documents), Timestamp::UNIX_EPOCH).await
}

fn rollback(revision: Option<u64>) -> RollbackRequest {
    RollbackRequest { revision, dry_run: false, author: "ada".into(), message: String::new() }
}

fn registration(port: u16) -> Registration {
    Registration {
        identity: "spiffe://weft.local/ns/shop/sa/cart".parse().unwrap(),
        service: "cart".into(),
        ports: WorkloadPort { service_port: 80, address: ([127, 0, 0, 1], port).into(), serving: true }.into(),
        labels: Default::default(),
        zone: String::new(),
    }
}

fn cart_endpoints(published: &Published) -> usize {
    published.snapshot.endpoints(&ServicePort::new("shop", "cart", 80)).endpoints.len()
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_whose_snapshot_equals_the_old_byte_for_byte() {
    let (_folder, mesh) = mesh().await;
    apply(&mesh, shop()).await.unwrap();
    apply(&mesh, vec![split(100, 0)]).await.unwrap();
    let before = mesh.published().snapshot.encode();
    apply(&mesh, vec![split(90, 10)]).await.unwrap();
    assert_ne!(mesh.published().snapshot.encode(), before);

    let change = mesh.rollback(rollback(Some(2)), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(change.revision, 4);
    assert_eq!(mesh.published().revision, 4);
    assert_eq!(mesh.published().snapshot.encode(), before);

    mesh.rollback(rollback(None), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_ne!(mesh.published().snapshot.encode(), before, "the default is the revision before the current one");
}

#[tokio::test]
async fn a_restart_publishes_the_same_snapshot() {
    let (folder, mesh) = mesh().await;
    apply(&mesh, shop()).await.unwrap();
    apply(&mesh, vec![split(90, 10)]).await.unwrap();
    mesh.register("w1", 1, registration(1)).await.unwrap();
    let (before, revision) = (mesh.published().snapshot.encode(), mesh.published().revision);
    let copy = tempfile::tempdir().unwrap();
    // What is on the disk while the mesh still runs is all that a killed one leaves.
    std::fs::copy(folder.path().join("weft.redb"), copy.path().join("weft.redb")).unwrap();
    let again = Mesh::start(parts(&copy)).await.unwrap();
    assert_eq!(again.published().snapshot.encode(), before);
    assert_eq!(again.published().revision, revision);
}

#[tokio::test]
async fn an_apply_is_all_or_nothing_and_reports_every_problem() {
    let (_folder, mesh) = mesh().await;
    let Err(MeshError::Invalid(problems)) = apply(&mesh, vec![service("ok", "10.0.0.1:80"), split(90, 10)]).await
    else {
        panic!("orders, orders-v1 and orders-v2 do not exist")
    };
    assert!(problems.len() >= 3, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.document == Some(1)), "{problems:?}");
    assert_eq!(mesh.published().revision, 0);
    assert!(mesh.published().objects().is_empty());
}

#[tokio::test]
async fn a_dry_run_and_an_unchanged_apply_make_no_revision() {
    let (_folder, mesh) = mesh().await;
    let dry = ApplyRequest { dry_run: true, ..request(shop()) };
    let change = mesh.apply(dry, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!((change.revision, change.changes.len()), (0, 3));
    assert_eq!(mesh.published().revision, 0);

    apply(&mesh, shop()).await.unwrap();
    let again = apply(&mesh, shop()).await.unwrap();
    assert_eq!(again.revision, 1);
    assert!(again.changes.iter().all(|change| change.action == crate::admin_api::Action::Unchanged));
}

/// A route whose only workload has gone.
async fn broken_cart(mesh: &Mesh) -> Value {
    mesh.register("w1", 1, registration(1)).await.unwrap();
    let mut route = split(1, 1);
    route["spec"]["parentRefs"][0]["name"] = json!("cart");
    for backend in [0, 1] {
        route["spec"]["rules"][0]["backendRefs"][backend]["name"] = json!("cart");
    }
    apply(mesh, vec![route.clone()]).await.unwrap();
    mesh.leave("w1", 1).await.unwrap();
    assert!(!mesh.published().problems().is_empty(), "the route's service has gone");
    route
}

#[tokio::test]
async fn a_problem_that_was_there_before_does_not_block_other_writes() {
    let (_folder, mesh) = mesh().await;
    broken_cart(&mesh).await;
    // Its name is what the broken route's hint would now suggest.
    apply(&mesh, vec![service("cart-v2", "10.0.0.1:80")]).await.unwrap();
    assert!(mesh.published().problems().iter().any(|problem| problem.hint.is_some()));
    mesh.rollback(rollback(Some(1)), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(mesh.published().objects().len(), 1);
}

#[tokio::test]
async fn what_a_request_names_must_hold_even_if_it_did_not_before() {
    let (_folder, mesh) = mesh().await;
    let mut route = broken_cart(&mesh).await;
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(7);
    let Err(MeshError::Invalid(problems)) = apply(&mesh, vec![service("a", "10.0.0.1:80"), route]).await else {
        panic!("the route's service does not exist")
    };
    assert!(problems.iter().all(|problem| problem.document == Some(1)), "{problems:?}");
}

#[tokio::test]
async fn a_problem_of_an_object_that_the_request_does_not_name_has_no_document() {
    let (_folder, mesh) = mesh().await;
    apply(&mesh, shop()).await.unwrap();
    apply(&mesh, vec![split(90, 10)]).await.unwrap();
    let mut moved = service("orders-v2", "10.0.0.1:80");
    moved["spec"]["ports"] = json!([{"port": 81}]);
    let Err(MeshError::Invalid(problems)) = apply(&mesh, vec![moved]).await else { panic!("the route names port 80") };
    assert!(problems.iter().all(|problem| problem.document.is_none()), "{problems:?}");
}

#[tokio::test]
async fn deleting_what_others_need_is_refused_and_what_is_not_there_is_named() {
    let (_folder, mesh) = mesh().await;
    apply(&mesh, shop()).await.unwrap();
    apply(&mesh, vec![split(90, 10)]).await.unwrap();
    let delete = |name: &str| DeleteRequest {
        keys: vec![Key::new(crate::resources::Kind::MeshService, "shop", name)],
        dry_run: false,
        author: "ada".into(),
        message: String::new(),
    };
    assert!(matches!(mesh.delete(delete("orders-v2"), Timestamp::UNIX_EPOCH).await, Err(MeshError::Invalid(_))));
    assert!(matches!(mesh.delete(delete("nothing"), Timestamp::UNIX_EPOCH).await, Err(MeshError::NotFound(_))));
    assert_eq!(mesh.published().revision, 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_workload_stays_for_the_grace_period() {
    let (_folder, mesh) = mesh().await;
    mesh.register("w1", 1, registration(1)).await.unwrap();
    assert_eq!(cart_endpoints(&mesh.published()), 1);
    let start = tokio::time::Instant::now();
    mesh.lose("w1", 1).await;
    let mut published = mesh.watch();
    published.borrow_and_update();
    published.changed().await.unwrap();
    assert!(start.elapsed() >= GRACE, "{:?}", start.elapsed());
    assert_eq!(cart_endpoints(&mesh.published()), 0);
}

#[tokio::test]
async fn a_workload_that_cannot_be_removed_from_the_disk_stays_for_callers() {
    let (folder, is_broken) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let store = Arc::new(Store::on_faulty_disk(&is_broken));
    let mesh = Mesh::start(Parts { store: store.clone(), ..parts(&folder) }).await.unwrap();
    mesh.register("w1", 1, registration(1)).await.unwrap();
    is_broken.store(true, Ordering::Relaxed);
    assert!(matches!(mesh.leave("w1", 1).await, Err(MeshError::Store(_))));
    // A command after it makes sure that there would have been a publication.
    let mut dry = request(shop());
    dry.dry_run = true;
    mesh.apply(dry, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(cart_endpoints(&mesh.published()), 1);
}

#[tokio::test]
async fn resources_are_found_by_kind_and_name() {
    let (_folder, mesh) = mesh().await;
    let published = mesh.published();
    assert!(published.resource(WireKind::Destination, "shop/none:80").is_some(), "unknown is an answer, too");
    assert!(published.resource(WireKind::Destination, "not a name").is_none());
    assert!(published.resource(WireKind::TrustBundle, "weft.local").is_some());
    assert!(published.resource(WireKind::TrustBundle, "other.test").is_none());
    let once = published.resource(WireKind::Inbound, "w1").unwrap();
    assert!(Arc::ptr_eq(&once, &published.resource(WireKind::Inbound, "w1").unwrap()));
}
