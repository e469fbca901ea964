//! Callers that send more of HTTP/2 than anybody needs: the connection ends, and the reason is told and counted.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use super::{frames::*, *};
use crate::http::http1::tests::{DEADLINE, status, within};

/// `ENHANCE_YOUR_CALM`
const CALM: u32 = 11;

/// Sends `flood` to somebody who answers every request, and expects that the connection ends with this word.
async fn expect_calm(flood: Vec<u8>, reason: &str) {
    let served = Served::new(None, LIMITS, async |_| status(200)).await;
    expect_calm_from(served, &flood, reason).await;
}

async fn expect_calm_from(mut served: Served, flood: &[u8], reason: &str) {
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    // What is sent at last need not be read any more.
    let (mut reading, mut writing) = served.caller.stream().split();
    let mut received = Vec::new();
    let read = async { while reading.read_buf(&mut received).await.is_ok_and(|count| count > 0) {} };
    let write = async {
        let _ = writing.write_all(flood).await;
    };
    within(async { tokio::join!(read, write) }).await;
    let frames = frames_in(&received);
    let last = frames.last().unwrap_or_else(|| panic!("{reason}: closed without a word"));
    assert_eq!((last.kind, last.error_code()), (GO_AWAY, CALM), "{reason}: {last:?}");
    served.end().await;
    assert_eq!(served.refused(reason), 1, "{reason}");
}

#[tokio::test]
async fn rapid_resets_in_one_burst() {
    let burst = (0..300).flat_map(|n| [get(2 * n + 1), reset(2 * n + 1)].concat()).collect();
    expect_calm(burst, "h2_enhance_your_calm").await;
}

/// Each request is begun before it is reset, which is all that counts for h2.
#[tokio::test]
async fn rapid_resets_of_requests_that_have_begun() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let mut served = Served::new(None, LIMITS, async |_| {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    })
    .await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    let mut sent: u32 = 0;
    while sent < 4 * 240 {
        let ids: Vec<_> = (sent..sent + 240).map(|n| 2 * n + 1).collect();
        sent += 240;
        served.caller.send(ids.iter().flat_map(|id| get(*id)).collect::<Vec<_>>()).await;
        within(async {
            while BEGUN.load(Ordering::Relaxed) < sent as usize {
                tokio::task::yield_now().await;
            }
        })
        .await;
        served.caller.send(ids.iter().flat_map(|id| reset(*id)).collect::<Vec<_>>()).await;
    }
    assert!(!served.serving.is_finished());
    served.caller.send((0..1040).flat_map(|_| reset(2 * sent - 1)).collect::<Vec<_>>()).await;
    let last = served.caller.last_frame().await;
    assert_eq!((last.kind, last.error_code()), (GO_AWAY, CALM));
    assert_eq!(u32::from_be_bytes(last.payload[..4].try_into().unwrap()), 2 * sent - 1, "the last that was read");
    served.end().await;
    assert_eq!(served.refused("h2_reset_flood"), 1);
}

#[tokio::test]
async fn heads_without_an_end() {
    let head = frame(HEADERS, 0, 1, GET);
    for piece in [&[][..], b"\x00\x01x\x01y"] {
        let flood = [head.clone(), frame(CONTINUATION, 0, 1, piece).repeat(20)].concat();
        expect_calm(flood, "h2_enhance_your_calm").await;
    }
}

#[tokio::test]
async fn frames_that_ask_for_nothing() {
    for flood in [
        frame(PING, 0, 0, &[7; 8]).repeat(1000),
        frame(PING, ACK, 0, &[7; 8]).repeat(100),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7]).repeat(1000),
        frame(0x77, 0, 0, b"what?").repeat(1000),
    ] {
        expect_calm(flood, "h2_control_flood").await;
    }
}

#[tokio::test]
async fn data_that_are_none_or_hardly_any() {
    let upload = || frame(HEADERS, END_HEADERS, 1, POST);
    // Nobody reads.
    let never = async || Served::new(None, LIMITS, |_| std::future::pending()).await;
    for (data, count) in [(&[][..], 101), (b"x", 60_000)] {
        let flood = [upload(), frame(DATA, 0, 1, data).repeat(count)].concat();
        expect_calm_from(never().await, &flood, "h2_enhance_your_calm").await;
    }
    // Who reads them lets go of them.
    let served = Served::new(None, LIMITS, crate::http::http1::tests::tell).await;
    let flood = [upload(), frame(DATA, 0, 1, &[]).repeat(101)].concat();
    expect_calm_from(served, &flood, "h2_enhance_your_calm").await;
}

/// A field of 4000 bytes, said once and then meant again with a byte for each.
fn bomb(times: usize) -> Vec<u8> {
    let field = [&[0x40, 1, b'x'][..], &[0x7f, 0xa1, 0x1e], &[b'y'; 4000]].concat();
    [GET, &field, &[0xbe].repeat(times)].concat()
}

