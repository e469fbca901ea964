//! `weft get`: resources as they were written.

use clap::Args;
use serde_json::Value;
use weft_control_plane::resources::{self, Key, Manifest, Problem};

use super::objects;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure, count},
    output::{self, BAD, Cell, Format, GOOD, Table, WARN},
};

pub const EXAMPLES: &str = "\
Examples:
  weft get                             all, of all namespaces
  weft get httproutes -n shop
  weft get TrafficPolicy orders -o yaml
  weft get --revision 3                as they were";

#[derive(Debug, Args)]
pub struct Get {
    /// The kind: HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, MeshService, TrafficPolicy, AccessPolicy, RateLimitPolicy or
    /// MeshConfig; small letters and plurals do
    kind: Option<String>,

    /// The name, or NAMESPACE/NAME
    name: Option<String>,

    /// The resources as they were at this revision
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

impl Get {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let kind = self.kind.as_deref().map(objects::kind).transpose()?;
        let (namespace, name) = match self.name.as_deref().map(objects::split) {
            Some((namespace, name)) => (namespace.or(flags.namespace.as_deref()), Some(name)),
            None => (flags.namespace.as_deref(), None),
        };
        let wanted = |key: &Key| {
            kind.is_none_or(|kind| kind == key.kind)
                && name.is_none_or(|name| name == key.name)
                && namespace.is_none_or(|namespace| namespace == key.namespace || !key.kind.namespaced())
        };
        let all = objects::fetch_all(&flags.admin()?, self.revision).await?;
        let found: Vec<(Key, Value)> = all
            .items
            .iter()
            .map(Manifest::value)
            .filter_map(|item| Some((objects::key(&item, flags.namespace())?, item)))
            .filter(|(key, _)| wanted(key))
            .collect();
        if let (true, Some(kind), Some(name)) = (found.is_empty(), kind, &self.name) {
            return Err(Failure::Other(anyhow::anyhow!(
                "there is no {kind} {name}; `weft get {kind}` lists those that are there"
            )));
        }
        // How something stood in the past is not known.
        let problems = self.revision.is_none().then_some(all.problems.as_slice());
        show(flags.output, found, problems)?;
        Ok(Exit::Done)
    }
}

fn show(format: Format, found: Vec<(Key, Value)>, problems: Option<&[Problem]>) -> std::io::Result<()> {
    match format {
        Format::Yaml => output::data(&resources::to_yaml(&values(found))),
        Format::Table | Format::Json => {
            let table = table(&found, problems);
            output::show(format, &values(found), |_| table)
        }
    }
}

fn values(found: Vec<(Key, Value)>) -> Vec<Value> {
    found.into_iter().map(|(_, value)| value).collect()
}

fn table(found: &[(Key, Value)], problems: Option<&[Problem]>) -> Table {
    let mut table = Table::new(&["KIND", "NAMESPACE", "NAME", "CONCERNS", "STATUS"], "no resources");
    for (key, value) in found {
        table.row([
            key.kind.name().into(),
            Cell::optional(Some(key.namespace.as_str()).filter(|namespace| !namespace.is_empty())),
            key.name.as_str().into(),
            Cell::optional(concerns(value)),
            problems.map_or(Cell::optional(None::<String>), |problems| status(key, problems)),
        ]);
    }
    table
}

/// Whether the object has its effect. What else is wrong with it is told by `weft status`.
fn status(key: &Key, problems: &[Problem]) -> Cell {
    let name = key.to_string();
    let own: Vec<&Problem> = problems.iter().filter(|problem| problem.object.as_ref() == Some(&name)).collect();
    if let Some(winner) = own.iter().find_map(|problem| problem.conflicts_with.as_ref()) {
        return Cell::styled(format!("conflicted: {winner} holds"), WARN);
    }
    match own.iter().filter(|problem| problem.is_error()).count() {
        0 => Cell::styled("accepted", GOOD),
        errors => Cell::styled(format!("accepted, {}", count(errors, "problem")), BAD),
    }
}

/// What the object is attached to, as far as it is attached to something.
fn concerns(value: &Value) -> Option<String> {
    let spec = value.get("spec")?;
    let parents = spec.get("parentRefs").and_then(Value::as_array).into_iter().flatten();
    let references: Vec<_> = parents.chain(spec.get("targetRef")).filter_map(reference).collect();
    Some(references.join(", ")).filter(|text| !text.is_empty())
}

fn reference(value: &Value) -> Option<String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let namespace = text("namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
    Some(format!("{} {namespace}{}", text("kind")?, text("name")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whether_an_object_has_its_effect_is_shown() {
        let key = |name: &str| Key::new(resources::Kind::TrafficPolicy, "shop", name);
        let problem = |name: &str| Problem { object: Some(key(name).to_string()), ..Problem::new("spec", "why") };
        let problems = [
            Problem { conflicts_with: Some("TrafficPolicy shop/a".into()), ..problem("b").warning() },
            problem("c"),
            problem("d").warning(),
        ];
        let found: Vec<(Key, Value)> = ["a", "b", "c", "d"].map(|name| (key(name), json!({}))).into();
        let text = anstream::adapter::strip_str(&table(&found, Some(&problems)).render()).to_string();
        let states: Vec<&str> =
            text.lines().skip(1).filter_map(|line| line.split_once("-  ")).map(|(_, it)| it.trim()).collect();
        assert_eq!(states, ["accepted", "conflicted: TrafficPolicy shop/a holds", "accepted, 1 problem", "accepted"]);
        assert!(!table(&found, None).render().contains("accepted"));
    }

    #[test]
    fn what_an_object_concerns_is_shown() {
        let route = json!({"spec": {"parentRefs": [{"kind": "Service", "name": "orders"}, {"kind": "Service", "name": "b", "namespace": "x"}]}});
        assert_eq!(concerns(&route).unwrap(), "Service orders, Service x/b");
        let policy = json!({"spec": {"targetRef": {"kind": "MeshService", "name": "orders-v2"}}});
        assert_eq!(concerns(&policy).unwrap(), "MeshService orders-v2");
        assert_eq!(concerns(&json!({"spec": {"accessLog": true}})), None);
    }
}
