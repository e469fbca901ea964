//! The bare relay pair of this repository: see `bin/weft-bench-bare.rs`.

use anyhow::ensure;
use tokio::process::Command;

use super::{Order, Place, Protocol, Running, Shape};

pub async fn start(order: &Order<'_>, between: Protocol) -> anyhow::Result<Running> {
    ensure!(order.shape != Shape::Tunnel, "the bare pair speaks HTTP only");
    Running::of_commands(order, "bare", between, |place| Ok(command(order, place, between))).await
}

fn command(order: &Order<'_>, place: &Place, between: Protocol) -> Command {
    let (subcommand, accept, speak) = match place.side {
        "outbound" => ("outbound", order.front, between),
        "inbound" => ("inbound", between, order.front),
        _ => ("plain", order.front, order.front),
    };
    let certificates = &order.site.certificates;
    let mut command = Command::new(&order.site.programs.bare);
    command
        .args([subcommand, "--listen", &place.listen.to_string(), "--to", &place.to.to_string()])
        .args(["--accept", word(accept), "--speak", word(speak), "--cert"])
        .arg(&certificates.certificate)
        .arg("--key")
        .arg(&certificates.key)
        .arg("--ca")
        .arg(&certificates.ca);
    command
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
    }
}
