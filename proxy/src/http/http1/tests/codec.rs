//! Bodies on the wire: what is encoded reads the same when it is decoded, in whatever pieces it goes and comes.

use std::{future::poll_fn, io};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use proptest::prelude::*;
use tokio::io::AsyncWrite;

use super::{
    decoder::{Chunked, Decoded, Decoder},
    encoder::Encoder,
    outgoing::Outgoing,
    *,
};

/// Takes `at_once` bytes with each write, and needs to be flushed twice.
struct Slow {
    at_once: usize,
    taken: Vec<u8>,
    flushes: usize,
}

impl Slow {
    fn new(at_once: usize) -> Self {
        Self { at_once, taken: Vec::new(), flushes: 0 }
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.at_once);
        self.taken.extend_from_slice(&bytes[..count]);
        self.flushes = 0;
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        cx.waker().wake_by_ref();
        if self.flushes < 2 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn written(mut output: Outgoing, at_once: usize) -> Vec<u8> {
    let mut slow = Slow::new(at_once);
    within(poll_fn(|cx| output.poll_write(&mut slow, &mut 0, cx))).await.unwrap();
    assert!(output.is_settled());
    slow.taken
}

#[tokio::test]
async fn what_is_written_is_flushed_also_when_that_takes_two_turns() {
    let (mut output, mut slow) = (Outgoing::default(), Slow::new(100));
    output.put(Bytes::from_static(b"hello"), b"");
    let mut turn = || {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        output.poll_write(&mut slow, &mut 0, &mut cx).is_ready()
    };
    assert!(!turn(), "written, and held back by a layer below");
    assert!(turn());
    assert_eq!(slow.flushes, 2);
    assert!(output.is_settled());
}

#[tokio::test]
async fn the_last_chunk_comes_behind_data_that_are_not_copied() {
    for length in [5, 100_000] {
        let (mut output, mut encoder) = (Outgoing::default(), Encoder::Chunked);
        encoder.encode(Frame::data(vec![b'x'; length].into()), &mut output).unwrap();
        encoder.end(&mut output).unwrap();
        let expected = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        assert!(written(output, usize::MAX).await == expected.into_bytes());
    }
}

#[test]
fn a_body_is_held_to_its_length() {
    let mut output = Outgoing::default();
    let mut encoder = Encoder::Length(5);
    encoder.encode(Frame::data("hel".into()), &mut output).unwrap();
    assert!(matches!(encoder.end(&mut output), Err(Error::Body)));
    assert!(matches!(encoder.encode(Frame::data("lo!".into()), &mut output), Err(Error::Body)));
    encoder.encode(Frame::data("lo".into()), &mut output).unwrap();
    encoder.end(&mut output).unwrap();
}

/// A sender of small pieces must not make each of them hold a large buffer.
#[tokio::test]
async fn small_pieces_of_a_large_body_share_buffers() {
    let (mut peer, mut connection) = pair().await;
    let mut decoder = Decoder::Length(1 << 20);
    let mut kept: Vec<Bytes> = Vec::new();
    for _ in 0..1000 {
        peer.send("x").await;
        let Ok(Decoded::More(expected)) = decoder.decode(&mut connection.input) else { panic!("nothing is here") };
        within(poll_fn(|cx| connection.poll_fill(cx, expected))).await.unwrap();
        let Ok(Decoded::Frame(frame)) = decoder.decode(&mut connection.input) else { panic!("one byte is here") };
        kept.push(frame.into_data().unwrap());
    }
    let buffers = kept.windows(2).filter(|two| two[0].as_ptr_range().end != two[1].as_ptr()).count();
    assert!(buffers < 3, "{buffers} buffers");
}

#[tokio::test]
async fn a_connection_that_is_closed_or_speaks_unasked_is_not_open() {
    let (peer, mut connection) = pair().await;
    assert!(connection.is_open());
    drop(peer);
    within(poll_fn(|cx| connection.poll_fill(cx, 0))).await.unwrap();
    assert!(!connection.is_open());

    let (mut peer, mut connection) = pair().await;
    peer.send("x").await;
    within(poll_fn(|cx| connection.poll_fill(cx, 0))).await.unwrap();
    assert!(!connection.is_open());
    connection.rest();
    assert!(!connection.is_open(), "what was said unasked is not forgotten");
}

/// What `input` decodes to, arriving in pieces: data, trailers, and whether the body ended there.
fn decoded(decoder: &mut Decoder, input: &[u8], sizes: &[usize]) -> (Vec<u8>, Option<HeaderMap>, bool) {
    let (mut data, mut trailers, mut buffer) = (Vec::new(), None, BytesMut::new());
    for piece in super::smuggling::pieces(input, sizes) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer).unwrap() {
                Decoded::More(_) => break,
                Decoded::End => return (data, trailers, buffer.is_empty()),
                Decoded::Frame(frame) => match frame.into_data() {
                    Ok(more) => data.extend_from_slice(&more),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
    (data, trailers, decoder.is_ended())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(
        frames in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..50),
            (8_000..9_000_usize).prop_map(|length| vec![b'\r'; length]),
        ], 0..6),
        with_trailers in any::<bool>(),
        chunked in any::<bool>(),
        at_once in 1..5_000_usize,
        sizes in prop::collection::vec(1..3_000_usize, 1..5),
    ) {
        let sent = frames.concat();
        let (mut encoder, mut decoder) = match chunked {
            true => (Encoder::Chunked, Decoder::Chunked(Chunked::Size)),
            false => (Encoder::Length(sent.len() as u64), Decoder::Length(sent.len() as u64)),
        };
        let trailers: HeaderMap = [(http::header::ETAG, "x".parse().unwrap())].into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut wire = Vec::new();
        let last = frames.len().saturating_sub(1);
        for (number, data) in frames.into_iter().enumerate() {
            let mut output = Outgoing::default();
            encoder.encode(Frame::data(data.into()), &mut output).unwrap();
            if number == last && !with_trailers {
                encoder.end(&mut output).unwrap();
            }
            wire.extend(runtime.block_on(written(output, at_once)));
        }
        let mut output = Outgoing::default();
        if with_trailers {
            encoder.encode(Frame::trailers(trailers.clone()), &mut output).unwrap();
        }
        if encoder != Encoder::Ended || with_trailers {
            encoder.end(&mut output).unwrap();
        }
        wire.extend(runtime.block_on(written(output, at_once)));
        let (data, received, ended) = decoded(&mut decoder, &wire, &sizes);
        prop_assert!(data == sent);
        prop_assert!(ended);
        prop_assert_eq!(received, (chunked && with_trailers).then_some(trailers));
    }
}
