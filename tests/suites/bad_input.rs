//! What is wrong is refused where it is written, all of it at once, in words that help.

use weft_tests::{ControlPlane, Workload, eventually, get, get_h2, split, versions};

#[tokio::test]
async fn an_unknown_service_is_named_with_the_nearest_known_one() {
    let control_plane = ControlPlane::start().await;
    let _orders = Workload::start(&control_plane, "orders", "v1").await;
    let caller = control_plane.sidecar("caller").start().await;
    for answer in [get(caller.outbound(), "http://order/").await, get_h2(caller.outbound(), "http://order/").await] {
        assert_eq!(answer.status, 502);
        let why = answer.header("proxy-status");
        assert!(why.starts_with("weft-outbound; error=destination_not_found; "), "{why}");
        assert!(
            answer.text().contains("default/order") && answer.text().contains("default/orders"),
            "{}",
            answer.text()
        );
        assert!(!answer.header("x-request-id").is_empty());
    }
    let foreign = get(caller.outbound(), "http://example.com/").await;
    assert_eq!(foreign.status, 502);
    assert!(foreign.text().contains("com/example"), "{}", foreign.text());

    let _late = Workload::start(&control_plane, "order", "late").await;
    eventually("the caller is told that it is there now", async || {
        let answer = get(caller.outbound(), "http://order/").await;
        if (answer.status.as_u16(), answer.text().as_str()) == (200, "late") { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

const WRONG: &str = r#"apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{group: "", kind: Service, name: orders}]
  rules:
    - backendRefs:
        - {group: weft.dev, kind: MeshService, name: orders-v1, port: 80, weight: -1}
        - {group: weft.dev, kind: MeshService, name: orders-v2, port: 80, weigth: 3}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRout
metadata: {name: other}
spec: {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: nothing}
spec:
  parentRefs: [{group: "", kind: Service, name: orders}]
  rules:
    - backendRefs:
        - {group: weft.dev, kind: MeshService, name: orders-v1, port: 80, weight: 0}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders-v1}
spec: {workloads: {service: orders}}
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders-v1}
spec: {workloads: {service: orders}}
"#;

#[tokio::test]
async fn all_problems_of_a_file_are_shown_at_once() {
    let control_plane = ControlPlane::start().await;
    control_plane.weft_with_input(&["apply", "-f", "-"], &versions("orders")).await.expect_ok();
    let before = control_plane.json(&["history"]).await;
    let file = control_plane.folder().file("wrong.yaml", WRONG);
    for command in ["apply", "diff", "check"] {
        let output = control_plane.weft(&[command, "-f", &file]).await;
        assert_eq!(output.code, 3, "{command}: {output:?}");
        let problem = |line: u32, part: &str| {
            let place = format!("{file}:{line}:");
            let found = output.stderr.lines().any(|text| text.starts_with(&place) && text.contains(part));
            assert!(found, "{command}: no {part:?} at line {line}:\n{}", output.stderr);
        };
        problem(8, "weight");
        problem(9, "did you mean \"weight\"?");
        problem(12, "HTTPRout");
        problem(12, "HTTPRoute");
        problem(22, "weight");
        problem(32, "MeshService default/orders-v1: metadata.name: ");
        assert!(output.stdout.is_empty(), "{command}: {}", output.stdout);
    }
    assert_eq!(control_plane.json(&["history"]).await, before, "nothing was changed");
}

#[tokio::test]
async fn columns_and_field_paths_point_at_the_field() {
    let control_plane = ControlPlane::start().await;
    let file = control_plane.folder().file("wrong.yaml", WRONG);
    let output = control_plane.weft(&["apply", "-f", &file]).await;
    let column = WRONG.lines().nth(7).unwrap().find("weight").unwrap() + 1;
    let line = output.stderr.lines().find(|line| line.contains(":8:")).unwrap();
    assert!(
        line.starts_with(&format!("{file}:8:{column}: error: HTTPRoute default/orders: ")),
        "column {column}: {line}"
    );
    assert!(line.contains("spec.rules[0].backendRefs[0].weight"), "{line}");
}

#[tokio::test]
async fn a_route_to_a_service_that_does_not_exist() {
    let control_plane = ControlPlane::start().await;
    control_plane.weft_with_input(&["apply", "-f", "-"], &versions("orders")).await.expect_ok();
    let before = control_plane.json(&["history"]).await;
    let file = control_plane.folder().file("route.yaml", split("orderz", 1, 1));
    let output = control_plane.weft(&["apply", "-f", &file]).await;
    assert_eq!(output.code, 3, "{output:?}");
    for (line, name, nearest) in [(5, "orderz", ""), (8, "orderz-v1", "orders-v1"), (9, "orderz-v2", "orders-v2")] {
        let place = format!("{file}:{line}:");
        let said =
            output.stderr.lines().find(|text| text.starts_with(&place)).unwrap_or_else(|| panic!("{place} {output:?}"));
        assert!(said.contains(name) && said.contains(nearest), "{said}");
    }
    assert_eq!(control_plane.json(&["history"]).await, before);
}

#[tokio::test]
async fn yaml_that_is_none() {
    let control_plane = ControlPlane::start().await;
    let file = control_plane.folder().file("bad.yaml", "kind: HTTPRoute\nmetadata: {name: [\nspec: x\n");
    let output = control_plane.weft(&["apply", "-f", &file]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains(&format!("{file}:")), "{}", output.stderr);
    let place = output.stderr.lines().find_map(|line| line.strip_prefix(&format!("{file}:"))).unwrap();
    let mut numbers = place.split(':').map(str::parse::<u32>);
    assert!(numbers.next().unwrap().is_ok() && numbers.next().unwrap().is_ok(), "{place}");
    assert_eq!(control_plane.json(&["history"]).await.as_array().unwrap().len(), 0);
}
