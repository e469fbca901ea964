use http::header::COOKIE;
use proptest::prelude::*;

use super::*;

const HOME: Place = Place { share: 7, endpoint: 0xdead_beef };
const AWAY: Place = Place { share: 8, endpoint: 1 };
const SECOND: Duration = Duration::from_secs(1);

fn cookie(permanent: bool) -> Session {
    Session { carrier: Carrier::Cookie { name: "seat".into(), permanent }, absolute: None, idle: None }
}

fn header() -> Session {
    Session { carrier: Carrier::Header(HeaderName::from_static("x-seat")), absolute: None, idle: None }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// What a caller sends that was told `answer`.
fn again(answer: &HeaderMap) -> HeaderMap {
    let mut request = HeaderMap::new();
    for line in answer.get_all(SET_COOKIE) {
        request.insert(COOKIE, line.to_str().unwrap().split(';').next().unwrap().parse().unwrap());
    }
    if let Some(value) = answer.get("x-seat") {
        request.insert("x-seat", value.clone());
    }
    request
}

/// One request that is answered from `from`: where the session was, and what the caller is told.
fn visit(session: &Session, request: &HeaderMap, seconds: u64, from: Place) -> (Option<Place>, HeaderMap) {
    let visit = Visit::of(session, request, at(seconds));
    let mut answer = HeaderMap::new();
    visit.keep(from, &mut answer);
    (visit.place(), answer)
}

#[test]
fn a_session_begins_stays_and_moves() {
    for session in [cookie(false), cookie(true), header()] {
        let (place, answer) = visit(&session, &HeaderMap::new(), 0, HOME);
        assert_eq!((place, answer.len()), (None, 1), "{session:?}: it begins");
        let mut request = again(&answer);
        let (place, answer) = visit(&session, &request, 1000, HOME);
        assert_eq!((place, answer.len()), (Some(HOME), 0), "{session:?}: the caller knows");
        let (place, answer) = visit(&session, &request, 1000, AWAY);
        assert_eq!((place, answer.len()), (Some(HOME), 1), "{session:?}: it moves");
        request = again(&answer);
        assert_eq!(visit(&session, &request, 1000, AWAY).0, Some(AWAY), "{session:?}");
    }
}

#[test]
fn the_cookie_says_who_may_read_it_and_how_long_it_lasts() {
    let set = |session: &Session, request: &HeaderMap| {
        let answer = visit(session, request, 0, HOME).1;
        let line = answer[SET_COOKIE].to_str().unwrap().to_owned();
        let (value, attributes) = line.split_once("; ").map(|(v, a)| (v.to_owned(), a.to_owned())).unwrap();
        assert!(value.starts_with("seat=") && value.len() == "seat=".len() + 44, "{value}");
        attributes
    };
    let plain = HeaderMap::new();
    assert_eq!(set(&cookie(false), &plain), "Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(set(&cookie(true), &plain), "Path=/; HttpOnly; SameSite=Lax", "there is no limit to say");
    let hour = Some(3600 * SECOND);
    assert_eq!(set(&Session { absolute: hour, ..cookie(false) }, &plain), "Path=/; HttpOnly; SameSite=Lax");
    let lasting = Session { absolute: hour, ..cookie(true) };
    assert_eq!(set(&lasting, &plain), "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    let mut https = HeaderMap::new();
    https.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    assert_eq!(set(&cookie(false), &https), "Path=/; HttpOnly; SameSite=Lax; Secure");

    let request = again(&visit(&lasting, &plain, 0, HOME).1);
    let moved = visit(&lasting, &request, 600, AWAY).1;
    assert!(moved[SET_COOKIE].to_str().unwrap().ends_with("; Max-Age=3000"), "it keeps its age: {moved:?}");
}

#[test]
fn the_absolute_limit_counts_from_the_beginning_also_of_a_session_that_moved() {
    let session = Session { absolute: Some(100 * SECOND), ..header() };
    let request = again(&visit(&session, &HeaderMap::new(), 0, HOME).1);
    let request = again(&visit(&session, &request, 60, AWAY).1);
    assert_eq!(visit(&session, &request, 99, AWAY).0, Some(AWAY));
    let (place, answer) = visit(&session, &request, 100, HOME);
    assert_eq!(place, None);
    assert_eq!(visit(&session, &again(&answer), 199, HOME).0, Some(HOME), "another one has begun");
}

#[test]
fn the_idle_limit_counts_from_the_last_request() {
    let session = Session { idle: Some(10 * SECOND), ..cookie(false) };
    let mut request = again(&visit(&session, &HeaderMap::new(), 0, HOME).1);
    for seconds in [9, 18, 27] {
        let (place, answer) = visit(&session, &request, seconds, HOME);
        assert_eq!(place, Some(HOME), "after {seconds} s");
        request = again(&answer);
    }
    assert_eq!(visit(&session, &request, 37, HOME).0, None);
}

#[test]
fn what_is_malformed_or_from_the_future_is_no_session() {
    let session = header();
    let good = again(&visit(&session, &HeaderMap::new(), 0, HOME).1)["x-seat"].to_str().unwrap().to_owned();
    let read = |text: &str, seconds| {
        let mut request = HeaderMap::new();
        request.insert("x-seat", text.parse().unwrap());
        visit(&session, &request, seconds, HOME).0
    };
    assert_eq!(read(&good, 0), Some(HOME));
    for bad in ["", "10.0.0.1:8080", &good[1..], &good[..43], &format!("{good}AAAA"), &format!("B{}", &good[1..])] {
        assert_eq!(read(bad, 0), None, "{bad}");
    }
    let other_clock = visit(&session, &HeaderMap::new(), 30, HOME).1["x-seat"].to_str().unwrap().to_owned();
    let future = visit(&session, &HeaderMap::new(), 300, HOME).1["x-seat"].to_str().unwrap().to_owned();
    assert_eq!((read(&other_clock, 0), read(&future, 0)), (Some(HOME), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_token_survives_its_text(share: u64, endpoint: u64, begun: u64, used: u64) {
        let token = Token { place: Place { share, endpoint }, begun, used };
        let text = token.format();
        prop_assert_eq!(Token::parse(text.as_bytes()), Some(token));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    }

    /// Whatever a caller makes up, and however odd the limits are.
    #[test]
    fn nothing_that_a_caller_says_breaks_it(
        text in prop::collection::vec(any::<u8>(), 0..80), begun: u64, used: u64, absolute: u64, idle: u64,
    ) {
        let made_up = Token { place: HOME, begun, used }.format();
        let limits = (Some(Duration::from_millis(absolute)), Some(Duration::from_millis(idle)));
        for text in [text, made_up.into_bytes()] {
            let Ok(value) = HeaderValue::from_bytes(&text) else { continue };
            for session in [header(), cookie(true)] {
                let session = Session { absolute: limits.0, idle: limits.1, ..session };
                let request = [(HeaderName::from_static("x-seat"), value.clone()), (COOKIE, value.clone())];
                let (_, answer) = visit(&session, &request.into_iter().collect(), 0, HOME);
                prop_assert_eq!(answer.len(), 1);
            }
        }
    }
}
