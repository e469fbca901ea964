//! What comes from outside is read at the terminal, never obeyed by it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod mesh;

use std::process::{Command, Output};

use mesh::Mesh;

const RULES: &str = "\
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders}
spec:
  workloads: {service: orders}
";
/// Colours what follows, and forges a line of the history.
const AUTHOR: &str = "x\u{1b}[31mRED\n1         2026-01-01 00:00:00 UTC  root";

fn output(command: &mut Command) -> (Output, String) {
    let output = command.args(["--color", "always"]).output().unwrap();
    let text = String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap();
    (output, text)
}

#[test]
fn an_author_cannot_forge_a_line_of_the_history() {
    let mesh = Mesh::start();
    std::fs::write(mesh.folder.path().join("rules.yaml"), RULES).unwrap();
    let apply = ["apply", "-f", "rules.yaml", "--author", AUTHOR, "--message", "\u{1b}[2J\u{9b}1m"];
    // Whether the control plane refuses such an author or keeps it: nobody's terminal does what it says.
    let (applied, text) = output(mesh.weft().args(apply));
    assert!(!text.contains("\u{1b}[31mRED") && !text.contains("\u{1b}[2J"), "{text:?}");
    let (history, text) = output(mesh.weft().arg("history"));
    assert!(history.status.success(), "{text}");
    assert!(!text.contains("\u{1b}[31mRED") && !text.contains("\u{1b}[2J") && !text.contains('\u{9b}'), "{text:?}");
    if applied.status.success() {
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("x\\u{1b}[31mRED\\n1 "), "{text}");
    }
    let (json, text) = output(mesh.weft().args(["history", "-o", "json"]));
    assert!(json.status.success() && !text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
}

#[test]
fn a_resource_cannot_forge_an_error() {
    let mesh = Mesh::start();
    let rules = RULES.replace("workloads:", "\"wrk\\e[31mRED\\nerror: forged\":");
    std::fs::write(mesh.folder.path().join("rules.yaml"), rules).unwrap();
    for command in ["check", "apply"] {
        let (refused, text) = output(mesh.weft().args([command, "-f", "rules.yaml"]));
        assert_eq!(refused.status.code(), Some(3), "{text}");
        assert!(
            !text.contains("\u{1b}[31mRED") && !text.lines().any(|line| line.starts_with("error: forged")),
            "{text:?}"
        );
        assert!(text.contains("RED\\nerror: forged"), "{text:?}");
    }
}
