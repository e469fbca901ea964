//! Bytes of no protocol: large transfers, one side that finishes before the other, datagrams. By socat, nc and iperf3.

use std::time::Duration;

use serde_json::Value;

use super::bracketed;
use crate::{Process, eventually, pods::Pod};

/// A server that is told in a line what to do with the rest of a connection.
pub struct Bytes {
    _process: Process,
    marker: String,
}

const SLOW: Duration = Duration::from_secs(300);
/// A stream of bytes that look random and are the same each time.
const STREAM: &str = "openssl enc -aes-128-ctr -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 00000000000000000000000000000000 </dev/zero";
/// Twice as fast as sha256sum.
const DIGEST: &str = "openssl dgst -sha256 -r";

impl Bytes {
    pub const PROGRAMS: &[&str] = &["socat", "nc", "openssl", "head", "tac"];
    pub const PORT: u16 = 9000;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        // `tac` and the digest answer only when they have read everything.
        let script = format!(
            "read what mib
             case $what in
                 last) exec tac ;;
                 digest) exec {DIGEST} ;;
                 stream) {STREAM} 2>/dev/null | head -c ${{mib}}M ;;
             esac\n"
        );
        let script = pod.file("bytes.sh", script);
        let listen = format!("TCP6-LISTEN:{},ipv6only=0,fork,reuseaddr,backlog=64", Self::PORT);
        let process = pod.start(&["socat", "-t", "60", &listen, &format!("EXEC:sh {script}")]);
        pod.listens(Self::PORT).await;
        Self { _process: process, marker: marker.to_owned() }
    }

    /// The client shuts down its side, and only then the server answers.
    pub async fn half_close(&self, client: &Pod, host: &str) {
        let (marker, port) = (&self.marker, Self::PORT);
        let nc = format!("nc -N -w 25 {host} {port}");
        let socat = format!("socat -t 25 - TCP:{}:{port}", bracketed(host));
        for call in [nc, socat] {
            let ask = format!("printf 'last\n%s\n' {marker} | {call}");
            assert_eq!(client.run(&["sh", "-c", &ask]).await.expect_ok().trim_end(), marker, "{call}");
        }
    }

    /// So many MiB to the server, which must have got what was sent; and as many back.
    pub async fn transfer(&self, client: &Pod, host: &str, mib: u64) {
        let run = async |script: String| client.run_within(SLOW, &["sh", "-c", &script]).await.expect_ok();
        let stream = format!("{STREAM} 2>/dev/null | head -c {mib}M");
        let call = format!("socat -t 60 - TCP:{}:{}", bracketed(host), Self::PORT);
        let sum = run(format!("{stream} | {DIGEST}")).await;
        let up = run(format!("{{ echo digest; {stream}; }} | {call}")).await;
        assert_eq!(up, sum, "to the server");
        let down = run(format!("echo stream {mib} | {call} | {DIGEST}")).await;
        assert_eq!(down, sum, "from the server");
    }
}

/// iperf3: a connection by which both sides agree, and then several that are as fast as they can be.
pub struct Iperf {
    _process: Process,
}

impl Iperf {
    pub const PROGRAMS: &[&str] = &["iperf3"];
    pub const PORT: u16 = 5201;

    pub async fn serve(pod: &Pod) -> Self {
        let process = pod.start(&["iperf3", "--server"]);
        pod.listens(Self::PORT).await;
        Self { _process: process }
    }

    /// Its server starts anew after every connection that says nothing, as a sidecar's look at the application does, and
    /// resets whoever comes at that moment: such a client tries again.
    pub async fn hurry(&self, client: &Pod, host: &str) {
        for direction in [&[][..], &["--reverse"]] {
            let words = ["iperf3", "--client", host, "--time", "1", "--parallel", "4", "--json"];
            let report = eventually("iperf3 has measured", async || {
                let report = client.run(&[&words[..], direction].concat()).await.stdout;
                let report: Value = serde_json::from_str(&report).unwrap();
                if report["error"].is_null() { Ok(report) } else { Err(report) }
            })
            .await;
            assert!(report["end"]["sum_received"]["bytes"].as_u64() > Some(0), "{report}");
        }
    }
}

/// UDP, which no mesh has a say in.
pub struct Datagrams {
    _process: Process,
    marker: String,
}

impl Datagrams {
    pub const PROGRAMS: &[&str] = &["socat"];
    pub const PORT: u16 = 9003;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let at = format!("UDP6-RECVFROM:{},ipv6only=0,fork,reuseaddr", Self::PORT);
        let process = pod.start(&["socat", &at, "EXEC:cat"]);
        let filter = format!("sport = :{}", Self::PORT);
        eventually("datagrams are waited for", async || {
            let sockets = pod.run(&["ss", "--no-header", "--udp", "--all", "--numeric", &filter]).await.expect_ok();
            if sockets.trim().is_empty() { Err("not yet") } else { Ok(()) }
        })
        .await;
        Self { _process: process, marker: marker.to_owned() }
    }

    pub async fn talk(&self, client: &Pod, host: &str) {
        let (word, port) = (&self.marker, Self::PORT);
        let ask =
            format!("exec 3<>/dev/udp/{host}/{port}; printf %s {word} >&3; exec timeout 20 head -c {} <&3", word.len());
        assert_eq!(client.run(&["bash", "-c", &ask]).await.expect_ok(), *word);
    }
}
