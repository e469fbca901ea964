//! h2load. Percentiles come from its log of single requests: its text has none.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Latency, Sample, Target};
use crate::run::{peers::SERVICE, site::Site};

pub struct Options {
    pub clients: u32,
    pub streams: u32,
    pub path: &'static str,
    pub message: Option<usize>,
}

pub async fn run(site: &Site, target: &Target, duration: Duration, options: &Options) -> anyhow::Result<Sample> {
    let folder = site.fresh_folder("h2load")?;
    let log = folder.join("requests.log");
    let mut command = command(site, target, options, &folder)?;
    command.args(["-D", &duration.as_secs().max(1).to_string(), "--log-file"]).arg(&log);
    let mut sample = ended(command, target, options).await?;
    sample.latency = Latency::of(fs::read_to_string(&log)?.lines().filter_map(answered_in).collect());
    fs::remove_file(&log)?;
    Ok(sample)
}

/// One request, which must be answered well.
pub async fn once(site: &Site, target: &Target, options: &Options) -> anyhow::Result<()> {
    let folder = site.fresh_folder("h2load")?;
    let mut command = command(site, target, options, &folder)?;
    command.args(["-n", "1"]);
    let sample = ended(command, target, options).await?;
    ensure!(sample.requests == 1 && sample.failed == 0, "the answer is not good: {sample:?}");
    Ok(())
}

fn command(site: &Site, target: &Target, options: &Options, folder: &Path) -> anyhow::Result<Command> {
    let mut command = super::command(&site.tools.h2load, target);
    command.args(["-t", "1", "-c", &options.clients.to_string(), "-m", &options.streams.to_string()]);
    command.args(["-H", &format!(":authority: {SERVICE}")]);
    if let Some(size) = options.message {
        let message = folder.join("message");
        fs::write(&message, framed(size)?)?;
        command.arg("-d").arg(message).args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    }
    Ok(command)
}

async fn ended(mut command: Command, target: &Target, options: &Options) -> anyhow::Result<Sample> {
    let url = format!("http://{}{}", target.entry, options.path);
    let output = command.arg(url).output().await.context("cannot run h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("h2load said: {text}"))
}

/// One message as gRPC frames it, uncompressed.
fn framed(size: usize) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0];
    message.extend(u32::try_from(size)?.to_be_bytes());
    message.resize(5 + size, b'x');
    Ok(message)
}

fn parse(text: &str) -> anyhow::Result<Sample> {
    let finished = text.lines().find_map(|line| line.strip_prefix("finished in ")).context("no line `finished in`")?;
    let seconds = seconds(finished.split(',').next().unwrap_or_default()).context("no duration")?;
    let requests = text.lines().find_map(|line| line.strip_prefix("requests: ")).context("no line `requests`")?;
    let count = |name: &str| -> anyhow::Result<u64> {
        let part =
            requests.split(", ").find_map(|part| part.strip_suffix(name)).with_context(|| format!("no{name}"))?;
        Ok(part.parse()?)
    };
    let statuses =
        text.lines().find_map(|line| line.strip_prefix("status codes: ")).context("no line `status codes`")?;
    let good = statuses.split(' ').next().unwrap_or_default().parse::<u64>()?;
    let requests = count(" done")?;
    Ok(Sample { requests, seconds, failed: count(" errored")? + requests.saturating_sub(good), latency: None })
}

/// `5.01s`, `512.30ms`, `13us`.
fn seconds(text: &str) -> Option<f64> {
    let unit = |suffix: &str, scale: f64| Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * scale);
    unit("us", 1e-6).or_else(|| unit("ms", 1e-3)).or_else(|| unit("s", 1.0))
}

/// A line of the log: the time of the start, the status, and microseconds until the end of the answer.
fn answered_in(line: &str) -> Option<u32> {
    let mut fields = line.split('\t').skip(1);
    let status: u16 = fields.next()?.parse().ok()?;
    let microseconds = fields.next()?.parse().ok()?;
    (200..300).contains(&status).then_some(microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "starting benchmark...
spawning thread #0: 16 total client(s). Timing-based test with 0s of warm-up time and 5s of main duration for measurements.

finished in 5.01s, 23817.40 req/s, 2.71MB/s
requests: 119087 total, 119247 started, 119087 done, 119080 succeeded, 7 failed, 3 errored, 0 timeout
status codes: 119080 2xx, 0 3xx, 4 4xx, 3 5xx
traffic: 13.54MB (14200000) total, 1.02MB (1070000) headers (space savings 92.31%), 11.63MB (12194508) data
";

    #[test]
    fn its_text_is_read() {
        let sample = parse(TEXT).unwrap();
        assert_eq!((sample.requests, sample.seconds, sample.failed), (119_087, 5.01, 10));
        assert!(parse("[ERROR] Connection refused").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(seconds("13us"), Some(13e-6));
        assert_eq!(seconds("512.50ms"), Some(0.5125));
        assert_eq!(seconds("5.01s"), Some(5.01));
        assert_eq!(seconds("5"), None);
    }

    #[test]
    fn its_log_holds_microseconds() {
        assert_eq!(answered_in("1637590000000000\t200\t1234"), Some(1234));
        assert_eq!(answered_in("1637590000000000\t-1\t1234"), None);
        assert_eq!(answered_in("1637590000000000\t503\t12"), None);
    }

    #[test]
    fn a_message_says_its_length() {
        assert_eq!(framed(2).unwrap(), [0, 0, 0, 0, 2, b'x', b'x']);
    }
}
