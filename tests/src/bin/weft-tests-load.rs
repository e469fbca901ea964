//! HTTP load for [`weft_tests::pods`]: a process of its own, so that it can be started inside a pod.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::process::ExitCode;

use weft_tests::pods::load::{Plan, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let Some(plan) = Plan::from_args(&args) else {
        eprintln!("usage: weft-tests-load URL CONNECTIONS PER_SECOND REQUESTS PATIENCE_MS");
        return ExitCode::from(2);
    };
    println!("{}", serde_json::to_string(&run(plan).await).unwrap());
    ExitCode::SUCCESS
}
