//! Redis, called by redis-cli: single commands, a pipe of many, a subscription, and its own small benchmark.

use crate::{Process, pods::Pod};

pub struct Redis {
    _process: Process,
    marker: String,
}

/// Commands in one pipe.
const PIPED: u32 = 20_000;

impl Redis {
    pub const PROGRAMS: &[&str] = &["redis-server", "redis-cli", "redis-benchmark"];
    pub const PORT: u16 = 6379;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let words = ["redis-server", "--bind", "0.0.0.0", "::", "--protected-mode", "no", "--save", "", "--dir", "."];
        let process = pod.start(&words);
        pod.listens(Self::PORT).await;
        Self { _process: process, marker: marker.to_owned() }
    }

    pub async fn talk(&self, client: &Pod, host: &str) {
        let marker = &self.marker;
        assert_eq!(cli(client, host, &["flushall"]).await, "OK");
        assert_eq!(cli(client, host, &["set", "word", marker]).await, "OK");
        assert_eq!(cli(client, host, &["get", "word"]).await, *marker);
        let fill =
            format!("for n in $(seq {PIPED}); do echo \"SET key-$n {marker}\"; done | redis-cli -h {host} --pipe");
        let piped = client.run(&["sh", "-c", &fill]).await.expect_ok();
        assert!(piped.contains(&format!("errors: 0, replies: {PIPED}")), "{piped}");
        assert_eq!(cli(client, host, &["dbsize"]).await, (PIPED + 1).to_string());
        self.publish(client, host).await;
    }

    /// What the server sends on its own, after a connection was silent.
    async fn publish(&self, client: &Pod, host: &str) {
        let mut subscriber = client.start(&["redis-cli", "-h", host, "subscribe", "news"]);
        subscriber.announces("subscribe").await;
        // It prints that a moment before the server has answered; who published too early reached nobody.
        while cli(client, host, &["publish", "news", &self.marker]).await == "0" {}
        subscriber.announces(&self.marker).await;
    }

    /// 50 connections with 16 commands in each at a time.
    pub async fn hurry(&self, client: &Pod, host: &str) {
        let words = ["redis-benchmark", "-h", host, "-n", "20000", "-c", "50", "-P", "16", "-t", "set,get", "--csv"];
        let report = client.run(&words).await.expect_ok();
        assert!(report.contains("\"SET\",") && report.contains("\"GET\",") && !report.contains("rror"), "{report}");
    }
}

async fn cli(client: &Pod, host: &str, command: &[&str]) -> String {
    let output = client.run(&[&["redis-cli", "-h", host][..], command].concat()).await;
    output.expect_ok().trim_end().to_owned()
}
