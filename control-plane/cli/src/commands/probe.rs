//! `weft probe`: the health check of a container, in an image that has no other program to ask with.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::Request;
use tokio::time::{Duration, timeout};

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output, plain_http,
};

/// An engine gives a health check some seconds.
const PATIENCE: Duration = Duration::from_secs(2);

pub const EXAMPLES: &str = "\
Examples:
  weft probe                        the sidecar here, or else the control plane
  weft probe sidecar --address 127.0.0.1:15021
  weft probe control-plane          at the address in admin.yaml
  weft probe network                whether `weft redirect --hold` has set the rules, and holds the network
  weft probe sidecar network        of a sidecar in such a network, which may have lost it

Exits with 0 when it is ready, with 1 and the reason when it is not.";

#[derive(Debug, Args)]
pub struct Probe {
    /// Whom to ask, one after the other [default: the sidecar, and the control plane where there is no sidecar]
    #[arg(value_name = "sidecar|control-plane|network", hide_possible_values = true)]
    whom: Vec<Whom>,

    /// Where the sidecar's admin port is
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15020")]
    address: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whom {
    Sidecar,
    ControlPlane,
    Network,
}

impl Probe {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        for whom in &self.whom {
            self.ask(*whom, flags).await?;
        }
        if self.whom.is_empty()
            && let Err(no_sidecar) = self.ask(Whom::Sidecar, flags).await
        {
            let asked = self.ask(Whom::ControlPlane, flags).await;
            asked.map_err(|error| anyhow::anyhow!("{no_sidecar:#}; {error:#}"))?;
        }
        output::line("ready")?;
        Ok(Exit::Done)
    }

    async fn ask(&self, whom: Whom, flags: &ClientFlags) -> anyhow::Result<()> {
        let (name, answer) = match whom {
            Whom::Sidecar => ("sidecar", timeout(PATIENCE, self.sidecar()).await),
            Whom::ControlPlane => ("control plane", timeout(PATIENCE, control_plane(flags)).await),
            Whom::Network => ("holder of the network", timeout(PATIENCE, network()).await),
        };
        answer.map_err(|_| anyhow::anyhow!("the {name} did not answer within {} s", PATIENCE.as_secs()))?
    }

    async fn sidecar(&self) -> anyhow::Result<()> {
        let request = Request::get("/ready").header(http::header::HOST, self.address.to_string()).body(Bytes::new())?;
        let response = plain_http::send(self.address, request).await.context("the sidecar is not there")?;
        let said = String::from_utf8_lossy(response.body()).trim().to_owned();
        anyhow::ensure!(response.status().is_success(), "the sidecar is not ready: {said}");
        Ok(())
    }
}

#[cfg(target_os = "linux")]
async fn network() -> anyhow::Result<()> {
    weft_proxy::redirect::is_held().await.context("nobody holds this network, or its rules are not set yet")
}

#[cfg(not(target_os = "linux"))]
async fn network() -> anyhow::Result<()> {
    anyhow::bail!("networks are held on Linux only")
}

async fn control_plane(flags: &ClientFlags) -> anyhow::Result<()> {
    Ok(flags.admin()?.ready().await?)
}
