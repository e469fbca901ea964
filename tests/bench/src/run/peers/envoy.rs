//! Envoy, one process with one worker per side. Its defaults, except that no limit is lower than the work needs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{Order, Place, Protocol, Running, Shape};
use crate::run::certificates::{Certificates, NAME};

const PLENTY: u32 = 1_000_000;
const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

pub async fn start(order: &Order<'_>, between: Protocol) -> anyhow::Result<Running> {
    Running::of_commands(order, "envoy", between, |place| {
        let file = place.folder.join("envoy.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&configuration(order, place, between))?)?;
        let mut command = Command::new(order.site.tools.envoy()?);
        command.arg("-c").arg(file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
        Ok(command)
    })
    .await
}

fn configuration(order: &Order<'_>, place: &Place, between: Protocol) -> Value {
    let certificates = &order.site.certificates;
    let (accept, speak) = match place.side {
        "outbound" => (order.front, between),
        "inbound" => (between, order.front),
        _ => (order.front, order.front),
    };
    let filter = if order.shape == Shape::Tunnel { tcp_filter() } else { http_filter() };
    let server_tls = place.accepts_tls().then(|| server_tls(certificates, alpn(order, accept)));
    let client_tls = place.speaks_tls().then(|| client_tls(certificates, alpn(order, speak)));
    let chain = with(json!({ "filters": [filter] }), "transport_socket", server_tls);
    let cluster = with(cluster(place.to, speak, order.shape), "transport_socket", client_tls);
    let listener = json!({ "address": address(place.listen), "filter_chains": [chain] });
    json!({ "static_resources": { "listeners": [listener], "clusters": [cluster] } })
}

fn http_filter() -> Value {
    let router =
        json!({ "name": "router", "typed_config": { "@type": format!("{EXTENSIONS}.filters.http.router.v3.Router") } });
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "next" } });
    let manager = json!({
        "@type": format!("{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "http_filters": [router],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    json!({ "name": "http", "typed_config": manager })
}

fn tcp_filter() -> Value {
    let proxy = json!({
        "@type": format!("{EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": "in",
        "cluster": "next",
    });
    json!({ "name": "tcp", "typed_config": proxy })
}

fn cluster(to: SocketAddr, speak: Protocol, shape: Shape) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(to) } });
    let cluster = json!({
        "name": "next",
        "type": "STATIC",
        "load_assignment": { "cluster_name": "next", "endpoints": [{ "lb_endpoints": [endpoint] }] },
        "circuit_breakers": { "thresholds": [{
            "max_connections": PLENTY, "max_pending_requests": PLENTY, "max_requests": PLENTY,
        }] },
    });
    let http2 = (speak == Protocol::H2 && shape != Shape::Tunnel).then(|| {
        json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } })
    });
    with(cluster, "typed_extension_protocol_options", http2)
}

fn server_tls(certificates: &Certificates, alpn: Option<&str>) -> Value {
    socket(json!({
        "@type": format!("{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": context(certificates, alpn),
    }))
}

fn client_tls(certificates: &Certificates, alpn: Option<&str>) -> Value {
    socket(json!({
        "@type": format!("{EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext"),
        "sni": NAME,
        "common_tls_context": context(certificates, alpn),
    }))
}

fn socket(context: Value) -> Value {
    json!({ "name": "tls", "typed_config": context })
}

/// TLS 1.3 only. BoringSSL prefers AES-128-GCM there on machines with AES instructions, and takes no other order.
fn context(certificates: &Certificates, alpn: Option<&str>) -> Value {
    let name = json!({ "san_type": "DNS", "matcher": { "exact": NAME } });
    let pair = json!({
        "certificate_chain": { "filename": certificates.certificate },
        "private_key": { "filename": certificates.key },
    });
    let context = json!({
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "tls_certificates": [pair],
        "validation_context": {
            "trusted_ca": { "filename": certificates.ca },
            "match_typed_subject_alt_names": [name],
        },
    });
    with(context, "alpn_protocols", alpn.map(|alpn| json!([alpn])))
}

/// The object with one key more, if there is a value for it.
fn with(mut object: Value, key: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(key.to_owned(), value);
    }
    object
}

fn alpn(order: &Order<'_>, protocol: Protocol) -> Option<&'static str> {
    match (order.shape, protocol) {
        (Shape::Tunnel, _) => None,
        (_, Protocol::H1) => Some("http/1.1"),
        (_, Protocol::H2) => Some("h2"),
    }
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
