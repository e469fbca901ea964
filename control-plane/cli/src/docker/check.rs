//! `weft check --docker`: what is wrong with the containers of a mesh, what they say of it, and what to do.

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    advice,
    containers::{Container, Role},
    findings::{self, Finding, Kind},
    mesh,
};
use crate::{
    exit::{Failure, count},
    output::{BAD, BOLD, Cell, DIM, GOOD, Table, Text, WARN, notice},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    containers: Vec<Row>,
    problems: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    project: Option<String>,
    role: Option<Role>,
    service: Option<String>,
    state: String,
    #[serde(skip)]
    style: Style,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trouble {
    container: String,
    project: Option<String>,
    service: Option<String>,
    /// `error`, or `warning` for what may be meant.
    severity: &'static str,
    reason: String,
    /// The last error that the container, or the engine for it, has written.
    said: Option<String>,
    advice: String,
}

/// Looks at the mesh of all projects, or of one.
///
/// # Errors
/// There is no docker, no engine, or nothing of a mesh.
pub async fn run(project: Option<&str>) -> Result<Checked, Failure> {
    let containers = mesh::containers(project).await?;
    if containers.is_empty() {
        let whose = project.map_or_else(|| "here".to_owned(), |project| format!("in the project {project}"));
        let hint =
            "`weft docker init` makes a file that adds them to a compose project, `docker compose up` starts them";
        return Err(
            anyhow::anyhow!("there is no container of a mesh {whose} (with the label dev.weft.role): {hint}").into()
        );
    }
    let found = findings::find(&containers, Timestamp::now());
    let mut problems = Vec::with_capacity(found.len());
    for finding in &found {
        problems.push(trouble(finding, &containers).await);
    }
    let bad = |container: &Container| found.iter().any(|one| !one.kind.is_notice() && one.container == container);
    let containers = containers.iter().map(|container| row(container, bad(container))).collect();
    Ok(Checked { containers, problems })
}

async fn trouble(finding: &Finding<'_>, containers: &[Container]) -> Trouble {
    let Finding { container, kind, reason } = finding;
    let said = said(container, *kind).await;
    Trouble {
        container: container.name.clone(),
        project: container.project.clone(),
        service: container.service.clone(),
        severity: if kind.is_notice() { "warning" } else { "error" },
        reason: reason.clone(),
        advice: advice::advise(finding, said.as_deref(), containers),
        said,
    }
}

/// What explains it: the engine's error, or else the container's own. Where the reason is in how containers stand
/// to each other, none does.
async fn said(container: &Container, kind: Kind) -> Option<String> {
    if !matches!(kind, Kind::Down | Kind::Unhealthy | Kind::Restarting | Kind::Failed | Kind::Starting) {
        return None;
    }
    if container.error.is_some() {
        return container.error.clone();
    }
    let log = mesh::log(container).await.unwrap_or_default();
    let health = container.health.as_ref().and_then(|health| health.said.as_deref());
    advice::telling(&log, health).map(ToOwned::to_owned)
}

fn row(container: &Container, bad: bool) -> Row {
    let state = match (container.status.as_str(), container.health()) {
        ("exited", _) if container.exit_code == 0 => "ended well".to_owned(),
        ("exited", _) => format!("ended with {}", container.exit_code),
        ("running", Some(health)) => health.to_owned(),
        (status, _) => status.to_owned(),
    };
    let style = match state.as_str() {
        _ if bad => BAD,
        "running" | "healthy" | "ended well" => GOOD,
        _ => WARN,
    };
    Row {
        name: container.name.clone(),
        project: container.project.clone(),
        role: container.role,
        service: container.service.clone(),
        state,
        style,
    }
}

impl Checked {
    /// Whether something is wrong; with `strict`, whether there is anything to say at all.
    pub fn is_bad(&self, strict: bool) -> bool {
        self.problems.iter().any(|problem| strict || problem.severity == "error")
    }

    pub fn table(&self) -> Table {
        let mut table = Table::new(&["CONTAINER", "PROJECT", "IS", "OF", "STATE"], "");
        for row in &self.containers {
            table.row([
                row.name.as_str().into(),
                Cell::optional(row.project.as_deref()),
                row.role.map_or_else(|| Cell::styled("a program", DIM), |role| role.text().into()),
                Cell::optional(row.service.as_deref()),
                Cell::styled(row.state.as_str(), row.style),
            ]);
        }
        table
    }

    /// Tells each problem on standard error: what, the container's own words, what to do.
    pub fn tell(&self) {
        for problem in &self.problems {
            let word = match problem.severity {
                "error" => Text::styled("error:", BAD),
                _ => Text::styled("warning:", WARN),
            };
            notice(
                word.and(" ").and_styled(format!("{}:", problem.container), BOLD).and(format!(" {}", problem.reason)),
            );
            if let Some(said) = &problem.said {
                notice(Text::styled("  it says: ", DIM).and(said));
            }
            notice(Text::styled("  do:      ", DIM).and(&problem.advice));
        }
    }

    pub fn summary(&self) -> String {
        let errors = self.problems.iter().filter(|problem| problem.severity == "error").count();
        let warnings = self.problems.len() - errors;
        format!(
            "{}, {}, {}",
            count(self.containers.len(), "container"),
            count(errors, "problem"),
            count(warnings, "warning")
        )
    }
}
