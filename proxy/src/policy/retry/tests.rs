use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn moment() -> Moment {
    Moment { made: 1, is_whole: true, left: None, time_of_day: SystemTime::UNIX_EPOCH, random: 1.0 }
}

fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields =
        fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    fields.collect()
}

const GET: Safety = Safety { idempotent: true, is_grpc: false };
const POST: Safety = Safety { idempotent: false, is_grpc: false };
const CALL: Safety = Safety { idempotent: false, is_grpc: true };

fn named(codes: &[u32]) -> Retry {
    Retry { grpc_codes: codes.to_vec(), ..Retry::default() }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn repeats(policy: &Retry, safety: Safety, ended: Ended<'_>) -> bool {
    matches!(decide(policy, safety, ended, moment()), Decision::Again { .. })
}

#[test]
fn what_may_be_done_twice_is_so_by_its_method_its_key_or_the_policy() {
    let (policy, none) = (Retry::default(), HeaderMap::new());
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE] {
        assert!(Safety::of(&policy, &method, &none, false).idempotent, "{method}");
    }
    for method in [Method::POST, Method::PATCH, Method::CONNECT] {
        assert!(!Safety::of(&policy, &method, &none, false).idempotent, "{method}");
        assert!(Safety::of(&policy, &method, &head(&[("idempotency-key", "\"1\"")]), false).idempotent, "{method}");
        let any = Retry { any_method: true, ..Retry::default() };
        assert!(Safety::of(&any, &method, &none, false).idempotent, "{method}");
    }
    assert!(!CALL.may_repeat(&policy) && CALL.may_repeat(&named(&[14])) && !POST.may_repeat(&named(&[14])));
    assert!(!GET.may_repeat(&Retry { attempts: 0, ..Retry::default() }));
}

#[test]
fn each_end_of_an_attempt_is_repeated_by_its_own_rule() {
    let (default, none) = (Retry::default(), HeaderMap::new());
    let unsent = Ended::Unsent { elsewhere: false };
    for safety in [GET, POST, CALL] {
        assert!(repeats(&default, safety, unsent), "{safety:?}");
        assert!(!repeats(&default, safety, Ended::Otherwise), "{safety:?}");
        assert!(!repeats(&Retry { attempts: 0, ..Retry::default() }, safety, unsent), "{safety:?}");
    }
    for ended in [Ended::Reset, Ended::Timeout, Ended::Answered(status(503), &none)] {
        assert!(repeats(&default, GET, ended) && !repeats(&default, POST, ended) && !repeats(&default, CALL, ended));
    }
    let never = Retry { on_reset: false, on_timeout: false, ..Retry::default() };
    assert!(!repeats(&never, GET, Ended::Reset) && !repeats(&never, GET, Ended::Timeout));

    let repeated: Vec<u16> =
        (200..600).filter(|code| repeats(&default, GET, Ended::Answered(status(*code), &none))).collect();
    assert_eq!(repeated, [429, 500, 502, 503, 504]);
    let all = Retry { statuses: (400..600).map(status).collect(), any_method: true, ..Retry::default() };
    for code in [400, 401, 403, 404] {
        assert!(!repeats(&all, GET, Ended::Answered(status(code), &none)), "{code}");
    }
}

#[test]
fn a_call_is_repeated_after_the_codes_that_are_named() {
    let unavailable = head(&[("grpc-status", "14")]);
    let answered = Ended::Answered(StatusCode::OK, &unavailable);
    assert!(repeats(&named(&[14]), CALL, answered));
    assert!(!repeats(&named(&[8]), CALL, answered));
    assert!(!repeats(&Retry::default(), CALL, answered));
    assert!(!repeats(&named(&[14]), GET, answered), "no call");
    // What a gRPC client would make of it.
    let none = HeaderMap::new();
    assert!(repeats(&named(&[14]), CALL, Ended::Reset) && !repeats(&named(&[4]), CALL, Ended::Reset));
    assert!(repeats(&named(&[4]), CALL, Ended::Timeout) && !repeats(&named(&[14]), CALL, Ended::Timeout));
    assert!(repeats(&named(&[14]), CALL, Ended::Answered(status(503), &none)));
    assert!(!repeats(&named(&[2, 5, 7, 12, 16]), CALL, Ended::Answered(status(404), &none)));
}

