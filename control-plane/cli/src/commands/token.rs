//! `weft token`: join tokens, by which workloads prove themselves at first contact; shown, or put where sidecars find them.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use weft_certs::file;
use weft_control_plane::admin_api::{Token as Made, TokenRequest};
use weft_proxy::redirect::PROXY_USER;

use super::time;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Format, Table},
};

const EXAMPLES: &str = "\
Examples:
  weft token create --service-account orders                  one workload, within 10 minutes
  weft token create --service-account orders --uses 20 --ttl 1h --namespace shop
  weft token create --service-account orders > token && weft proxy --join-token-file token …

The token is shown once. On a terminal its properties go to standard error, the token alone to standard output.";

const WRITE_EXAMPLES: &str = "\
Examples:
  weft token write orders=/join/orders carts=/join/carts
  weft proxy --trust-anchor /join/orders/trust-anchor.pem --join-token-file /join/orders/join-token …

Each folder gets the files join-token and trust-anchor.pem, readable by their owner only.";

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a join token for workloads of one service account
    #[command(after_help = EXAMPLES)]
    Create(Create),
    /// Make join tokens for several sidecars, each into a folder of its own beside the trust anchor
    #[command(after_help = WRITE_EXAMPLES)]
    Write(Write),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The service account that the workloads run as: the last part of their SPIFFE ID
    #[arg(long, value_name = "NAME")]
    service_account: String,

    /// A service that they may register (repeatable) [default: the one with the account's name]
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,

    /// How long the token can be used
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    ttl: Duration,

    /// How many workloads may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
}

#[derive(Debug, Args)]
pub struct Write {
    /// A service account, and the folder that its sidecar starts from
    #[arg(required = true, value_name = "ACCOUNT=FOLDER", value_parser = account)]
    folders: Vec<(String, PathBuf)>,

    /// How long the tokens can be used
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    ttl: Duration,

    /// Whose the folders and files become, when root writes them
    #[arg(long, value_name = "UID", default_value_t = PROXY_USER)]
    owner: u32,
}

fn account(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((account, folder)) if !account.is_empty() && !folder.is_empty() => Ok((account.into(), folder.into())),
        _ => Err("expected ACCOUNT=FOLDER".to_owned()),
    }
}

impl Token {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.execute(flags).await,
            Self::Write(write) => write.execute(flags).await,
        }
    }
}

impl Write {
    async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let admin = flags.admin()?;
        for (account, folder) in &self.folders {
            let request = TokenRequest {
                namespace: flags.namespace().to_owned(),
                service_account: account.clone(),
                services: Vec::new(),
                ttl_seconds: self.ttl.as_secs(),
                uses: 1,
            };
            let made: Made = admin.post("/v1/tokens", &request).await?;
            self.put(folder, &made.token, &admin.credentials().trust_anchor)?;
            let expires = time::until(made.expires, Timestamp::now());
            output::line(format!("{}: {}, expires {expires}", folder.display(), made.spiffe_id))?;
        }
        Ok(Exit::Done)
    }

    fn put(&self, folder: &Path, token: &str, trust_anchor: &str) -> anyhow::Result<()> {
        let cannot = |what: &Path| format!("cannot write {}", what.display());
        file::create_private_dir(folder).with_context(|| cannot(folder))?;
        let files = [("join-token", token), ("trust-anchor.pem", trust_anchor)];
        for (name, text) in files {
            let path = folder.join(name);
            file::write_private(&path, text.as_bytes()).with_context(|| cannot(&path))?;
            self.give(&path)?;
        }
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).with_context(|| cannot(folder))?;
        self.give(folder)
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        chown(path, Some(self.owner), Some(self.owner))
            .with_context(|| format!("cannot give {} to the user {}", path.display(), self.owner))
    }
}

impl Create {
    async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let request = TokenRequest {
            namespace: flags.namespace().to_owned(),
            service_account: self.service_account,
            services: self.services,
            ttl_seconds: self.ttl.as_secs(),
            uses: self.uses,
        };
        let made: Made = flags.admin()?.post("/v1/tokens", &request).await?;
        match flags.output {
            Format::Table => {
                let expires = time::until(made.expires, Timestamp::now());
                let Made { spiffe_id, uses, .. } = &made;
                output::notice(format!("for {spiffe_id}, uses: {uses}, expires {expires}"));
                output::line(made.token)?;
            }
            other => output::show(other, &made, |_| Table::new(&[], ""))?,
        }
        Ok(Exit::Done)
    }
}
