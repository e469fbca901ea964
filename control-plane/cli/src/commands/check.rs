//! `weft check`: what can be known about files without a control plane, and with `--docker` about the mesh's containers.
//!
//! A service can also exist because a workload registers it, which no file tells; so a route to a service that is not
//! in the files is a warning here, where an apply refuses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use weft_control_plane::resources::{self, Document, Objects, Problem, Severity};
use weft_proxy_api::ServicePort;

use super::objects;
use crate::{
    cli::ClientFlags,
    docker,
    exit::{Exit, Failure, count},
    output::{self, Format, Table},
    problems, sources,
};

/// Of a service that is named without one.
const DEFAULT_PORT: u16 = 80;

pub const EXAMPLES: &str = "\
Examples:
  weft check -f rules/
  weft check -f rules/ --strict                 in CI: warnings fail, too
  weft check -f rules/ --service shop/orders    a service that workloads register
  weft check --docker                           the containers of the mesh on this machine
  weft check --docker --project shop

Exits with 3 when something would be refused, else with 1 when something is wrong with a container.";

#[derive(Debug, Args)]
pub struct Check {
    /// A file, a folder (its *.yaml and *.yml, with all below), or - for standard input (repeatable)
    #[arg(long = "file", short, required_unless_present = "docker", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,

    /// Look at the containers of the mesh: whether they run, are redirected, and stand to each other as they should
    #[arg(long)]
    docker: bool,

    /// Only those of one compose project
    #[arg(long, value_name = "NAME", requires = "docker")]
    project: Option<String>,

    /// A service that exists although no file names it: NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT (repeatable)
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,

    /// Fail on warnings
    #[arg(long)]
    strict: bool,
}

/// For programs: what the files and the containers have to say.
#[derive(Serialize)]
struct Both<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [Problem]>,
    #[serde(flatten)]
    docker: &'a docker::check::Checked,
}

impl Check {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        if !self.docker {
            return self.files(flags);
        }
        let found = if self.files.is_empty() { None } else { Some(self.found(flags)?) };
        let checked = docker::check::run(self.project.as_deref()).await?;
        match flags.output {
            Format::Table => {
                problems::warn(found.as_deref().unwrap_or_default());
                output::show(Format::Table, &(), |()| checked.table())?;
                checked.tell();
                output::notice(checked.summary());
            }
            format => output::show(format, &Both { files: found.as_deref(), docker: &checked }, |_| Table::default())?,
        }
        let refused = self.is_fatal(found.as_deref().unwrap_or_default());
        Ok(match (refused, checked.is_bad(self.strict)) {
            (true, _) => Exit::Refused,
            (false, true) => Exit::Unwell,
            (false, false) => Exit::Done,
        })
    }

    fn files(&self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let documents = self.documents()?;
        let found = self.placed(flags, &documents)?;
        let fatal = self.is_fatal(&found);
        match (flags.output, fatal) {
            (Format::Table, true) => return Err(Failure::Invalid(found)),
            (Format::Table, false) => {
                problems::warn(&found);
                output::line(format!("{}, no errors", count(documents.len(), "resource")))?;
            }
            (format, _) => output::show(format, &found, |_| Table::default())?,
        }
        Ok(if fatal { Exit::Refused } else { Exit::Done })
    }

    fn found(&self, flags: &ClientFlags) -> Result<Vec<Problem>, Failure> {
        self.placed(flags, &self.documents()?)
    }

    fn documents(&self) -> Result<Vec<Document>, Failure> {
        sources::read(&self.files).map_err(|failure| match failure {
            Failure::Refused(problems) => Failure::Invalid(problems),
            other => other,
        })
    }

    /// The problems, each at its place.
    fn placed(&self, flags: &ClientFlags, documents: &[Document]) -> Result<Vec<Problem>, Failure> {
        let mut found = self.problems(flags, documents)?;
        resources::place(&mut found, documents);
        Ok(found)
    }

    fn is_fatal(&self, found: &[Problem]) -> bool {
        found.iter().any(|problem| self.strict || problem.is_error())
    }

    /// What the files say for themselves, and about each other.
    fn problems(&self, flags: &ClientFlags, documents: &[Document]) -> Result<Vec<Problem>, Failure> {
        let values: Vec<_> = documents.iter().map(|document| document.value.clone()).collect();
        let objects = match resources::parse(&values, flags.namespace()) {
            Ok(objects) => objects,
            Err(problems) => return Ok(problems),
        };
        let objects: Objects = objects.into_iter().collect();
        let known = self.services.iter().map(|text| service_port(flags, text)).collect::<Result<BTreeSet<_>, _>>()?;
        let assumed =
            objects.iter().flat_map(|object| references(&object.manifest.value(), &object.key.namespace)).collect();
        Ok(told_apart(&objects, &known, &assumed, &values, flags.namespace()))
    }
}

/// What does not hold even if workloads register every service that is named is an error, all else a warning.
fn told_apart(
    objects: &Objects,
    known: &BTreeSet<ServicePort>,
    assumed: &BTreeSet<ServicePort>,
    values: &[Value],
    namespace: &str,
) -> Vec<Problem> {
    let certain = resources::check(objects, &known.union(assumed).cloned().collect());
    let index: BTreeMap<String, usize> = values
        .iter()
        .enumerate()
        .filter_map(|(index, value)| Some((objects::key(value, namespace)?.to_string(), index)))
        .collect();
    let mut problems = resources::check(objects, known);
    for problem in &mut problems {
        if !certain.contains(problem) {
            problem.severity = Severity::Warning;
        }
        let document = problem.object.as_ref().and_then(|object| index.get(object));
        problem.document = document.copied();
    }
    problems
}

/// Every service port that a document refers to.
fn references(value: &Value, namespace: &str) -> Vec<ServicePort> {
    const REFERENCES: [&str; 4] = ["parentRefs", "backendRefs", "backendRef", "targetRef"];
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let refers = REFERENCES.contains(&name.as_str());
                let own = refers.then(|| reference(value, namespace)).into_iter().flatten();
                own.chain(references(value, namespace))
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| references(item, namespace)).collect(),
        _ => Vec::new(),
    }
}

fn reference(value: &Value, namespace: &str) -> Vec<ServicePort> {
    let one = |value: &Value| {
        let namespace = value.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let port =
            value.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
        Some(ServicePort::new(namespace, value.get("name")?.as_str()?, port))
    };
    match value {
        Value::Array(items) => items.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// `orders`, `shop/orders` or `shop/orders:8080`.
fn service_port(flags: &ClientFlags, text: &str) -> Result<ServicePort, Failure> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => {
            (name, port.parse().map_err(|_| Failure::Usage(format!("{text:?}: the port is a number from 1 to 65535")))?)
        }
        None => (text, DEFAULT_PORT),
    };
    Ok(flags.service(name)?.port(port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reference_is_found() {
        let value = json!({"spec": {
            "parentRefs": [{"kind": "Service", "name": "a"}],
            "rules": [{"backendRefs": [{"name": "b", "port": 8080}, {"name": "c", "namespace": "x"}]}],
            "targetRef": {"name": "d"},
            "fallback": {"backendRef": {"name": "e", "port": 81}},
        }});
        let mut found: Vec<_> = references(&value, "shop").iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, ["shop/a:80", "shop/b:8080", "shop/d:80", "shop/e:81", "x/c:80"]);
    }
}