#[tokio::test]
async fn a_list_of_fields_that_is_too_large() {
    let mut served = Served::new(None, LIMITS, async |_| status(200)).await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    for (stream, times, answer) in [(1, 10, 0x88), (3, 20, 0), (5, 0, 0x88)] {
        served.caller.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &bomb(times))).await;
        let head = within(async {
            loop {
                let frame = served.caller.frame().await.expect("open");
                if frame.kind == HEADERS {
                    return frame;
                }
            }
        })
        .await;
        assert_eq!(head.stream, stream);
        match answer {
            // 431 is not in the static table: a literal, of which the digits can be seen or Huffman's code for them.
            0 => assert_ne!(head.payload[0], 0x88, "{head:?}"),
            ok => assert_eq!(head.payload[0], ok, "the connection goes on: {head:?}"),
        }
    }
    drop(served);
    expect_calm(frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(100)), "h2_enhance_your_calm").await;
}

#[tokio::test]
async fn more_streams_than_are_allowed() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let mut served = Served::new(None, LIMITS, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::pending()
    })
    .await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat()).await;
    served.caller.send((0..300).flat_map(|n| get(2 * n + 1)).collect::<Vec<_>>()).await;
    let mut refused = 0;
    while refused < 50 {
        let frame = served.caller.frame().await.expect("open");
        if frame.kind == RST_STREAM {
            assert_eq!(frame.payload, [0, 0, 0, 7], "REFUSED_STREAM");
            refused += 1;
        }
    }
    within(async {
        while begun.load(Ordering::Relaxed) < 250 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!served.serving.is_finished());
    // Who does not take that for an answer is refused whole.
    served.caller.send((300..1400).flat_map(|n| get(2 * n + 1)).collect::<Vec<_>>()).await;
    let last = served.caller.last_frame().await;
    assert_eq!((last.kind, last.error_code()), (GO_AWAY, CALM));
    assert_eq!(begun.load(Ordering::Relaxed), 250);
    served.end().await;
    assert_eq!(served.refused("h2_enhance_your_calm"), 1);
}

/// What programs do that mean no harm: a ping with every request, one in two given up.
#[tokio::test]
async fn what_programs_do_is_no_flood() {
    let mut served = Served::new(None, LIMITS, async |_| status(200)).await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    for n in 0..3000 {
        let (kept, left) = (4 * n + 1, 4 * n + 3);
        let sent = [get(kept), get(left), reset(left), frame(PING, 0, 0, &[1; 8])].concat();
        served.caller.send(sent).await;
        while !matches!(served.caller.frame().await, Some(Frame { kind: HEADERS, stream, .. }) if stream == kept) {}
    }
    assert!(!served.serving.is_finished());
}

/// It takes nothing, not even a goodbye.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_nobody_reads_ends() {
    let body = Arc::new(());
    let held = body.clone();
    let mut served = Served::new(None, Limits { stall: Duration::from_secs(1), ..LIMITS }, move |_| {
        let held = held.clone();
        async move {
            let _held = held;
            Response::new(Body::full(vec![7; 1 << 20]))
        }
    })
    .await;
    let wide = [frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])];
    served.caller.send([PREFACE, &wide.concat()].concat()).await;
    served.caller.send((0..5).flat_map(|n| get(2 * n + 1)).collect::<Vec<_>>()).await;
    within(&mut served.serving).await.unwrap();
    within(async {
        while Arc::strong_count(&body) > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let limit = Duration::from_millis(100);
    let (go_on, waiting) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, waits) = (go_on.clone(), waiting.clone());
    let mut served = Served::new(None, Limits { idle: limit, ..LIMITS }, move |_| {
        let (told, waits) = (told.clone(), waits.clone());
        async move {
            waits.notify_one();
            told.notified().await;
            status(200)
        }
    })
    .await;
    let begun = std::time::Instant::now();
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1)].concat()).await;
    within(waiting.notified()).await;
    // A request that takes its time is not idle.
    tokio::time::sleep(4 * limit).await;
    go_on.notify_one();
    let mut kinds = Vec::new();
    while let Some(frame) = served.caller.frame().await {
        // The connection closes when it is sure that no request is underway.
        if frame.kind == PING {
            served.caller.send(super::frames::frame(PING, ACK, 0, &frame.payload)).await;
        }
        kinds.push((frame.kind, frame.stream));
    }
    let at = |kind| kinds.iter().position(|(other, _)| *other == kind);
    assert!(at(HEADERS).is_some() && at(HEADERS) < at(GO_AWAY), "{kinds:?}");
    assert!(begun.elapsed() >= 5 * limit && begun.elapsed() < DEADLINE);
    served.end().await;
    assert!(!served.metrics.encode().contains("connections_refused_total{"), "it did nothing wrong");
}
