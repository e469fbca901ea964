//! Floods of HTTP/2 frames against a sidecar: it refuses them, says so, keeps its memory, and serves others meanwhile.

use tokio::net::TcpStream;
use weft_tests::{ControlPlane, Workload, eventually, get, get_h2, send_raw};

/// Of each flood, one after the other.
const CONNECTIONS: usize = 30;
/// What they may leave behind, at the height of it.
const GROWTH: u64 = 24 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request to `orders`, of `kind` HEADERS, with more fields behind.
fn head(flags: u8, stream: u32, more: &[u8]) -> Vec<u8> {
    frame(1, flags, stream, &[&[0x82, 0x86, 0x84, 0x01, 6], &b"orders"[..], more].concat())
}

/// The flood, and the reason that it is counted under.
fn floods() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let calm = "h2_enhance_your_calm";
    // A field of 4000 bytes that is meant again with a byte for each.
    let bomb = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000], &[0xbe; 100]].concat();
    vec![
        (
            "requests that are reset at once",
            calm,
            (0..300).flat_map(|n| [head(5, 2 * n + 1, &[]), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()).collect(),
        ),
        ("a head without an end", calm, [head(1, 1, &[]), frame(9, 0, 1, b"").repeat(1000)].concat()),
        ("a list of fields without bounds", calm, head(5, 1, &bomb)),
        ("data that are none", calm, [head(4, 1, &[]), frame(0, 0, 1, b"").repeat(1000)].concat()),
        ("pings", "h2_control_flood", frame(6, 0, 0, &[1; 8]).repeat(2000)),
        ("settings", "h2_control_flood", frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(2000)),
    ]
}

#[tokio::test]
async fn a_sidecar_refuses_floods_and_serves_others() {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let mut caller = control_plane.sidecar("caller").start().await;
    assert_eq!(get(caller.outbound(), "http://orders/").await.status, 200);
    assert_eq!(get_h2(caller.outbound(), "http://orders/").await.status, 200);
    let before = caller.process().peak_memory();
    for (flood, reason, frames) in floods() {
        let series = format!("weft_connections_refused_total{{direction=\"outbound\",reason=\"{reason}\"}}");
        let counted = caller.metric(&series).await;
        let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], &frames].concat();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(caller.outbound()).await.unwrap();
            assert!(send_raw(stream, &bytes).await.is_some(), "{flood}: the connection stays open");
        }
        eventually(&format!("all of {flood} are counted"), async || match caller.metric(&series).await - counted {
            refused if refused == CONNECTIONS as f64 => Ok(()),
            refused => Err(format!("{refused} of {CONNECTIONS}")),
        })
        .await;
        assert_eq!(get_h2(caller.outbound(), "http://orders/").await.status, 200, "after {flood}");
    }
    let growth = caller.process().peak_memory() - before;
    assert!(growth < GROWTH, "{} MiB more", growth >> 20);
    eventually("nothing is left with the app", async || match orders.app.in_flight() {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}
