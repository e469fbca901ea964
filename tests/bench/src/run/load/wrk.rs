//! wrk, whose percentiles a script of its own prints: its text stops at the 99th.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Latency, Sample, Target};
use crate::run::{peers::SERVICE, site::Site};

const SCRIPT: &str = include_str!("wrk.lua");

pub struct Options {
    pub connections: u32,
    pub path: &'static str,
    pub close: bool,
}

pub async fn run(site: &Site, target: &Target, duration: Duration, options: &Options) -> anyhow::Result<Sample> {
    let script = site.path().join("wrk.lua");
    std::fs::write(&script, SCRIPT)?;
    let mut command = super::command(&site.tools.wrk, target);
    command.args(["-t", "1", "-c", &options.connections.to_string(), "--timeout", "10s"]);
    // wrk takes whole seconds only.
    command.args(["-d", &format!("{}s", duration.as_secs().max(1)), "-H", &format!("Host: {SERVICE}")]);
    if options.close {
        command.args(["-H", "Connection: close"]);
    }
    let url = format!("http://{}{}", target.entry, options.path);
    let output = command.arg("-s").arg(script).arg(url).output().await.context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("wrk said: {text}"))
}

fn parse(text: &str) -> anyhow::Result<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("weft-bench ")).context("no line of the script")?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    };
    let latency = Latency { p50: field("p50")?, p99: field("p99")?, p999: field("p999")? };
    Ok(Sample {
        requests: field("requests")? as u64,
        seconds: field("duration")? / 1e6,
        failed: field("failed")? as u64,
        latency: Some(latency),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_read() {
        let text = "Running 1s test @ http://127.0.0.1:1/1k\n  1 threads and 64 connections\nRequests/sec:  20490.10\n\
                    weft-bench requests=41108 duration=2006301 failed=3 p50=2410.0 p99=9100.0 p999=31005.5\n";
        let latency = Some(Latency { p50: 2410.0, p99: 9100.0, p999: 31005.5 });
        let expected = Sample { requests: 41108, seconds: 2.006301, failed: 3, latency };
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused").is_err());
    }
}
