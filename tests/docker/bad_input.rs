//! What goes wrong in containers is said in the log of the one that fails, and by `weft check --docker`.

use std::net::TcpListener;

use weft_tests::{Finished, PATIENCE, eventually, free_port, weft};

use crate::project::{Project, example};

/// Four mistakes, each with another program.
const MISTAKES: &str = r#"
services:
  # The rules cannot be set.
  orders-net:
    cap_add: !override []
  # Not a token of this mesh.
  orders-v2-weft:
    environment: {WEFT_JOIN_TOKEN: "0123456789abcdef", WEFT_JOIN_TOKEN_FILE: !reset null}
  # Somebody has the sidecar's port.
  squatter:
    image: python:3.13-slim
    command: [python3, -m, http.server, "15006"]
    network_mode: service:web-net
  web-weft:
    depends_on: {squatter: {condition: service_started}}
    environment: {WEFT_DISCOVERY_TIMEOUT: 4s}
  # The name of another service.
  redis-net:
    labels: {dev.weft.service: orders}
  redis-weft:
    environment: {WEFT_SERVICE: orders, WEFT_LABEL: version=v1}
"#;

/// `weft check --docker` for the project.
async fn check(project: &Project) -> Finished {
    Finished::of(weft(&["check", "--docker", "--project", &project.name]), b"", PATIENCE).await
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn each_mistake_is_named_where_it_is_made_and_by_the_check() {
    let mut project = Project::new(&example(), &[]).set("WEB_PORT", free_port()).set("ADMIN_PORT", free_port());
    let mistakes = project.folder.file("mistakes.yaml", MISTAKES);
    project.with_files(&["compose.yaml", &mistakes]);
    // The first container that cannot be started keeps Compose from starting others: those that can be come first.
    project.compose(&["up", "--detach", "orders-v2-weft", "web-weft", "redis-weft"]).await;
    let up = project.compose(&["up", "--detach"]).await;
    assert_ne!(up.code, 0, "what depends on them does not start");

    for (service, words) in [
        ("orders-net", &["NET_ADMIN is missing", "docker run --cap-add NET_ADMIN"][..]),
        ("orders-v2-weft", &["join token"]),
        ("web-weft", &["15006", "another process has it"]),
        ("redis-weft", &["orders", "refused"]),
    ] {
        eventually(&format!("{service} says why"), async || {
            let log = project.log(service).await;
            if words.iter().all(|word| log.contains(word)) { Ok(()) } else { Err(log) }
        })
        .await;
    }
    eventually("the check names them all", async || {
        let Finished { code, stdout, stderr } = check(&project).await;
        let said = stdout + &stderr;
        let words = [
            "orders-net-1: it starts again and again",
            "cap_add: [NET_ADMIN]",
            "orders-v2-weft-1: it starts again and again",
            "up -d --force-recreate join",
            "web-weft-1: it starts again and again",
            "15001, 15006, 15008, 15020, 15053",
            "two services of one name",
        ];
        match words.iter().find(|word| !said.contains(**word)) {
            None if code == 1 => Ok(()),
            missing => Err(format!("{missing:?}, {code}: {said}")),
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn a_port_of_the_host_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = Project::new(&example(), &["compose.yaml"]).set("WEB_PORT", port).set("ADMIN_PORT", free_port());
    let up = project.compose(&["up", "--detach"]).await;
    assert_ne!(up.code, 0);
    assert!(up.stderr.contains(&port.to_string()), "{}", up.stderr);
    let Finished { code, stdout, stderr } = check(&project).await;
    let said = stdout + &stderr;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("port {port} of the host is taken")), "{said}");
}
