//! `redirect`: sets, checks and removes the rules that send a network namespace's traffic to its sidecar.
//!
//! Run before the sidecar starts, with a capability that the sidecar is not given. `ruleset` decides what is redirected,
//! `nft` has it loaded as one transaction, `check` proves that it works, `hold` keeps a namespace for others to join. What
//! becomes of a connection that was redirected is the sidecar's. Called by `weft-proxy redirect` and `weft redirect`.

mod check;
mod flags;
#[cfg(target_os = "linux")]
mod hold;
mod loaded;
mod nft;
mod probe;
mod ruleset;
mod sets;

use std::io::{self, Write};

pub use check::CheckError;
pub use flags::{PROXY_USER, Redirect};
#[cfg(target_os = "linux")]
pub use hold::is_held;
pub use nft::NftError;
use ruleset::Ruleset;

#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    #[error("{one} and {other} are both {port}: the sidecar's listeners need a port each")]
    SamePort { one: &'static str, other: &'static str, port: u16 },
    #[error("the redirection is not {done}: {source}")]
    Nft { done: &'static str, source: NftError },
    #[error("the check failed: {0}")]
    Check(#[from] CheckError),
    #[error("the network namespace cannot be held for others: {0}")]
    Hold(io::Error),
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl RedirectError {
    /// Whether the flags were wrong, rather than what they were used on.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::SamePort { .. })
    }
}

/// Does what the flags say, and writes what was done to `out`, a line for each thing.
///
/// # Errors
/// What could not be done, why, and what to do about it. The rules are then those from before, unless the error is that
/// of a check: the rules that it found wanting stay as they are.
pub fn run(redirect: &Redirect, out: &mut impl Write) -> Result<(), RedirectError> {
    let ruleset = redirect.ruleset()?;
    if redirect.dry_run {
        let script = if redirect.remove { Ruleset::removal().to_owned() } else { ruleset.to_string() };
        return Ok(out.write_all(script.as_bytes())?);
    }
    if redirect.remove {
        nft::load(Ruleset::removal()).map_err(|source| RedirectError::Nft { done: "removed", source })?;
        return Ok(writeln!(out, "removed: connections begin as if there were no sidecar")?);
    }
    if redirect.set || !redirect.check {
        nft::load(&ruleset.to_string()).map_err(|source| RedirectError::Nft { done: "set", source })?;
        writeln!(out, "set: {}", destinations(&ruleset))?;
    }
    if redirect.check {
        check::run(&ruleset, out)?;
    }
    if redirect.hold { hold(redirect, out) } else { Ok(()) }
}

#[cfg(target_os = "linux")]
fn hold(redirect: &Redirect, out: &mut impl Write) -> Result<(), RedirectError> {
    let say = || writeln!(out, "holding the network namespace for those that join it").and_then(|()| out.flush());
    hold::hold(redirect.admin_port, say).map_err(RedirectError::Hold)
}

#[cfg(not(target_os = "linux"))]
fn hold(_: &Redirect, _: &mut impl Write) -> Result<(), RedirectError> {
    Err(RedirectError::Hold(io::ErrorKind::Unsupported.into()))
}

fn destinations(ruleset: &Ruleset) -> String {
    let Ruleset { outbound_port, inbound_port, dns_port, .. } = ruleset;
    let dns = dns_port.map(|port| format!(", DNS to port {port}")).unwrap_or_default();
    format!("TCP out goes to port {outbound_port}, TCP in to port {inbound_port}{dns}")
}
