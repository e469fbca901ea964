//! `weft docker init`: reads a compose project, shows what it would do, and writes the override file.
//!
//! [`super::project`] reads, [`super::plan`] decides, [`super::write`] makes the text.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use weft_proxy_api::name::is_label;

use super::{
    plan::{self, Choices, Plan, Rejection},
    project::{self, ProjectError},
    summary, write,
};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Format},
};

pub const EXAMPLES: &str = "\
Examples:
  weft docker init --dry-run                         see what it would do
  weft docker init && docker compose -f compose.yaml -f compose.weft.yaml up -d
  weft docker init --only front --only orders --port orders=8080,9090 --calls-only worker
  docker compose --profile '*' config --format json > model.json, then where weft is: weft docker init --model model.json

The project's own files stay as they are: without compose.weft.yaml there is no mesh. Its identities and rules stay
in the volumes that are named in that file, until `docker volume rm`.";

#[derive(Debug, Args)]
pub struct Init {
    /// A compose file of the project, as for `docker compose -f` (repeatable) [default: what docker compose finds]
    #[arg(long = "file", short, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What `docker compose config --format json` has printed, where there is no docker: a file, or - for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "files")]
    model: Option<PathBuf>,

    /// Give a sidecar to this service, and to no other that is not named (repeatable)
    #[arg(long, value_name = "SERVICE")]
    only: Vec<String>,

    /// Give none to this service (repeatable)
    #[arg(long, value_name = "SERVICE")]
    exclude: Vec<String>,

    /// On which ports a service listens, where neither project nor image says it right (repeatable)
    #[arg(long = "port", value_name = "SERVICE=PORT[,PORT]", value_parser = service_ports)]
    ports: Vec<(String, Vec<u16>)>,

    /// A service that serves nothing, and only calls others (repeatable)
    #[arg(long, value_name = "SERVICE")]
    calls_only: Vec<String>,

    /// Let sidecars reach each other on a network that all of them share, whatever networks keep their services apart
    #[arg(long)]
    shared_network: bool,

    /// The image of weft
    #[arg(long, value_name = "IMAGE", default_value = concat!("weft:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// The file to write, or - for standard output
    #[arg(long, value_name = "FILE|-", default_value = "compose.weft.yaml")]
    write: PathBuf,

    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Write over a file that is there and has another content
    #[arg(long)]
    force: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Init {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let to_stdout = self.write.as_os_str() == "-";
        if to_stdout && flags.output != Format::Table {
            return Err(Failure::Usage(
                "--write - and --output both write to standard output: use one of them".to_owned(),
            ));
        }
        let namespace = flags.namespace();
        if !is_label(namespace) {
            let reason = "a namespace is a DNS label: lower-case letters, digits and -";
            return Err(Failure::Usage(format!("--namespace {namespace}: {reason}")));
        }
        let plan = self.plan().await?;
        // Where the text goes to standard output, the file has the name that it is meant for.
        let file = if to_stdout { "compose.weft.yaml".to_owned() } else { self.write.display().to_string() };
        let setting = write::Setting { image: &self.image, namespace, files: &self.own_files(), file: &file };
        let text = write::text(&plan, &setting);
        let shown = self.dry_run.then_some(text.as_str());
        let summary = summary::of(&plan, &file, &self.image, shown);
        match flags.output {
            Format::Table => output::aside(&summary::table(&summary)),
            other => output::show(other, &summary, summary::table)?,
        }
        match (self.dry_run || to_stdout, flags.output) {
            (true, Format::Table) => output::data(&text)?,
            (true, _) => {}
            (false, _) => self.put(&file, &text, &setting)?,
        }
        Ok(Exit::Done)
    }

    async fn plan(&self) -> Result<Plan, Failure> {
        let project = match &self.model {
            Some(model) => project::of_model(model),
            None => project::of_files(&self.files).await,
        };
        let project = project.map_err(failure)?;
        let choices = self.choices();
        let images = project::exposed(plan::asked(&project, &choices), &project.name).await;
        plan::decide(&project, &choices, &images).map_err(|rejection| match rejection {
            Rejection::Usage(reason) => Failure::Usage(reason),
            Rejection::Problems(problems) => Failure::Refused(problems),
        })
    }

