use std::path::Path;

use super::*;
use crate::docker::{
    plan::{Choices, Images, decide},
    ports::Exposed,
    project::Project,
};

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn shop() -> Plan {
    let model = std::fs::read(golden("shop.json")).unwrap();
    let project: Project = serde_json::from_slice(&model).unwrap();
    let choices = Choices { calls_only: ["mail_worker".to_owned()].into(), ..Choices::default() };
    let exposed = |port: &'static str| Exposed::of([port].into_iter());
    let images = [("postgres", "5432/tcp"), ("redis", "6379/tcp"), ("front", "80/tcp")];
    let images: Images = images.map(|(name, port)| (name.to_owned(), exposed(port))).into();
    decide(&project, &choices, &images).unwrap()
}

fn written(plan: &Plan) -> String {
    let files = ["compose.yaml".to_owned()];
    text(plan, &Setting { image: "weft:0.1.0", namespace: "default", files: &files, file: "compose.weft.yaml" })
}

#[test]
fn the_file_of_a_shop_is_the_one_that_was_read_through() {
    let (path, text) = (golden("shop.weft.yaml"), written(&shop()));
    if std::env::var_os("WEFT_REGENERATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    same_text(&std::fs::read_to_string(&path).unwrap(), &text);
}

fn same_text(expected: &str, found: &str) {
    let difference = similar::TextDiff::from_lines(expected, found).unified_diff().to_string();
    assert!(difference.is_empty(), "WEFT_REGENERATE=1 writes it anew:\n{difference}");
}

#[test]
fn nothing_of_a_model_breaks_out_of_its_place() {
    let model = serde_json::json!({
        "name": "x\nservices: {evil: {image: evil}}",
        "services": {
            "on": {"expose": ["80"], "hostname": "h\n    privileged: true", "networks": {"a: b\n#": null}},
            "8080": {"expose": ["80"], "networks": {"a: b\n#": null}, "dns": ["1.1.1.1", "]\n"]},
            "b": {"network_mode": "container:x\nevil: 1"},
        },
    });
    let plan = decide(&serde_json::from_value(model).unwrap(), &Choices::default(), &Images::new()).unwrap();
    let files = ["a\nb: 1".to_owned()];
    let text = text(&plan, &Setting { image: "i\nx: y", namespace: "on", files: &files, file: "f\nc: 1" });
    // What YAML has no reader for here is compose's own tag.
    let read: Value = serde_saphyr::from_str(&text.replace("!reset ", "")).unwrap();
    assert_eq!(read.as_object().unwrap().keys().collect::<Vec<_>>(), ["services", "volumes", "configs"]);
    let services = read["services"].as_object().unwrap();
    assert_eq!(services.len(), 2 + 2 * 3, "{services:?}");
    assert_eq!(services["on-net"]["hostname"], "h\n    privileged: true");
    assert_eq!(services["8080-net"]["dns"][1], "]\n");
    assert_eq!(services["on-net"]["image"], "i\nx: y");
    assert_eq!(services["on-weft"]["environment"]["WEFT_NAMESPACE"], "on");
    assert_eq!(services["weft-join"]["environment"]["WEFT_NAMESPACE"], "on");
}
