//! A [`FaultyApp`] as a process of its own, which can be stopped and killed.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{path::Path, process::ExitCode};

use weft_tests::{Faults, FaultyApp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [name, address, calls, every, faults @ ..] = args.as_slice() else {
        eprintln!("usage: weft-tests-app NAME ADDRESS CALLS EVERY [FAULT]...");
        return ExitCode::from(2);
    };
    let faults =
        Faults { faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(), every: every.parse().unwrap() };
    let app = FaultyApp::start(name, address.parse().unwrap(), Path::new(calls), faults).await;
    println!("ready address={}", app.address());
    std::future::pending().await
}
