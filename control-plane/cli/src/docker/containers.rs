//! The containers of a mesh as `docker inspect` describes them, without what nobody here asks for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names;

/// What a container of the mesh is for, as its label `dev.weft.role` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    ControlPlane,
    Join,
    Network,
    Sidecar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    /// `None`: a program, or something else that is not the mesh's.
    pub role: Option<Role>,
    /// The service in the mesh that it belongs to.
    pub service: Option<String>,
    /// Its compose project, and its service there.
    pub project: Option<String>,
    pub compose_service: Option<String>,
    /// The files of the project.
    pub files: Vec<String>,
    /// `created`, `running`, `restarting`, `exited` and so on.
    pub status: String,
    pub exit_code: i64,
    /// Why the engine could not start it.
    pub error: Option<String>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub health: Option<Health>,
    pub restarts: u64,
    /// The id of the container whose network it is in.
    pub within: Option<String>,
    pub networks: BTreeSet<String>,
    /// What tells versions of a service apart: `WEFT_LABEL` of a sidecar.
    pub labels: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub status: String,
    /// What the last check printed.
    pub said: Option<String>,
}

impl Role {
    pub fn text(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Join => "join",
            Self::Network => "network",
            Self::Sidecar => "sidecar",
        }
    }

    fn of(text: &str) -> Option<Self> {
        let all = [Self::ControlPlane, Self::Join, Self::Network, Self::Sidecar];
        all.into_iter().find(|role| role.text() == text)
    }

    /// It does one thing, and ends.
    pub fn ends(self) -> bool {
        matches!(self, Self::Join)
    }
}

impl Container {
    pub fn running(&self) -> bool {
        self.status == "running"
    }

    pub fn health(&self) -> Option<&str> {
        self.health.as_ref().map(|health| health.status.as_str())
    }
}

/// Reads what `docker inspect` prints.
///
/// # Errors
/// It is not a list of containers.
pub fn read(json: &[u8]) -> Result<Vec<Container>, serde_json::Error> {
    let inspected: Vec<Inspected> = serde_json::from_slice(json)?;
    Ok(inspected.into_iter().map(Container::from).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    #[serde(default)]
    restart_count: u64,
    config: Config,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
    health: Option<InspectedHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHealth {
    status: String,
    log: Option<Vec<Checked>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checked {
    #[serde(default)]
    output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, serde_json::Value>>,
}

impl From<Inspected> for Container {
    fn from(inspected: Inspected) -> Self {
        let Inspected { id, name, state, restart_count, config, host_config, network_settings } = inspected;
        let labels = config.labels.unwrap_or_default();
        let label = |name: &str| labels.get(name).filter(|text| !text.is_empty()).cloned();
        let files = label("com.docker.compose.project.config_files").unwrap_or_default();
        let mut variables = config.env.iter().flatten();
        Self {
            id,
            name: name.trim_start_matches('/').to_owned(),
            image: config.image,
            role: label(names::ROLE).and_then(|role| Role::of(&role)),
            service: label(names::SERVICE),
            project: label("com.docker.compose.project"),
            compose_service: label("com.docker.compose.service"),
            files: files.split(',').filter(|file| !file.is_empty()).map(ToOwned::to_owned).collect(),
            status: state.status,
            exit_code: state.exit_code,
            error: Some(state.error).filter(|text| !text.is_empty()),
            started: time(&state.started_at),
            finished: time(&state.finished_at),
            health: state.health.map(Health::from).filter(|health| health.status != "none"),
            restarts: restart_count,
            within: host_config.network_mode.strip_prefix("container:").map(ToOwned::to_owned),
            networks: network_settings.networks.unwrap_or_default().into_keys().collect(),
            labels: variables.find_map(|variable| variable.strip_prefix("WEFT_LABEL=").map(ToOwned::to_owned)),
        }
    }
}

impl From<InspectedHealth> for Health {
    fn from(health: InspectedHealth) -> Self {
        let last = health.log.unwrap_or_default().pop().map(|checked| checked.output);
        let line = last.as_deref().and_then(|output| output.lines().rev().find(|line| !line.trim().is_empty()));
        Self { status: health.status, said: line.map(|line| line.trim().to_owned()) }
    }
}

/// The engine writes the year 1 for never.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_says_is_read() {
        let json = serde_json::json!([{
            "Id": "a1", "Name": "/shop-orders-weft-1", "RestartCount": 2, "Created": "x",
            "State": {
                "Status": "running", "ExitCode": 0, "Error": "", "StartedAt": "2026-11-27T13:20:33.950065291Z",
                "FinishedAt": "0001-01-01T00:00:00Z",
                "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "error: not ready\n\n"}]},
            },
            "Config": {
                "Image": "weft:0.1.0", "Env": ["A=b", "WEFT_LABEL=version=v1"],
                "Labels": {
                    "dev.weft.role": "sidecar", "dev.weft.service": "orders", "com.docker.compose.project": "shop",
                    "com.docker.compose.service": "orders-weft",
                    "com.docker.compose.project.config_files": "/a/compose.yaml,/a/compose.weft.yaml",
                },
            },
            "HostConfig": {"NetworkMode": "container:b2"},
            "NetworkSettings": {"Networks": {}},
        }, {
            "Id": "c3", "Name": "/x", "State": {"Status": "created"}, "Config": {"Labels": null},
            "NetworkSettings": {"Networks": {"shop_default": null}},
        }]);
        let read = read(json.to_string().as_bytes()).unwrap();
        let (sidecar, other) = (&read[0], &read[1]);
        assert_eq!((sidecar.name.as_str(), sidecar.role), ("shop-orders-weft-1", Some(Role::Sidecar)));
        assert_eq!((sidecar.service.as_deref(), sidecar.within.as_deref()), (Some("orders"), Some("b2")));
        assert_eq!(sidecar.health.as_ref().unwrap().said.as_deref(), Some("error: not ready"));
        assert_eq!((sidecar.started.is_some(), sidecar.finished), (true, None));
        assert_eq!(sidecar.files, ["/a/compose.yaml", "/a/compose.weft.yaml"]);
        assert_eq!(sidecar.labels.as_deref(), Some("version=v1"));
        assert_eq!((other.role, other.within.clone(), other.networks.len()), (None, None, 1));
    }
}
