//! `weft docker init`, on a project that knows nothing of weft: stock images, packed as they come.

use std::fs;

use weft_tests::{Connection, Finished, PATIENCE, eventually, free_port, pods::Capture, request, weft};

use crate::project::{Project, on_this_machine};

const COMPOSE: &str = r#"
services:
  front:
    image: nginx:1.28
    ports: ["127.0.0.1:${FRONT_PORT}:80"]
    configs: [{source: site, target: /etc/nginx/conf.d/site.conf}]
    depends_on: [store]
  # A service with two ports, neither of them published.
  store:
    image: python:3.13-slim
    command: [bash, -c, "python3 -m http.server 8000 & exec python3 -m http.server 9000"]
    working_dir: /etc
    stop_signal: SIGKILL
    expose: ["8000", "9000"]
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: crane}
  cache:
    image: redis:8
  shell:
    image: postgres:17
    entrypoint: [sleep, infinity]
    stop_signal: SIGKILL
    environment: {PGPASSWORD: crane}
configs:
  site:
    file: site.conf
"#;
const SITE: &str = "server { listen 80; location / { proxy_pass http://store:8000; } location /second/ { proxy_pass http://store:9000/; } }";

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn a_project_is_put_into_the_mesh_without_a_change_of_its_own_files() {
    let port = free_port();
    let mut project = Project::new(std::path::Path::new("/"), &[]).set("FRONT_PORT", port);
    project.in_its_folder();
    let (compose, _) = (project.folder.file("compose.yaml", COMPOSE), project.folder.file("site.conf", SITE));
    let mut init = weft(&["docker", "init", "--calls-only", "shell"]);
    init.current_dir(project.folder.path()).env("FRONT_PORT", port.to_string());
    let said = Finished::of(init, b"", PATIENCE).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(fs::read_to_string(compose).unwrap(), COMPOSE);
    project.with_files(&["compose.yaml", "compose.weft.yaml"]);
    project.up().await;

    // From the host, by way of nginx, to both ports of another program, which runs, but may not listen yet.
    for path in ["os-release", "second/os-release"] {
        eventually(&format!("{path} is answered"), async || {
            let asked = request(&format!("http://localhost:{port}/{path}"));
            let answer = Connection::open(on_this_machine(port)).await?.send(asked).await?;
            if answer.status == 200 && answer.text().contains("Debian") { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
    let db = project.address("db-net").await.parse().unwrap();
    let capture = Capture::on(&project.bridge().await, db, &project.folder).await;
    let select = ["psql", "-h", "db", "-U", "postgres", "-Atc", "select 'swans on the lake'"];
    let row = eventually("the database is up", async || match project.exec("shell", &select).await {
        Finished { code: 0, stdout, .. } => Ok(stdout),
        other => Err(other.stderr),
    })
    .await;
    assert_eq!(row, "swans on the lake\n");
    let pong = ["bash", "-c", "exec 3<>/dev/tcp/cache/6379; echo PING geese >&3; head -2 <&3"];
    assert!(project.exec("shell", &pong).await.expect_ok().contains("geese"));
    let captured = capture.finish().await;
    for plaintext in ["swans on the lake", "geese"] {
        assert!(!captured.contains(plaintext), "{plaintext} crosses the bridge");
    }

    let checked = Finished::of(weft(&["check", "--docker", "--project", &project.name]), b"", PATIENCE).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert_eq!(project.down().await, "", "left behind");
}
