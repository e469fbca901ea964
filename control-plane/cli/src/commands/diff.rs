//! `weft diff`: what an apply of these files would change, line by line, checked by the control plane.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use weft_control_plane::{
    admin_api::{Action, ApplyRequest, Change},
    resources::{self, Key},
};

use super::{change, objects};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, BAD, BOLD, CALM, Format, GOOD, Table, Text},
    sources,
};

pub const EXAMPLES: &str = "\
Examples:
  weft diff -f canary.yaml
  weft diff -f rules/ -o json | jq '.[].action'
  weft diff -f rules/ > /dev/null || echo 'something would change'

Exits with 5 when something would change, with 0 when nothing would.";

#[derive(Debug, Args)]
pub struct Diff {
    /// A file, a folder (its *.yaml and *.yml, with all below), or - for standard input (repeatable)
    #[arg(long = "file", short, required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Difference {
    key: Key,
    action: Action,
    before: Option<Value>,
    after: Option<Value>,
}

impl Diff {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let documents = sources::read(&self.files)?;
        let values: Vec<_> = documents.iter().map(|document| document.value.clone()).collect();
        let admin = flags.admin()?;
        let request = ApplyRequest {
            documents: values.clone(),
            namespace: flags.namespace().to_owned(),
            dry_run: true,
            author: String::new(),
            message: String::new(),
        };
        let change = admin.post::<Change>("/v1/apply", &request).await.map_err(|e| change::refused(e, &documents))?;
        let before = objects::fetch(&admin, None).await?;
        let differences = differences(&change, before, values, flags.namespace());
        match flags.output {
            Format::Table => differences.iter().flat_map(render).try_for_each(output::line)?,
            other => output::show(other, &differences, |_| Table::default())?,
        }
        Ok(if differences.is_empty() { Exit::Done } else { Exit::Differs })
    }
}

fn differences(change: &Change, before: Vec<Value>, after: Vec<Value>, namespace: &str) -> Vec<Difference> {
    let by_key = |values: Vec<Value>| -> BTreeMap<Key, Value> {
        values.into_iter().filter_map(|value| Some((objects::key(&value, namespace)?, value))).collect()
    };
    let (mut before, mut after) = (by_key(before), by_key(after));
    let changed = change.changes.iter().filter(|object| object.action != Action::Unchanged);
    changed
        .map(|object| Difference {
            key: object.key.clone(),
            action: object.action,
            before: before.remove(&object.key),
            after: after.remove(&object.key).map(|value| with_namespace(value, &object.key)),
        })
        .collect()
}

/// The stored object has its namespace written out; a document that leaves it to the default does not differ in that.
fn with_namespace(mut value: Value, key: &Key) -> Value {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(metadata), true) = (metadata, key.kind.namespaced()) {
        metadata.entry("namespace").or_insert_with(|| key.namespace.clone().into());
    }
    value
}

fn render(difference: &Difference) -> Vec<Text> {
    let yaml = |value: &Option<Value>| {
        value.as_ref().map(|value| resources::to_yaml(std::slice::from_ref(value))).unwrap_or_default()
    };
    let (before, after) = (yaml(&difference.before), yaml(&difference.after));
    let mut lines = vec![Text::styled(difference.key.to_string(), BOLD)];
    let diff = TextDiff::from_lines(&before, &after);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        lines.push(Text::styled(hunk.header().to_string(), CALM));
        for line in hunk.iter_changes() {
            let content = line.value().trim_end_matches('\n');
            lines.push(match line.tag() {
                ChangeTag::Delete => Text::styled(format!("-{content}"), BAD),
                ChangeTag::Insert => Text::styled(format!("+{content}"), GOOD),
                ChangeTag::Equal => format!(" {content}").into(),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weft_control_plane::{admin_api::ObjectChange, resources::Kind};

    use super::*;

    fn route(weight: u32) -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
               "metadata": {"name": "orders", "namespace": "shop"},
               "spec": {"rules": [{"backendRefs": [{"name": "orders-v1", "weight": weight}]}]}})
    }

    #[test]
    fn only_the_lines_that_change_are_marked() {
        let key = Key::new(Kind::HttpRoute, "shop", "orders");
        let change = Change {
            revision: 1,
            dry_run: true,
            changes: vec![ObjectChange { key, action: Action::Changed }],
            warnings: Vec::new(),
        };
        let mut after = route(90);
        after["metadata"].as_object_mut().unwrap().remove("namespace");
        let found = differences(&change, vec![route(100)], vec![after], "shop");
        let text: String = render(&found[0]).iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let text = anstream::adapter::strip_str(&text).to_string();
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with(['+', '-'])).map(str::trim_end).collect();
        assert_eq!(marked.len(), 2, "{text}");
        assert!(marked[0].contains("100") && marked[1].contains("90"), "{text}");
        assert!(text.starts_with("HTTPRoute shop/orders\n"));
    }

    #[test]
    fn what_stays_is_not_shown() {
        let key = Key::new(Kind::HttpRoute, "shop", "orders");
        let changes = vec![ObjectChange { key, action: Action::Unchanged }];
        let change = Change { revision: 1, dry_run: true, changes, warnings: Vec::new() };
        assert!(differences(&change, vec![route(1)], vec![route(1)], "shop").is_empty());
    }
}
