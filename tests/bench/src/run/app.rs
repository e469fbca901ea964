//! What is behind the proxies: nginx with files of fixed sizes, and a gRPC-like server.

use std::{fs, net::SocketAddr, path::Path};

use tokio::process::Command;
use weft_tests::free_port;

use super::{
    peers::Protocol,
    process::{Process, address},
    site::Site,
};

/// Names and sizes of the files that nginx serves.
const FILES: [(&str, usize); 3] = [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AppKind {
    Files,
    /// One message in, one message out, status in the trailers.
    Unary,
}

/// One worker, which speaks HTTP/1.1 at one address and HTTP/2 without TLS at another.
pub struct App {
    http1: SocketAddr,
    http2: SocketAddr,
    worker: u32,
    _process: Process,
}

impl App {
    pub async fn start(kind: AppKind, site: &Site) -> anyhow::Result<Self> {
        let folder = site.fresh_folder("app")?;
        match kind {
            AppKind::Files => Self::nginx(site, &folder).await,
            AppKind::Unary => Self::unary(site, &folder).await,
        }
    }

    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::H1 => self.http1,
            Protocol::H2 => self.http2,
        }
    }

    /// The process that answers.
    pub fn process(&self) -> u32 {
        self.worker
    }

    async fn nginx(site: &Site, folder: &Path) -> anyhow::Result<Self> {
        for (name, size) in FILES {
            fs::write(folder.join(name), vec![b'x'; size])?;
        }
        let [http1, http2] = [0, 1].map(|_| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(folder, http1, http2))?;
        let mut command = Command::new(&site.tools.nginx);
        command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(&configuration);
        let mut process = Process::start("nginx", command, folder)?;
        process.listens(http1).await?;
        // Without a master there is one process, so its id is the worker's.
        Ok(Self { http1, http2, worker: process.id(), _process: process })
    }

    async fn unary(site: &Site, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(&site.programs.server);
        command.args(["--listen", "127.0.0.1:0"]);
        let mut process = Process::start("weft-bench-server", command, folder)?;
        let (line, _) = process.announces("weft-bench-server ready").await?;
        let http2 = address(&line, "listen")?;
        Ok(Self { http1: http2, http2, worker: process.id(), _process: process })
    }
}

fn nginx_configuration(folder: &Path, http1: SocketAddr, http2: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_rlimit_nofile 65536; pid {folder}/pid;
events {{ worker_connections 32768; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; http2_max_concurrent_streams 1000;
  sendfile on; tcp_nodelay on; default_type application/octet-stream;
  open_file_cache max=16; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen {http1} backlog=4096; root {folder}; }}
  server {{ listen {http2} http2 backlog=4096; root {folder}; }}
}}
"
    )
}
