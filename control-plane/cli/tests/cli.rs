//! The binary as a person meets it: its help, its exit codes, and what it says about files that are wrong.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

fn weft() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    for name in ["WEFT_CONFIG", "WEFT_NAMESPACE", "WEFT_SETTINGS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    weft().args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const GOOD: &str = "\
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders}
spec:
  workloads: {service: orders}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{group: \"\", kind: Service, name: orders}]
  rules:
    - backendRefs: [{group: weft.dev, kind: MeshService, name: orders, port: 80}]
";

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for command in [
        "demo",
        "control-plane",
        "run",
        "proxy",
        "docker",
        "token",
        "apply",
        "get",
        "delete",
        "diff",
        "check",
        "history",
        "rollback",
        "export",
        "status",
        "endpoints",
        "routes",
        "circuits",
        "completion",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}:\n{text}");
    }
    assert!(text.contains("Exit codes:") && !text.contains("demo-app"), "{text}");
}

#[test]
fn the_version_names_the_commit() {
    let text = stdout(&run(&["--version"]));
    assert!(text.starts_with("weft 0.") && text.contains("(commit "), "{text}");
}

#[test]
fn each_shell_gets_a_completion_script() {
    for (shell, word) in [("bash", "complete "), ("zsh", "#compdef weft"), ("fish", "complete -c weft")] {
        let output = run(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        let text = stdout(&output);
        assert!(text.contains(word) && text.contains("rollback"), "{shell}");
    }
    assert_eq!(run(&["completion", "cmd"]).status.code(), Some(2));
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["nonsense"][..], &["apply"], &["run", "--service", "a"], &["get", "pods"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let two_ports = "proxy --control-plane 127.0.0.1:1 --trust-anchor none.pem --service-port 80,9090";
    let refused = run(&two_ports.split(' ').collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs --intercept"), "{refused:?}");
}

#[test]
fn the_daemons_are_of_the_same_version_as_the_command() {
    let version = |args: &[&str]| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let own = version(&["--version"]);
    let number = own.strip_prefix("weft ").unwrap();
    assert!(number.contains("(commit "), "{own}");
    assert_eq!(version(&["control-plane", "--version"]), format!("weft control-plane {number}"));
    assert_eq!(version(&["proxy", "--version"]), format!("weft proxy {number}"));
}

#[test]
fn good_files_pass_the_check() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "rules.yaml", GOOD);
    let output = run(&["check", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "2 resources, no errors\n");
}

#[test]
fn every_problem_of_every_file_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let rules = file(
        folder.path(),
        "rules.yaml",
        &GOOD.replace("port: 80}", "port: 80, weigth: 3}").replace("workloads:", "wrkloads:"),
    );
    let output = run(&["check", "-f", &rules]);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    let line = |part: &str| {
        text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}:\n{text}")).to_owned()
    };
    assert!(line("wrkloads").starts_with(&format!("{rules}:5:3: error: MeshService default/orders: spec")), "{text}");
    assert!(line("weigth").starts_with(&format!("{rules}:13:")), "{text}");
    assert!(line("weigth").contains("did you mean \"weight\"?"), "{text}");
    assert!(line("problems found").contains("error:"), "{text}");
}

#[test]
fn text_that_is_not_yaml_is_refused_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bad = file(folder.path(), "bad.yaml", "kind: HTTPRoute\n  metadata: [\n");
    let output = run(&["check", "-f", &bad]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains(&format!("{bad}:2:")), "{}", stderr(&output));
}

#[test]
fn a_route_to_a_service_that_no_file_names_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let route = GOOD.split("---\n").nth(1).unwrap();
    let rules = file(folder.path(), "rules.yaml", route);
    let output = run(&["check", "-f", &rules]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning:") && stderr(&output).contains("orders"), "{}", stderr(&output));
    assert_eq!(run(&["check", "-f", &rules, "--strict"]).status.code(), Some(3));
    let known = run(&["check", "-f", &rules, "--strict", "--service", "orders"]);
    assert_eq!(known.status.code(), Some(0), "{}", stderr(&known));
}

#[test]
fn standard_input_is_a_file() {
    let mut child = weft()
        .args(["check", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(GOOD.replace("kind: MeshService\nm", "kind: MeshServise\nm").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems[0]["place"]["file"], "<stdin>");
    assert_eq!(problems[0]["place"]["line"], 2);
}

#[test]
fn without_a_control_plane_the_address_and_the_way_out_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = weft().arg("status").current_dir(folder.path()).env("HOME", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("admin.yaml") && stderr(&output).contains("--config"), "{}", stderr(&output));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let ca = weft_certs::Ca::create("weft.local".parse().unwrap(), std::time::SystemTime::now()).unwrap();
    let pem: String = ca.trust_bundle().to_pem().lines().map(|line| format!("  {line}\n")).collect();
    let config = file(
        folder.path(),
        "admin.yaml",
        &format!(
            "address: {address}\ngrpcAddress: {address}\ntrustDomain: weft.local\ntoken: t\ntrustAnchor: |\n{pem}"
        ),
    );
    let output = run(&["status", "--config", &config]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        stderr(&output).contains(&address) && stderr(&output).contains("weft control-plane"),
        "{}",
        stderr(&output)
    );
}
