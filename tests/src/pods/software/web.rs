//! nginx, called by curl and wrk: HTTP on the ports 80 and 8080, and TLS with a certificate of its own on port 443.

use std::fs;

use rustix::process::Signal;

use super::bracketed;
use crate::{Process, pods::Pod};

const LARGE: usize = 8 << 20;

pub struct Web {
    process: Process,
    certificate: String,
    large_sum: String,
    marker: String,
}

impl Web {
    pub const PROGRAMS: &[&str] = &["nginx", "curl", "wrk", "openssl", "sha256sum"];
    pub const PORT: u16 = 80;
    pub const FURTHER_PORT: u16 = 8080;
    pub const TLS_PORT: u16 = 443;

    /// `names` are those by which TLS clients may call it, beside the pod's addresses.
    pub async fn serve(pod: &Pod, marker: &str, names: &[&str]) -> Self {
        let root = pod.folder().to_str().unwrap().to_owned();
        let names: String = names.iter().map(|name| format!(",DNS:{name}")).collect();
        let make = format!(
            "mkdir html && printf %s {marker} > html/hello.txt && head -c {LARGE} /dev/urandom > html/large.bin &&
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web \
             -addext 'subjectAltName=IP:{},IP:{}{names}' -keyout key.pem -out certificate.pem 2>&1",
            pod.v4(),
            pod.v6(),
        );
        pod.run(&["sh", "-c", &make]).await.expect_ok();
        let sum = pod.run(&["sha256sum", "html/large.bin"]).await.expect_ok();
        let conf = fs::read_to_string(pod.fixture("pods/nginx.conf")).unwrap().replace("{root}", &root);
        let conf = pod.file("nginx.conf", conf);
        let process = pod.start(&["nginx", "-c", &conf, "-p", &root, "-e", "stderr"]);
        pod.listens(Self::PORT).await;
        pod.listens(Self::FURTHER_PORT).await;
        pod.listens(Self::TLS_PORT).await;
        Self {
            process,
            certificate: format!("{root}/certificate.pem"),
            large_sum: sum.split(' ').next().unwrap().to_owned(),
            marker: marker.to_owned(),
        }
    }

    /// Serves from the folder of one that has ended in this pod.
    pub async fn serve_again(pod: &Pod, marker: &str) -> Self {
        let root = pod.folder().to_str().unwrap();
        pod.run(&["rm", "-rf", &format!("{root}/html")]).await.expect_ok();
        Self::serve(pod, marker, &[]).await
    }

    /// Has it finish what it has begun, and end.
    pub async fn quit(mut self) {
        self.process.signal(Signal::QUIT);
        assert!(self.process.ended().await.success());
    }

    /// The file by which clients know it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Requests of every kind, in plain text.
    pub async fn talk(&self, client: &Pod, host: &str) {
        let url = |path: &str| format!("http://{}/{path}", bracketed(host));
        let (hello, asked) = (url("hello.txt"), format!("x-marker: {}", self.marker));
        let answer = curl(client, &["--include", "--header", &asked, &hello]).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&self.marker), "{answer}");
        assert!(answer.contains(&format!("x-asked-for: {}\r\n", self.marker)), "{answer}");

        let connects = ["--write-out", "connects=%{num_connects}\n"];
        let five = curl(client, &[&connects[..], &[hello.as_str(); 5][..]].concat()).await;
        assert_eq!(five.matches("connects=0").count(), 4, "one connection for all: {five}");
        assert_eq!(curl(client, &["--range", "0-5", &hello]).await, "marker");
        let head = curl(client, &["--head", &url("large.bin")]).await.to_ascii_lowercase();
        assert!(head.contains(&format!("content-length: {LARGE}\r\n")), "{head}");
        let missing = client.run(&["curl", "--silent", "--include", &url("nothing")]).await.expect_ok();
        assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");

        let download = format!("curl --silent --show-error --fail --max-time 25 {} | sha256sum", url("large.bin"));
        let sum = client.run(&["sh", "-c", &download]).await.expect_ok();
        assert_eq!(sum.split(' ').next().unwrap(), self.large_sum);
    }

    /// wrk for a second: many connections that are kept, and as many requests as they carry.
    pub async fn hurry(&self, client: &Pod, host: &str) {
        let url = format!("http://{}/hello.txt", bracketed(host));
        let report = client.run(&["wrk", "--threads", "1", "--connections", "16", "--duration", "1s", &url]).await;
        let report = report.expect_ok();
        let requests: u64 =
            report.lines().find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok()).unwrap();
        assert!(requests > 0 && !report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    }

    /// The client accepts this server's certificate and no other, and both agree on HTTP/2.
    pub async fn talk_tls(&self, client: &Pod, host: &str) {
        let url = format!("https://{}/hello.txt", bracketed(host));
        let known = ["--cacert", &self.certificate, "--write-out", "\n%{http_version} %{ssl_verify_result}"];
        let answer = curl(client, &[&known[..], &[&url]].concat()).await;
        assert_eq!(answer, format!("{}\n2 0", self.marker));
        let unknown = client.run(&["curl", "--silent", "--max-time", "20", &url]).await;
        assert_eq!(unknown.code, 60, "curl must not trust anyone else's certificate: {unknown:?}");
    }
}

/// curl, which must succeed.
async fn curl(client: &Pod, args: &[&str]) -> String {
    let always = ["curl", "--silent", "--show-error", "--fail", "--max-time", "25"];
    client.run(&[&always[..], args].concat()).await.expect_ok()
}
