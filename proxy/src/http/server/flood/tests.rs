use proptest::prelude::*;

use super::*;

const PRIORITY: u8 = 2;

fn head(kind: u8, length: u32) -> Head {
    Head { length, kind, flags: 0, stream: 0 }
}

/// Whether so many frames of each kind, in turns, are a flood, when each turn takes `pace` and writes so many bytes.
async fn floods(kinds: &[(u8, u32, u32)], pace: Duration, written: u64) -> Option<Flood> {
    let mut counts = Counts::new(Instant::now());
    for _ in 0..20_000 {
        for (kind, length, count) in kinds {
            (0..*count).for_each(|_| counts.count(head(*kind, *length)));
        }
        counts.written += written;
        if let Some(flood) = counts.flood(7) {
            return Some(flood);
        }
        tokio::time::advance(pace).await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_nothing_is_a_flood_only_when_it_comes_fast() {
    let millis = Duration::from_millis;
    for (kind, slow) in [(PING, 11), (PRIORITY, 11), (GO_AWAY, 11), (0x77, 11), (SETTINGS, 110)] {
        assert_eq!(floods(&[(kind, 8, 1)], millis(1), 17).await, Some(Flood::Control { last: 7 }), "{kind}");
        assert_eq!(floods(&[(kind, 8, 1)], millis(slow), 17).await, None, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_with_requests_or_answers_is_none() {
    let at_once = Duration::ZERO;
    let control = Some(Flood::Control { last: 7 });
    assert_eq!(floods(&[(HEADERS, 9, 1), (PING, 8, 4)], at_once, 0).await, None);
    assert_eq!(floods(&[(HEADERS, 9, 1), (PING, 8, 5)], at_once, 0).await, control);
    assert_eq!(floods(&[(DATA, 1, 1), (PRIORITY, 5, 3)], at_once, 0).await, None);
    assert_eq!(floods(&[(DATA, 0, 1), (PRIORITY, 5, 3)], at_once, 0).await, control);
    // A message of a byte, and its ping's answer.
    assert_eq!(floods(&[(PING, 8, 1)], at_once, 9 + 6 + 17).await, None);
    assert_eq!(floods(&[(WINDOW_UPDATE, 4, 10), (CONTINUATION, 9, 10)], at_once, 0).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_now_and_then_does_not_flood() {
    let (at_once, slowly) = (Duration::ZERO, Duration::from_millis(2));
    let resets = Some(Flood::Resets { last: 7 });
    assert_eq!(floods(&[(HEADERS, 9, 1), (RST_STREAM, 4, 1)], at_once, 0).await, resets);
    assert_eq!(floods(&[(RST_STREAM, 4, 1)], at_once, 0).await, resets);
    assert_eq!(floods(&[(HEADERS, 9, 1), (RST_STREAM, 4, 1)], slowly, 0).await, None);
    assert_eq!(floods(&[(HEADERS, 9, 2), (RST_STREAM, 4, 1)], at_once, 0).await, None);
}

#[test]
fn going_away_names_the_last_request_that_was_passed_on() {
    let frame = Flood::Resets { last: 0x0102_0304 }.go_away();
    assert_eq!(frame, [0, 0, 8, 7, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 11]);
}

proptest! {
    /// However the bytes are cut, the same heads are found.
    #[test]
    fn heads_are_found_in_any_pieces(
        sent in prop::collection::vec((any::<u8>(), 0..40_u32, 0..=0x7fff_ffff_u32), 0..30),
        sizes in prop::collection::vec(1..50_usize, 1..9),
    ) {
        let mut bytes = PREFACE.to_vec();
        for (kind, length, stream) in &sent {
            bytes.extend_from_slice(&length.to_be_bytes()[1..]);
            bytes.extend_from_slice(&[*kind, *length as u8]);
            // The bit that is reserved does not count.
            bytes.extend_from_slice(&(stream | 1 << 31).to_be_bytes());
            bytes.extend((0..*length).map(|n| n as u8));
        }
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            frames.read(piece, |head| found.push((head.kind, head.length, head.flags, head.stream)));
            rest = next;
        }
        let sent: Vec<_> = sent.into_iter().map(|(kind, length, stream)| (kind, length, length as u8, stream)).collect();
        prop_assert_eq!(found, sent);
    }
}
