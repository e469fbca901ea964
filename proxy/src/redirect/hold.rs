//! Staying after the rules are set: for containers that join this one's network namespace, which ends with its process.
//!
//! The rules and the address are there for as long as this is, so that a program and its sidecar can each stop and
//! start. It gives up every right first, and does nothing but wait. Told to end together with them, it stays until the
//! sidecar has finished what is in flight.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::{linux::net::SocketAddrExt, unix::net},
    time::Duration,
};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, timeout},
};

/// An abstract socket, which is of one network namespace as ports are, and needs no file.
const NAME: &[u8] = b"weft-redirect-hold";
const LOOK: Duration = Duration::from_millis(100);
/// More than a sidecar takes to drain.
const PATIENCE: Duration = Duration::from_secs(40);

/// Holds the namespace until a signal says to end, and then while a sidecar's admin port still answers.
///
/// # Errors
/// The rights cannot be given up, or somebody holds this namespace already.
pub fn hold(admin_port: u16, holds: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let none = CapabilitySet::empty();
    // Before there is a second thread, which would keep its own.
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    let held = net::UnixListener::bind_addr(&name()?)?;
    held.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut end = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let held = UnixListener::from_std(held)?;
        holds()?;
        tokio::select! {
            () = answer(&held) => {}
            () = told(&mut end) => {}
        }
        let sidecar = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
        tokio::select! {
            () = answer(&held) => {}
            // Who says it twice means at once.
            () = told(&mut end) => {}
            () = gone(sidecar) => {}
        }
        Ok(())
    })
}

/// Whether somebody holds this network namespace, with its rules set.
///
/// # Errors
/// Nobody does, or nobody yet.
pub async fn is_held() -> io::Result<()> {
    // tokio knows no abstract names that it could connect to.
    let connected = net::UnixStream::connect_addr(&name()?)?;
    connected.set_nonblocking(true)?;
    UnixStream::from_std(connected)?.readable().await
}

fn name() -> io::Result<net::SocketAddr> {
    net::SocketAddr::from_abstract_name(NAME)
}

/// Whoever asks is let go at once, which is the answer. A queue that nobody empties would be full some day.
async fn answer(held: &UnixListener) {
    loop {
        if held.accept().await.is_err() {
            sleep(LOOK).await;
        }
    }
}

/// When nothing listens at the sidecar's admin port any more, or it has had its time.
async fn gone(sidecar: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && timeout(PATIENCE, TcpStream::connect(sidecar)).await.is_ok_and(|it| it.is_ok()) {
        sleep(LOOK).await;
    }
}

async fn told([terminate, interrupt]: &mut [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