#[test]
fn the_server_says_how_long_to_wait() {
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + MS(1000));
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let policy = Retry { backoff: Backoff::Fixed(MS(5)), ..Retry::default() };
    let after = |code, value: &str| {
        let headers = head(&[("retry-after", value)]);
        decide(&policy, GET, Ended::Answered(status(code), &headers), moment())
    };
    let again = |wait| Decision::Again { reason: Reason::Status, wait: MS(wait) };
    for (value, decision) in [
        ("1", again(1000)),
        ("0", again(5)),
        (&date, again(1000)),
        (&past, again(5)),
        ("2", Decision::Answer(Some(Stop::WaitTooLong))),
        ("99999999999999999999", again(5)),
        ("soon", again(5)),
    ] {
        assert_eq!((after(503, value), after(429, value)), (decision, decision), "{value}");
    }
    assert_eq!(after(502, "2"), again(5), "only 429 and 503 say so");

    let pushback = |value: &str| {
        let headers = head(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", value)]);
        decide(&named(&[14]), CALL, Ended::Answered(StatusCode::OK, &headers), moment())
    };
    assert_eq!(pushback("300"), Decision::Again { reason: Reason::GrpcStatus, wait: MS(300) });
    assert_eq!(pushback("0"), Decision::Again { reason: Reason::GrpcStatus, wait: MS(0) });
    for stop in ["-1", "x", ""] {
        assert_eq!(pushback(stop), Decision::Answer(Some(Stop::Forbidden)), "{stop}");
    }
    assert_eq!(pushback("5000"), Decision::Answer(Some(Stop::WaitTooLong)));
}

#[test]
fn the_wait_grows_up_to_a_limit() {
    let waits = |backoff, random| {
        [1, 2, 3, 5, 40].map(|made| {
            let policy = Retry { attempts: 100, backoff, ..Retry::default() };
            match decide(&policy, GET, Ended::Reset, Moment { made, random, ..moment() }) {
                Decision::Again { wait, .. } => wait.as_millis(),
                Decision::Answer(stop) => panic!("{stop:?}"),
            }
        })
    };
    let exponential = Backoff::Exponential { base: MS(25), max: MS(250) };
    assert_eq!(waits(exponential, 1.0), [25, 50, 100, 250, 250]);
    assert_eq!(waits(exponential, 0.0), [0; 5]);
    assert_eq!(waits(Backoff::Fixed(MS(7)), 0.5), [7; 5]);
    assert_eq!(waits(Backoff::None, 0.5), [0; 5]);
    let elsewhere = decide(&Retry::default(), POST, Ended::Unsent { elsewhere: true }, moment());
    assert_eq!(elsewhere, Decision::Again { reason: Reason::Unsent, wait: MS(0) });
}

#[test]
fn it_says_why_there_is_no_other() {
    let policy = Retry { backoff: Backoff::Fixed(MS(5)), ..Retry::default() };
    for (moment, stop) in [
        (Moment { made: 3, ..moment() }, Stop::AttemptsUsedUp),
        (Moment { is_whole: false, ..moment() }, Stop::BodyNotKept),
        (Moment { left: Some(MS(5)), ..moment() }, Stop::NoTimeLeft),
    ] {
        assert_eq!(decide(&policy, GET, Ended::Reset, moment), Decision::Answer(Some(stop)));
    }
    assert_eq!(
        decide(&policy, POST, Ended::Reset, moment()),
        Decision::Answer(None),
        "it would not be repeated anyway"
    );
}

fn any_policy() -> impl Strategy<Value = Retry> {
    let backoff = (0_u64..500, 0_u64..5000)
        .prop_map(|(base, more)| Backoff::Exponential { base: MS(base), max: MS(base + more) });
    (0_u32..5, any::<bool>(), any::<bool>(), prop::collection::vec(0_u32..17, 0..4), backoff).prop_map(
        |(attempts, on_reset, on_timeout, grpc_codes, backoff)| Retry {
            attempts,
            on_reset,
            on_timeout,
            grpc_codes,
            backoff,
            statuses: (400..600).map(status).collect(),
            ..Retry::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever the policy: a request that may not be done twice is not, and no wait goes past the deadline.
    #[test]
    fn nothing_is_done_twice_that_may_not_be(
        policy in any_policy(),
        code in 200_u16..600,
        which in 0..3,
        (made, left, random) in (1_u32..6, prop::option::of(0_u64..3000), 0.0..1.0),
    ) {
        let headers = head(&[("retry-after", "1")]);
        let ended = match which { 0 => Ended::Reset, 1 => Ended::Timeout, _ => Ended::Answered(status(code), &headers) };
        let moment = Moment { made, left: left.map(MS), random, ..moment() };
        prop_assert_eq!(decide(&policy, POST, ended, moment), Decision::Answer(None));
        if let Decision::Again { wait, .. } = decide(&policy, GET, ended, moment) {
            prop_assert!(made <= policy.attempts && moment.left.is_none_or(|left| wait < left));
            prop_assert!(![400, 401, 403, 404].contains(&code) || which < 2);
        }
        let grpc = decide(&policy, CALL, ended, moment);
        prop_assert!(!policy.grpc_codes.is_empty() || grpc == Decision::Answer(None));
    }
}
