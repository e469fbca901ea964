//! haproxy, one process with one thread per side. What the load speaks is spoken all the way.

use tokio::process::Command;

use super::{Order, Place, Protocol, Running, Shape};
use crate::run::certificates::NAME;

pub async fn start(order: &Order<'_>) -> anyhow::Result<Running> {
    Running::of_commands(order, "haproxy", order.front, |place| {
        let file = place.folder.join("haproxy.cfg");
        std::fs::write(&file, configuration(order, place))?;
        let mut command = Command::new(order.site.tools.haproxy()?);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    })
    .await
}

fn configuration(order: &Order<'_>, place: &Place) -> String {
    let mode = if order.shape == Shape::Tunnel { "tcp" } else { "http" };
    let (bind, server) = (bind(order, place), server(order, place));
    let (listen, to) = (place.listen, place.to);
    format!(
        "global
  nbthread 1
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode {mode}
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  {reuse}
frontend in
  bind {listen} backlog 4096 {bind}
  default_backend out
backend out
  server next {to} {server}
",
        reuse = if mode == "http" { "http-reuse always" } else { "" },
    )
}

fn bind(order: &Order<'_>, place: &Place) -> String {
    let certificates = &order.site.certificates;
    match (place.accepts_tls(), order.front) {
        (false, Protocol::H1) => String::new(),
        (false, Protocol::H2) => "proto h2".to_owned(),
        (true, protocol) => {
            let (both, ca) = (certificates.both.display(), certificates.ca.display());
            format!("ssl crt {both} ca-file {ca} verify required{}", alpn(order, protocol))
        }
    }
}

fn server(order: &Order<'_>, place: &Place) -> String {
    let certificates = &order.site.certificates;
    match (place.speaks_tls(), order.front) {
        (false, Protocol::H1) => String::new(),
        (false, Protocol::H2) => "proto h2".to_owned(),
        (true, protocol) => {
            let (both, ca) = (certificates.both.display(), certificates.ca.display());
            let alpn = alpn(order, protocol);
            format!("ssl crt {both} ca-file {ca} verify required verifyhost {NAME} sni str({NAME}){alpn}")
        }
    }
}

fn alpn(order: &Order<'_>, protocol: Protocol) -> &'static str {
    match (order.shape, protocol) {
        (Shape::Tunnel, _) => "",
        (_, Protocol::H1) => " alpn http/1.1",
        (_, Protocol::H2) => " alpn h2",
    }
}
