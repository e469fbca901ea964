//! Asks the engine for the containers of a mesh, and for what they have said.

use super::{
    containers::{self, Container},
    engine::{self, DockerError},
    names,
};

/// Every container of the mesh, of all projects or of one, and those that stand beside them in these projects.
///
/// # Errors
/// Docker is missing, or its engine does not answer.
pub async fn containers(project: Option<&str>) -> Result<Vec<Container>, DockerError> {
    let of_project = |name: &str| format!("label=com.docker.compose.project={name}");
    let mut filters = vec![format!("label={}", names::ROLE)];
    filters.extend(project.map(of_project));
    let mesh = inspected(&filters).await?;
    let mut projects: Vec<_> = mesh.iter().filter_map(|container| container.project.clone()).collect();
    projects.sort();
    projects.dedup();
    let mut all = mesh;
    for project in projects {
        // A program that is run once (`docker compose run`) is no part of the project's services.
        let beside = inspected(&[of_project(&project), "label=com.docker.compose.oneoff=False".to_owned()]).await?;
        let new: Vec<_> = beside.into_iter().filter(|one| all.iter().all(|known| known.id != one.id)).collect();
        all.extend(new);
    }
    // A sidecar by hand can be in the network of a container that neither a label nor a project tells of.
    let within: Vec<_> = all.iter().filter_map(|container| container.within.clone()).collect();
    for id in within {
        if all.iter().all(|known| known.id != id)
            && let Some(holder) = one(&id).await?
        {
            all.push(holder);
        }
    }
    all.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    Ok(all)
}

/// One that goes in the moment between the two questions is asked about again.
async fn inspected(filters: &[String]) -> Result<Vec<Container>, DockerError> {
    let mut args = vec!["ps", "--all", "--quiet", "--no-trunc"];
    for filter in filters {
        args.extend(["--filter", filter]);
    }
    let mut attempts = 3;
    loop {
        let listed = engine::docker(&args).await?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let ids: Vec<_> = listed.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        attempts -= 1;
        match engine::docker(&[&["inspect", "--type", "container"], ids.as_slice()].concat()).await {
            Ok(said) => return containers::read(&said.stdout).map_err(unreadable),
            Err(DockerError::Failed { message, .. }) if attempts > 0 && message.contains("No such") => {}
            Err(error) => return Err(error),
        }
    }
}

async fn one(id: &str) -> Result<Option<Container>, DockerError> {
    match engine::docker(&["inspect", "--type", "container", id]).await {
        Ok(said) => Ok(containers::read(&said.stdout).map_err(unreadable)?.pop()),
        Err(DockerError::Failed { message, .. }) if message.contains("No such") => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(error: serde_json::Error) -> DockerError {
    DockerError::Unreadable { what: "inspect".to_owned(), reason: error.to_string() }
}

/// The last lines of a container's log, of both of its streams. Not every log can be read, and none has to be.
pub async fn log(container: &Container) -> Option<String> {
    let said = engine::docker(&["logs", "--tail", "20", &container.id]).await.ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Standard error is where everything of weft logs: its last line counts.
    Some(text(&said.stdout) + "\n" + &text(&said.stderr))
}
