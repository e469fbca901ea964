//! A compose project as `docker compose config --format json` prints it: merged, with its variables replaced.
//!
//! It is somebody else's format, which grows: what weft does not ask for is kept as it is, and never refused.

use std::{collections::BTreeMap, io, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    engine::{self, DockerError},
    plan::Images,
    ports::Exposed,
};

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Project {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    #[serde(default)]
    pub networks: BTreeMap<String, Value>,
    #[serde(default)]
    pub volumes: BTreeMap<String, Value>,
    #[serde(default)]
    pub configs: BTreeMap<String, Value>,
}

/// A service's fields. `$` is written as `$$` in them, as in any compose file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Service(Map<String, Value>);

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("cannot read the model from {from}: {source}")]
    Read { from: String, source: io::Error },
    #[error("{from} is not what `docker compose config --format json` prints: {reason}")]
    NotAModel { from: String, reason: String },
}

/// Asks docker for the project that is made of `files`, or of those that it finds by itself.
///
/// # Errors
/// Docker or its compose plugin is missing, or does not accept the files: with its own message.
pub async fn of_files(files: &[PathBuf]) -> Result<Project, ProjectError> {
    let mut args = vec!["compose".into()];
    for file in files {
        args.extend(["-f".into(), file.clone().into_os_string()]);
    }
    args.extend(["--profile", "*", "config", "--format", "json"].map(Into::into));
    let said = engine::docker(&args).await?;
    read("the output of docker", &said.stdout)
}

/// Reads a model that somebody else has had docker print.
///
/// # Errors
/// It cannot be read, or is something else.
pub fn of_model(path: &PathBuf) -> Result<Project, ProjectError> {
    let (from, text) = match path.as_os_str() == "-" {
        true => ("standard input".to_owned(), io::read_to_string(io::stdin())),
        false => (path.display().to_string(), std::fs::read_to_string(path)),
    };
    match text {
        Ok(text) => read(&from, text.as_bytes()),
        Err(source) => Err(ProjectError::Read { from, source }),
    }
}

fn read(from: &str, json: &[u8]) -> Result<Project, ProjectError> {
    let fail = |reason: String| ProjectError::NotAModel { from: from.to_owned(), reason };
    let project: Project = serde_json::from_slice(json).map_err(|error| fail(error.to_string()))?;
    if project.services.is_empty() {
        return Err(fail("there is no service in it".to_owned()));
    }
    match project.services.keys().find(|name| !is_compose_name(name)) {
        Some(name) => Err(fail(format!("{name:?} is not the name of a service"))),
        None => Ok(project),
    }
}

/// What compose lets services be called; all else is refused, since the names come to stand in a file.
fn is_compose_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.bytes().all(inner)
}

/// What the images of `services` expose, as far as docker has them here.
pub async fn exposed(services: impl Iterator<Item = (&String, &Service)>, project: &str) -> Images {
    let mut found = BTreeMap::new();
    for (name, service) in services {
        let image = service.text("image").map_or_else(|| format!("{project}-{name}"), ToOwned::to_owned);
        let args = ["image", "inspect", "--format", "{{json .Config.ExposedPorts}}", "--", &image];
        match engine::docker(&args).await {
            Ok(said) => {
                let ports: Option<Map<String, Value>> = serde_json::from_slice(&said.stdout).unwrap_or_default();
                let ports = ports.unwrap_or_default();
                found.insert(name.clone(), Exposed::of(ports.keys().map(String::as_str)));
            }
            // Without docker there is no image at all to ask about.
            Err(DockerError::Missing | DockerError::Unreachable(_)) => break,
            Err(_) => {}
        }
    }
    found
}

impl Service {
    /// The field, if it is set to something.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        self.0.get(name).filter(|value| !empty(value))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.field(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The service's networks with its settings in each. A service that names none is on `default`.
    pub fn networks(&self) -> BTreeMap<String, Value> {
        let named = self.field("networks").and_then(Value::as_object);
        let named = named.map(|networks| networks.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        named.unwrap_or_else(|| BTreeMap::from([("default".to_owned(), Value::Null)]))
    }

    /// How many containers of it there are to be.
    pub fn instances(&self) -> u64 {
        let replicas = || self.field("deploy")?.get("replicas");
        self.field("scale").or_else(replicas).and_then(Value::as_u64).unwrap_or(1)
    }

    pub fn depends_on(&self) -> impl Iterator<Item = &String> {
        self.field("depends_on").and_then(Value::as_object).into_iter().flat_map(Map::keys)
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.field("labels")?.get(name)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_model_is_refused_with_the_reason() {
        for (text, reason) in [
            ("services: {}", "expected value"),
            ("{}", "no service"),
            (r#"{"services": {"a\nb": {}}}"#, "not the name of a service"),
            (r#"{"services": {"a": 1}}"#, "invalid type"),
        ] {
            let error = read("m.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("m.json is not what") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn fields_that_weft_does_not_know_are_kept_and_missing_ones_have_composes_defaults() {
        let text = r#"{"name": "shop", "x-a": 1, "services": {"a": {"image": "i", "new": [1], "command": null}}}"#;
        let project = read("-", text.as_bytes()).unwrap();
        let service = &project.services["a"];
        assert_eq!(service.text("image"), Some("i"));
        assert_eq!(service.list("new").len(), 1);
        assert_eq!((service.field("command"), service.instances()), (None, 1));
        assert_eq!(service.networks().keys().collect::<Vec<_>>(), ["default"]);
    }
}
