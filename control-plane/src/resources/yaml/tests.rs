use proptest::prelude::*;
use serde_json::json;

use super::*;

fn one(text: &str) -> Document {
    read_yaml("a.yaml", text).unwrap().remove(0)
}

fn at(document: &Document, field: &str) -> (u32, u32) {
    let place = document.locate(field);
    (place.line, place.column)
}

#[test]
fn every_field_has_its_place() {
    let document = one("kind: X\nspec:\n  rules:\n    - name: a\n      flow: {x: 1, y: [2, 3]}\n    - name: b\n");
    assert_eq!(document.value["spec"]["rules"][0]["flow"], json!({"x": 1, "y": [2, 3]}));
    assert_eq!(at(&document, "kind"), (1, 1));
    assert_eq!(at(&document, "spec.rules[0].name"), (4, 7));
    assert_eq!(at(&document, "spec.rules[0].flow.y[1]"), (5, 27));
    assert_eq!(at(&document, "spec.rules[1]"), (6, 7));
    // What is not there is looked for around it.
    assert_eq!(at(&document, "spec.rules[1].flow.z"), (6, 7));
    assert_eq!(at(&document, "metadata.name"), (1, 1));
    assert_eq!(at(&document, ""), (1, 1));
}

#[test]
fn documents_keep_their_lines_and_empty_ones_are_left_out() {
    let documents = read_yaml("a.yaml", "# only a comment\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n").unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(at(&documents[0], "a"), (3, 1));
    assert_eq!(at(&documents[1], "b"), (8, 1));
    assert_eq!(read_yaml("a.yaml", "").unwrap(), []);
}

#[test]
fn words_that_old_yaml_takes_for_booleans_stay_words() {
    let document = one("{a: no, b: on, c: y, d: true, e: ~, f: 010, g: '1', h: 1.5, i: 0x10, j: 2024-01-01}");
    assert_eq!(
        document.value,
        json!({"a": "no", "b": "on", "c": "y", "d": true, "e": null, "f": "010", "g": "1", "h": 1.5, "i": 16,
               "j": "2024-01-01"})
    );
}

#[test]
fn aliases_are_followed() {
    let document = one("a: &x {b: 1}\nc: *x\n");
    assert_eq!(document.value["c"]["b"], 1);
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    let cases = [
        ("a: 1\na: 2\n", "2:1: duplicate mapping key `a` is not allowed here"),
        ("a: [1, 2\nb: 3\n", "2:2: illegal placement of ':' indicator"),
        ("a: 1\n  b: 2\n", "2:4: mapping values are not allowed in this context"),
        ("a: {b: 1\n", "1:4: unclosed bracket '{'"),
        ("a: .inf\n", "1:4: value `.inf` is not a finite number"),
        ("a: *unknown\n", "1:4: reference to unknown value"),
        ("a:\n\t- b\n", "2:2: tabs disallowed within this context (block indentation)"),
    ];
    let found = cases.map(|(text, _)| read_yaml("a.yaml", text).unwrap_err()[0].to_string());
    assert_eq!(found, cases.map(|(_, problem)| format!("a.yaml:{problem}")));
}

#[test]
fn yaml_has_its_keys_in_the_usual_order() {
    let value = json!({"spec": {"b": 1, "a": []}, "metadata": {"name": "web", "namespace": "shop"}, "kind": "K", "apiVersion": "v"});
    assert_eq!(
        to_yaml(&[value.clone(), value]),
        "apiVersion: v\nkind: K\nmetadata:\n  namespace: shop\n  name: web\nspec:\n  b: 1\n  a: []\n---\n\
         apiVersion: v\nkind: K\nmetadata:\n  namespace: shop\n  name: web\nspec:\n  b: 1\n  a: []\n"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(yes|no|null|~|1e3|0x1f|1_000|true|-|- a|a: b|#x|!t|&a|\\*a|@|%|\\||>|<<|[ \n\t]{1,3}x)".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z./ -]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(inner in any_json()) {
        let value = json!({"spec": inner});
        let text = to_yaml(&[value.clone(), value.clone()]);
        let read: Vec<Value> = read_yaml("a.yaml", &text).unwrap().into_iter().map(|d| d.value).collect();
        prop_assert_eq!(read, vec![value.clone(), value], "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = read_yaml("a.yaml", &text);
    }
}
