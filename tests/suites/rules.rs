//! Rules and their history: written all or nothing, shown as they were written, and brought back byte for byte.

use weft_tests::{ControlPlane, Finished, Folder, PATIENCE, service, split, versions, weft};

/// Services, and a route that splits.
fn base() -> String {
    [service("orders"), versions("orders"), split("orders", 90, 10)].join("---\n")
}

fn sticky() -> &'static str {
    "apiVersion: weft.dev/v1alpha1\n\
     kind: TrafficPolicy\n\
     metadata: {name: orders-sticky}\n\
     spec: {targetRef: {kind: HTTPRoute, name: orders}, stickySplit: {header: x-user}}\n"
}

async fn apply(control_plane: &ControlPlane, yaml: &str, more: &[&str]) -> Finished {
    control_plane.weft_with_input(&[&["apply", "-f", "-"], more].concat(), yaml).await
}

async fn export(control_plane: &ControlPlane, more: &[&str]) -> String {
    control_plane.weft(&[&["export"], more].concat()).await.expect_ok()
}

#[tokio::test]
async fn many_documents_are_one_revision_or_none() {
    let control_plane = ControlPlane::start().await;
    let all = format!("{}---\n{}", base(), sticky());
    let dry = apply(&control_plane, &all, &["--dry-run", "--output", "json"]).await.expect_ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&dry).unwrap()["dryRun"], true);
    assert_eq!(control_plane.json(&["get"]).await.as_array().unwrap().len(), 0);

    apply(&control_plane, &all, &["--message", "start", "--author", "ada"]).await.expect_ok();
    let history = control_plane.json(&["history"]).await;
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    assert_eq!(history[0]["author"], "ada");
    assert_eq!(history[0]["message"], "start");
    assert_eq!(history[0]["changes"].as_array().unwrap().len(), 5);
    assert!(history[0]["time"].as_str().unwrap().ends_with('Z'));

    let half = format!("{}---\n{}", split("orders", 50, 50), split("nothing", 1, 1));
    assert_eq!(apply(&control_plane, &half, &[]).await.code, 3);
    assert_eq!(control_plane.json(&["history"]).await, history, "the good half was not written either");
    assert!(export(&control_plane, &[]).await.contains("weight: 90"));

    apply(&control_plane, &all, &[]).await.expect_ok();
    assert_eq!(control_plane.json(&["history"]).await, history, "no change is no revision");
}

#[tokio::test]
async fn objects_are_got_compared_and_deleted() {
    let control_plane = ControlPlane::start().await;
    let all = base();
    apply(&control_plane, &all, &[]).await.expect_ok();
    let kinds = control_plane.weft(&["get"]).await.expect_ok();
    assert!(kinds.contains("orders-v1") && kinds.contains("orders-v2") && kinds.contains("HTTPRoute"), "{kinds}");
    let one = control_plane.weft(&["get", "meshservice", "orders-v1", "-o", "yaml"]).await.expect_ok();
    assert!(one.contains("name: orders-v1") && !one.contains("orders-v2"), "{one}");
    assert_eq!(control_plane.weft(&["get", "meshservice", "nothing"]).await.code, 1);
    let routes = control_plane.weft(&["routes", "orders"]).await.expect_ok();
    assert!(routes.contains("orders-v1:80 90") && routes.contains("orders-v2:80 10"), "{routes}");

    let same = control_plane.folder().file("same.yaml", &all);
    assert_eq!(control_plane.weft(&["diff", "-f", &same]).await.code, 0);
    let other = control_plane.folder().file("other.yaml", split("orders", 80, 20));
    let diff = control_plane.weft(&["diff", "-f", &other]).await;
    assert_eq!(diff.code, 5, "{diff:?}");
    assert!(diff.stdout.lines().any(|line| line.starts_with('-') && line.contains("90")), "{}", diff.stdout);
    assert!(diff.stdout.lines().any(|line| line.starts_with('+') && line.contains("80")), "{}", diff.stdout);

    control_plane.weft(&["delete", "httproute", "orders", "--message", "enough"]).await.expect_ok();
    assert_eq!(control_plane.weft(&["get", "httproute", "orders"]).await.code, 1);
    let newest = control_plane.json(&["history", "--limit", "1"]).await;
    assert_eq!((&newest[0]["message"], &newest[0]["changes"][0]["action"]), (&"enough".into(), &"deleted".into()));
}

#[tokio::test]
async fn a_rollback_is_the_earlier_revision_byte_for_byte() {
    let control_plane = ControlPlane::start().await;
    apply(&control_plane, &base(), &[]).await.expect_ok();
    let before = export(&control_plane, &[]).await;
    let revision = control_plane.json(&["history"]).await[0]["revision"].as_u64().unwrap();

    let second = format!("{}---\n{}", split("orders", 10, 90), sticky());
    apply(&control_plane, &second, &[]).await.expect_ok();
    assert_ne!(export(&control_plane, &[]).await, before);
    assert_eq!(export(&control_plane, &["--revision", &revision.to_string()]).await, before);

    control_plane.weft(&["rollback", &revision.to_string(), "--message", "back"]).await.expect_ok();
    assert_eq!(export(&control_plane, &[]).await, before);
    let history = control_plane.json(&["history"]).await;
    assert_eq!(history.as_array().unwrap().len(), 3, "a rollback is a revision: {history}");
    assert_eq!(history[0]["message"], "back");

    control_plane.weft(&["rollback"]).await.expect_ok();
    let again = export(&control_plane, &[]).await;
    assert!(again.contains("weight: 90") && again.contains("orders-sticky"), "{again}");

    let other = ControlPlane::start().await;
    apply(&other, &again, &[]).await.expect_ok();
    assert_eq!(export(&other, &[]).await, again, "an export makes the same rules elsewhere");
    assert_ne!(control_plane.weft(&["rollback", "99"]).await.code, 0);
}

#[tokio::test]
async fn rules_to_begin_with_are_applied_once_and_then_left_alone() {
    let folder = Folder::new();
    let file = folder.file("rules.yaml", base());
    let mut control_plane = ControlPlane::start_with(&["--rules", &file]).await;
    let history = control_plane.json(&["history"]).await;
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    assert_eq!(history[0]["author"], "weft control-plane");
    apply(&control_plane, &split("orders", 10, 90), &[]).await.expect_ok();
    control_plane.restart().await;
    assert_eq!(control_plane.json(&["history"]).await.as_array().unwrap().len(), 2);
    assert!(export(&control_plane, &[]).await.contains("weight: 10"), "what people have changed is theirs");
}

#[tokio::test]
async fn rules_to_begin_with_that_do_not_hold_keep_it_from_starting() {
    let folder = Folder::new();
    let rows = [
        ("kind: MeshServise\n", "rules.yaml:1:1"),
        (&format!("{}---\n{}", base(), split("nothing", 1, 1)), "rules.yaml:"),
        ("a: [", "rules.yaml:1:"),
    ];
    for (text, place) in rows {
        let file = folder.file("rules.yaml", text);
        let data = folder.path().join("data");
        let listen = ["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let start = ["control-plane", "--data-dir", data.to_str().unwrap(), "--rules", &file];
        let ended = Finished::of(weft(&[&start[..], &listen].concat()), b"", PATIENCE).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(place) && ended.stderr.contains("nothing of it was applied"), "{ended:?}");
    }
}
