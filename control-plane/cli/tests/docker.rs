//! `weft docker init` as a person runs it; what it writes is held against what docker compose and the mesh accept.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The project of `golden/shop.json`, as a person writes it.
const COMPOSE: &str = "\
name: shop
services:
  front: {image: 'nginx:1', ports: ['8080:80', '127.0.0.1:8443:443'], depends_on: [orders]}
  orders:
    image: registry.example/orders:3
    hostname: orders-host
    expose: ['8080', '9090']
    links: ['redis:cache']
    networks: {default: {aliases: [orders-api]}, backend: {}}
  redis: {image: 'redis:7', networks: [backend]}
  worker: {image: busybox, profiles: [jobs], networks: [backend], dns: 1.1.1.1}
  outside: {image: busybox, scale: 2, links: ['redis:cache'], networks: [backend]}
networks:
  backend: {}
";
const FLAGS: [&str; 8] =
    ["--port", "front=80,443", "--port", "orders=8080,9090", "--port", "redis=6379", "--calls-only", "worker"];

fn weft(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("COMPOSE_FILE");
    command.output().unwrap()
}

fn init(folder: &Path, args: &[&str]) -> Output {
    weft(folder, &[&["docker", "init", "--model", "model.json"], &FLAGS[..], args].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with the model of a shop without the profile's and the scaled services.
fn shop() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = serde_json::json!({"name": "shop", "services": {
        "front": {"image": "nginx:1", "ports": [{"target": 80, "published": "8080", "protocol": "tcp"}]},
        "orders": {"image": "orders:3", "expose": ["8080"]},
        "redis": {"image": "redis:7"},
        "worker": {"image": "busybox"},
    }});
    std::fs::write(folder.path().join("model.json"), model.to_string()).unwrap();
    let file = folder.path().join("compose.weft.yaml");
    (folder, file)
}

/// Whether docker compose is here; if not, says so, unless nothing may be skipped.
fn require_compose() -> bool {
    let version = Command::new("docker").args(["compose", "version"]).output();
    if version.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let reason = "docker compose is not installed";
    assert!(std::env::var_os("WEFT_TESTS_FORBID_SKIP").is_none_or(|value| value != "1"), "{reason}");
    eprintln!("skipped: {reason}");
    false
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let (folder, file) = shop();
    let output = init(folder.path(), &["--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("# Written by `weft docker init`"), "{}", text(&output.stdout));
    let summary = text(&output.stderr);
    for part in ["orders-net, orders-weft", "80 (published)", "only calls", "4 sidecars, 0 services left out"] {
        assert!(summary.contains(part), "{part}:\n{summary}");
    }
    assert!(!file.exists());
}

#[test]
fn a_file_is_written_once_and_changed_only_by_force() {
    let (folder, file) = shop();
    let of = |args: &[&str]| {
        let output = init(folder.path(), args);
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = of(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("docker compose -f compose.yaml -f compose.weft.yaml up -d"), "{said}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(of(&[]).1.contains("says this already"));

    let (code, said) = of(&["--image", "weft:other"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("with another content") && said.contains("--force"), "{said}");
    std::fs::write(&file, "services: {}\n").unwrap();
    assert!(of(&[]).1.contains("weft has not written it"));
    assert_eq!(of(&["--force"]).0, Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn standard_output_and_programs_get_what_they_ask_for() {
    let (folder, file) = shop();
    let piped = init(folder.path(), &["--write", "-"]);
    assert_eq!(piped.status.code(), Some(0), "{}", text(&piped.stderr));
    let json = init(folder.path(), &["--dry-run", "-o", "json"]);
    let summary: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(summary["services"][0]["permissive"], serde_json::json!([80]));
    assert_eq!(summary["text"].as_str().unwrap(), text(&piped.stdout));
    assert_eq!(init(folder.path(), &["--write", "-", "-o", "json"]).status.code(), Some(2));
    assert_eq!(init(folder.path(), &["--write", "-", "-n", "No_Label"]).status.code(), Some(2));
    assert!(!file.exists());
}

#[test]
fn the_files_that_docker_goes_by_are_named() {
    let (folder, _) = shop();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(["docker", "init", "--model", "model.json", "--write", "-"]).args(FLAGS);
    command.current_dir(folder.path()).stdin(Stdio::null()).env("COMPOSE_FILE", "a.yaml:b.yaml");
    let written = text(&command.output().unwrap().stdout);
    assert!(written.contains("docker compose -f a.yaml -f b.yaml -f compose.weft.yaml up -d"), "{written}");
}

#[test]
fn a_service_without_known_ports_is_refused_with_what_to_do() {
    let (folder, file) = shop();
    std::fs::write(folder.path().join("model.json"), r#"{"services": {"a": {"image": "no/such:image"}}}"#).unwrap();
    let output = weft(folder.path(), &["docker", "init", "--model", "model.json"]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains("service a: nobody says") && said.contains("--port a=PORT"), "{said}");
    assert!(!file.exists());
    std::fs::write(folder.path().join("model.json"), "name: shop").unwrap();
    let output = weft(folder.path(), &["docker", "init", "--model", "model.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("docker compose config --format json"), "{}", text(&output.stderr));
}

#[test]
fn without_docker_the_way_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    let output =
        command.args(["docker", "init"]).current_dir(folder.path()).env("PATH", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("--model"), "{}", text(&output.stderr));
}

#[test]
fn the_rules_of_the_file_hold() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shop.weft.yaml");
    let file = std::fs::read_to_string(golden).unwrap();
    let file: Value = serde_saphyr::from_str(&file.replace("!reset ", "")).unwrap();
    let rules = file["configs"]["weft-rules"]["content"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let output = weft(folder.path(), &["check", "--strict", "-f", "rules.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "6 resources, no errors\n");
}

#[test]
fn docker_compose_accepts_what_is_written() {
    if !require_compose() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), COMPOSE).unwrap();
    let output = weft(folder.path(), &[&["docker", "init", "--shared-network"], &FLAGS[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let merged = Command::new("docker")
        .args([
            "compose",
            "-f",
            "compose.yaml",
            "-f",
            "compose.weft.yaml",
            "--profile",
            "*",
            "config",
            "--format",
            "json",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    let services = &serde_json::from_slice::<Value>(&merged.stdout).unwrap()["services"];
    for service in ["front", "orders", "redis", "worker"] {
        let app = &services[service];
        assert_eq!(app["network_mode"], format!("service:{service}-net"));
        assert_eq!(app["depends_on"][format!("{service}-weft")]["condition"], "service_healthy");
        for moved in ["networks", "ports", "expose", "hostname", "links", "dns"] {
            assert!(app.get(moved).is_none_or(Value::is_null), "{service}: {moved}");
        }
    }
    assert_eq!(services["front-net"]["ports"].as_array().unwrap().len(), 2);
    assert_eq!(services["front"]["depends_on"]["orders"]["condition"], "service_started", "the project's own stays");
    assert_eq!(services["orders-net"]["networks"]["default"]["aliases"], serde_json::json!(["orders", "orders-api"]));
    let networks: Vec<_> = services["weft-control-plane"]["networks"].as_object().unwrap().keys().collect();
    assert_eq!(networks, ["weft"]);
    assert_eq!(services["outside"]["links"], serde_json::json!(["redis-net:cache"]));
    assert_eq!(services["worker-weft"]["profiles"], serde_json::json!(["jobs"]));

    let again = weft(folder.path(), &["docker", "init", "-f", "compose.yaml", "-f", "compose.weft.yaml"]);
    assert_eq!(again.status.code(), Some(3));
    assert!(text(&again.stderr).contains("a part of the mesh already"), "{}", text(&again.stderr));
    let bad = weft(folder.path(), &["docker", "init", "-f", "missing.yaml"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).contains("missing.yaml"), "{}", text(&bad.stderr));
}

/// A folder with a program `docker` that does what `script` says.
fn engine(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("script");
    std::fs::write(&written, format!("#!/bin/sh\n{script}\n")).unwrap();
    // By another process: nothing can be run while anybody has it open for writing, and whatever this process has open,
    // others have as well for a moment when they are started from another thread.
    let docker = folder.path().join("docker");
    let install = Command::new("install").arg("--mode=0755").args([written, docker]).status().unwrap();
    assert!(install.success());
    folder
}

fn with_engine(engine: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    let path = format!("{}:/usr/bin:/bin", engine.display());
    command.args(args).current_dir(engine).env("PATH", path).stdin(Stdio::null()).output().unwrap()
}

/// A container of the project `shop` as `docker inspect` prints it.
fn inspected(name: &str, role: &str, state: Value, network: &str) -> Value {
    serde_json::json!({
        "Id": name, "Name": format!("/{name}"), "State": state, "HostConfig": {"NetworkMode": network},
        "Config": {"Labels": {
            "dev.weft.role": role, "dev.weft.service": "orders", "com.docker.compose.project": "shop",
        }},
        "NetworkSettings": {"Networks": {}},
    })
}

#[test]
fn the_containers_of_a_mesh_are_checked() {
    let running = serde_json::json!({"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"});
    let ended = serde_json::json!({"Status": "exited", "ExitCode": 1, "FinishedAt": "2026-01-01T00:00:01Z"});
    let shop = |holds: bool| {
        serde_json::json!([
            inspected("orders-net", "network", if holds { &running } else { &ended }.clone(), "shop_default"),
            inspected("orders-weft", "sidecar", running.clone(), "container:orders-net"),
        ])
    };
    let script = "case $1 in ps) echo orders-net orders-weft;; inspect) cat inspect.json;; \
                  logs) echo started; printf 'error: \\033[31mNET_ADMIN is missing\\n' >&2;; esac";
    let engine = engine(script);
    let of = |holds: bool, args: &[&str]| {
        std::fs::write(engine.path().join("inspect.json"), shop(holds).to_string()).unwrap();
        with_engine(engine.path(), &[&["check", "--docker"], args].concat())
    };
    let well = of(true, &[]);
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    assert!(text(&well.stdout).contains("orders-weft"), "{}", text(&well.stdout));

    let bad = of(false, &[]);
    assert_eq!(bad.status.code(), Some(1));
    let said = text(&bad.stderr);
    for part in [
        "error: orders-net: it does not run: it has ended with code 1",
        "it says: error: \\u{1b}[31mNET_ADMIN is missing",
        "cap_add: [NET_ADMIN]",
    ] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    let json: Value = serde_json::from_slice(&of(false, &["-o", "json"]).stdout).unwrap();
    assert_eq!(json["problems"][0]["container"], "orders-net");
    assert_eq!(json["containers"][0]["state"], "ended with 1");

    std::fs::write(engine.path().join("rules.yaml"), "kind: MeshServise\n").unwrap();
    let both = of(true, &["-f", "rules.yaml"]);
    assert_eq!(both.status.code(), Some(3), "{}", text(&both.stderr));
}

#[test]
fn what_docker_cannot_do_is_said_in_its_own_words() {
    let rows = [
        ("echo 'Cannot connect to the Docker daemon at unix:///x.' >&2; exit 1", "at unix:///x.", 4),
        ("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1", "install the compose plugin", 1),
        ("echo 'yaml: line 3: mapping values are not allowed' >&2; exit 15", "line 3: mapping values", 1),
        ("echo 'services: {}'", "is not what `docker compose config --format json` prints", 1),
    ];
    for (script, said, code) in rows {
        let engine = engine(script);
        let output = with_engine(engine.path(), &["docker", "init"]);
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
    let nothing = engine("exit 0");
    let output = with_engine(nothing.path(), &["check", "--docker", "--project", "shop"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no container of a mesh in the project shop"), "{}", text(&output.stderr));
    assert_eq!(with_engine(nothing.path(), &["check"]).status.code(), Some(2));
    assert_eq!(with_engine(nothing.path(), &["check", "-f", "x", "--project", "shop"]).status.code(), Some(2));
}