    fn choices(&self) -> Choices {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let mut choices = Choices {
            only: set(&self.only),
            exclude: set(&self.exclude),
            calls_only: set(&self.calls_only),
            shared_network: self.shared_network,
            ..Choices::default()
        };
        for (service, ports) in &self.ports {
            let all = choices.ports.entry(service.clone()).or_default();
            all.extend(ports.iter().filter(|port| !all.contains(port)).copied().collect::<Vec<_>>());
        }
        choices
    }

    /// The project's files as `docker compose -f` needs them: once one is named, it looks for no other.
    fn own_files(&self) -> Vec<String> {
        if !self.files.is_empty() {
            return self.files.iter().map(|file| file.display().to_string()).collect();
        }
        // docker goes by it, too.
        if let Some(files) = std::env::var("COMPOSE_FILE").ok().filter(|files| !files.is_empty()) {
            return files.split(':').map(ToOwned::to_owned).collect();
        }
        let found = |names: &[&str]| names.iter().find(|name| Path::new(name).exists()).map(|name| (*name).to_owned());
        let first = found(&["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"]);
        let more = [
            "compose.override.yml",
            "compose.override.yaml",
            "docker-compose.override.yml",
            "docker-compose.override.yaml",
        ];
        let first = first.unwrap_or_else(|| "compose.yaml".to_owned());
        [first].into_iter().chain(found(&more)).collect()
    }

    /// Writes the file, unless it says so already, or somebody says no.
    fn put(&self, file: &str, text: &str, setting: &write::Setting<'_>) -> Result<(), Failure> {
        let there = match fs::read_to_string(&self.write) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot read {file}")).into()),
        };
        if there.as_deref() == Some(text) {
            output::notice(format!("{file} says this already."));
            return Ok(());
        }
        if let Some(there) = there.filter(|_| !self.force) {
            let whose = if there.starts_with(write::FIRST_LINE) {
                "weft has written it, with another content"
            } else {
                "weft has not written it"
            };
            return Err(anyhow::anyhow!("{file} is there, and {whose}: see it, and write over it with --force").into());
        }
        if !self.yes && !agreed(file)? {
            output::notice("Nothing is written.");
            return Ok(());
        }
        whole(&self.write, text).with_context(|| format!("cannot write {file}"))?;
        let files: Vec<_> = setting.files.iter().map(|file| format!("-f {file} ")).collect();
        output::notice(format!("{file} is written. Next: docker compose {}-f {file} up -d", files.concat()));
        Ok(())
    }
}

/// Asks, where somebody is there to answer.
fn agreed(file: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    let question = output::Text::from(format!("Write {file}? [y/N] "));
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_str().as_bytes())?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)))
}

/// All of the file, or nothing of it: it is written beside its place, and then moved there.
fn whole(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let readable = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".compose.weft.").permissions(readable).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn failure(error: ProjectError) -> Failure {
    match error {
        ProjectError::Docker(error) => Failure::Docker(error),
        other => Failure::Other(other.into()),
    }
}

fn service_ports(text: &str) -> Result<(String, Vec<u16>), String> {
    let (service, ports) =
        text.split_once('=').filter(|(service, _)| !service.is_empty()).ok_or("expected SERVICE=PORT")?;
    let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
    let ports: Option<Vec<u16>> = ports.split(',').map(port).collect();
    Ok((service.to_owned(), ports.ok_or("a port is a number from 1 to 65535")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_by_service() {
        assert_eq!(service_ports("orders=8080,9090").unwrap(), ("orders".to_owned(), vec![8080, 9090]));
        for bad in ["orders", "=80", "orders=", "orders=0", "orders=80,", "orders=http"] {
            assert!(service_ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compose.weft.yaml");
        whole(&path, "a").unwrap();
        whole(&path, "b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(whole(&folder.path().join("missing/x"), "a").is_err());
    }
}
