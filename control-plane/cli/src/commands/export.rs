//! `weft export`: everything that `weft apply` needs to make the same rules again.

use clap::Args;
use weft_control_plane::resources;

use super::objects;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Format, Table},
};

pub const EXAMPLES: &str = "\
Examples:
  weft export > mesh.yaml
  weft export --revision 12 > before.yaml
  weft --config a/admin.yaml export | weft --config b/admin.yaml apply -f -";

#[derive(Debug, Args)]
pub struct Export {
    /// The resources as they were at this revision
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

impl Export {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let items = objects::fetch(&flags.admin()?, self.revision).await?;
        match flags.output {
            Format::Json => output::show(Format::Json, &items, |_| Table::default())?,
            // A table could not be applied.
            Format::Yaml | Format::Table => output::data(&resources::to_yaml(&items))?,
        }
        Ok(Exit::Done)
    }
}
