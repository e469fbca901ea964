//! What the commands that write have in common: who says they are the author, and how a change is shown.

use clap::Args;
use weft_control_plane::{
    admin_api::{Action, Change, ObjectChange},
    resources::{self, Document},
};

use crate::{
    cli::ClientFlags,
    client::ClientError,
    exit::{Exit, Failure},
    output::{self, BAD, Cell, DIM, Format, GOOD, Table, WARN},
    problems,
};

/// What goes into the history with a change.
#[derive(Debug, Args)]
pub struct Authorship {
    /// Check and show what would change, without changing it
    #[arg(long)]
    pub dry_run: bool,

    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub message: String,

    /// Who; kept in the history (default: USER@HOST)
    #[arg(long, env = "WEFT_AUTHOR", value_name = "NAME", hide_env_values = true)]
    author: Option<String>,
}

impl Authorship {
    pub fn author(&self) -> String {
        let user =
            || std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".to_owned());
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.author.clone().unwrap_or_else(|| format!("{}@{}", user(), host()))
    }
}

/// Shows what a write of `documents` did, or would do. A program finds the warnings in the output itself.
pub fn show(flags: &ClientFlags, mut change: Change, documents: &[Document]) -> Result<Exit, Failure> {
    resources::place(&mut change.warnings, documents);
    if flags.output == Format::Table {
        problems::warn(&change.warnings);
    }
    output::show(flags.output, &change, table)?;
    Ok(Exit::Done)
}

/// Puts the problems that the control plane found to their places in the files.
pub fn refused(error: ClientError, documents: &[Document]) -> Failure {
    match error {
        ClientError::Invalid(mut api) => {
            resources::place(&mut api.problems, documents);
            Failure::Refused(api.problems)
        }
        other => Failure::Client(other),
    }
}

/// `HTTPRoute shop/orders changed`
pub fn in_words(change: &ObjectChange) -> String {
    format!("{} {}", change.key, word(change.action))
}

fn table(change: &Change) -> Table {
    let mut table = Table::new(&["RESOURCE", "CHANGE"], "");
    for object in &change.changes {
        table.row([object.key.to_string().into(), Cell::styled(word(object.action), style(object.action))]);
    }
    let changed = change.changes.iter().any(|object| object.action != Action::Unchanged);
    table.line(match (changed, change.dry_run) {
        (true, true) => format!("dry run: nothing was changed, the revision stays {}", change.revision),
        (true, false) => format!("revision {}", change.revision),
        (false, _) => format!("nothing to change, the revision stays {}", change.revision),
    });
    table
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Created => "created",
        Action::Changed => "changed",
        Action::Deleted => "deleted",
        Action::Unchanged => "unchanged",
    }
}

fn style(action: Action) -> anstyle::Style {
    match action {
        Action::Created => GOOD,
        Action::Changed => WARN,
        Action::Deleted => BAD,
        Action::Unchanged => DIM,
    }
}
