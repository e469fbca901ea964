use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::http::{body::End, tap::Tap};

const SECOND: Duration = Duration::from_secs(1);

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

fn get(path: &str, lines: &[(&str, &str)]) -> Parts {
    let mut parts = Request::get(path).body(()).unwrap().into_parts().0;
    parts.headers = headers(lines);
    parts
}

/// 2026-01-01T00:00:00Z
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// Seconds that an answer is fresh, and that it may stand in for a failure: `None`: it is not kept.
fn times(request: &[(&str, &str)], status: u16, answer: &[(&str, &str)], policy: Option<u64>) -> Option<(u64, u64)> {
    let now = Instant::now();
    let wall = httpdate::parse_http_date(DATE).unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    let policy = policy.map(Duration::from_secs);
    let lifetime = Lifetime::of(&headers(request), status, &headers(answer), policy, (now, wall))?;
    let until = |instant: Instant| instant.duration_since(now).as_secs();
    Some((until(lifetime.fresh_until), lifetime.stand_in_until.map_or(0, until)))
}

#[test]
fn how_long_an_answer_may_be_given() {
    let control = |value: &str, policy| times(&[], 200, &[("cache-control", value)], policy);
    for (value, policy, expected) in [
        ("max-age=60", None, Some((60, 0))),
        ("MAX-AGE=60", None, Some((60, 0))),
        ("max-age=\"60\"", None, Some((60, 0))),
        ("max-age=60", Some(30), Some((60, 90))),
        ("max-age=60, stale-if-error=5", Some(30), Some((60, 65))),
        ("max-age=60, stale-if-error=5", None, Some((60, 65))),
        ("max-age=60, s-maxage=10", Some(30), Some((10, 0))),
        ("s-maxage=10, stale-if-error=5", None, Some((10, 15))),
        ("max-age=60, must-revalidate, stale-if-error=5", Some(30), Some((60, 0))),
        ("max-age=60, proxy-revalidate", Some(30), Some((60, 0))),
        ("max-age=18446744073709551616", None, Some((10 * 365 * 24 * 3600, 0))),
        ("max-age=60, max-age=70", Some(30), Some((0, 30))),
        ("max-age=sixty", Some(30), Some((0, 30))),
        ("max-age=-1", None, None),
        ("max-age=0", None, None),
        ("max-age", None, None),
        ("public", None, None),
        ("public", Some(30), Some((0, 30))),
        ("x=\"a, no-store\", max-age=60", None, Some((60, 0))),
        ("no-store, max-age=60", Some(30), None),
        ("No-Store", Some(30), None),
        ("private, max-age=60", Some(30), None),
        ("private=\"set-cookie\", max-age=60", Some(30), None),
        ("no-cache", Some(30), None),
    ] {
        assert_eq!(control(value, policy), expected, "{value} {policy:?}");
    }
    assert_eq!(times(&[], 200, &[], Some(30)), Some((0, 30)), "nothing is said");
    assert_eq!(times(&[], 200, &[], None), None);
}

#[test]
fn ages_and_dates_count() {
    let later = "Thu, 01 Jan 2026 00:01:00 GMT";
    let before = "Wed, 31 Dec 2025 23:59:30 GMT";
    for (answer, policy, expected) in [
        (&[("expires", later)][..], None, Some((60, 0))),
        (&[("expires", later), ("date", before)], None, Some((60, 0))),
        (&[("expires", "0")], Some(30), Some((0, 30))),
        (&[("expires", before)], None, None),
        (&[("cache-control", "max-age=60"), ("expires", before)], None, Some((60, 0))),
        (&[("cache-control", "max-age=60"), ("age", "20")], None, Some((40, 0))),
        (&[("cache-control", "max-age=60"), ("date", before)], None, Some((30, 0))),
        (&[("cache-control", "max-age=60"), ("age", "80")], Some(30), Some((0, 10))),
        (&[("cache-control", "max-age=60"), ("age", "90")], Some(30), None),
        (&[("cache-control", "max-age=60"), ("age", "18446744073709551615")], Some(30), None),
        (&[("cache-control", "max-age=60"), ("age", "soon")], Some(30), None),
    ] {
        assert_eq!(times(&[], 200, answer, policy), expected, "{answer:?}");
    }
}

#[test]
fn what_is_not_for_others_is_not_kept() {
    let max_age = ("cache-control", "max-age=60");
    let kept = |request: &[_], status, answer: &[_]| times(request, status, answer, Some(30)).is_some();
    for personal in [("authorization", "Bearer x"), ("cookie", "user=anna")] {
        assert!(!kept(&[personal], 200, &[max_age]), "{personal:?}");
        for control in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
            assert!(kept(&[personal], 200, &[("cache-control", control)]), "{personal:?} {control}");
        }
    }
    assert!(!kept(&[("cache-control", "no-store")], 200, &[max_age]));
    assert!(!kept(&[], 200, &[max_age, ("set-cookie", "a=b")]));
    assert!(!kept(&[], 200, &[max_age, ("vary", "accept, *")]));
    assert!(!kept(&[], 200, &[("pragma", "no-cache")]));
    for (status, said, unsaid) in
        [(200, true, true), (206, false, false), (304, false, false), (404, true, true), (302, true, false)]
    {
        assert_eq!((kept(&[], status, &[max_age]), kept(&[], status, &[])), (said, unsaid), "{status}");
    }
    for status in [100, 201, 400, 401, 403, 429, 500, 501, 502, 503, 504] {
        assert!(!kept(&[], status, &[max_age]), "{status}");
    }
}

fn cache(change: impl FnOnce(&mut Settings)) -> Arc<Cache> {
    let mut settings = Settings { serve_fresh: true, ..Settings::default() };
    change(&mut settings);
    Arc::new(Cache::new(settings))
}

fn key(path: &str) -> Key {
    Key::new("shop/orders:80", b"orders", &get(path, &[]))
}

/// Has the answer pass through the cache; whether it was to be kept.
async fn pass(cache: &Arc<Cache>, request: &Parts, lines: &[(&str, &str)], body: &'static str) -> bool {
    let mut response = Response::new(Body::full(body));
    *response.headers_mut() = headers(lines);
    let (response, kept) = cache.record(&key(request.uri.path()), request, response);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    kept
}

fn found(cache: &Cache, request: &Parts, after: Duration) -> String {
    match cache.find(&key(request.uri.path()), request, Instant::now() + after) {
        Kept::Nothing(why) => format!("{why:?}"),
        Kept::Fresh(entry) => format!("fresh {}", String::from_utf8_lossy(&entry.body)),
        Kept::Stale(None) => "too old".into(),
        Kept::Stale(Some(entry)) => format!("stale {}", String::from_utf8_lossy(&entry.body)),
    }
}

#[tokio::test]
async fn an_answer_is_fresh_then_stale_then_too_old() {
    let cache = cache(|settings| settings.stale_if_error = Some(30 * SECOND));
    let request = get("/a", &[]);
    assert_eq!(found(&cache, &request, Duration::ZERO), "UriMiss");
    assert!(pass(&cache, &request, &[("cache-control", "max-age=60")], "one").await);
    for (after, expected) in
        [(0, "fresh one"), (59, "fresh one"), (61, "stale one"), (89, "stale one"), (91, "too old")]
    {
        assert_eq!(found(&cache, &request, after * SECOND), expected, "{after}");
    }
    assert_eq!(found(&cache, &get("/b", &[]), Duration::ZERO), "UriMiss");
    for (method, expected) in [(Method::HEAD, "fresh one"), (Method::POST, "Method")] {
        let mut other = request.clone();
        other.method = method;
        assert_eq!(found(&cache, &other, Duration::ZERO), expected);
    }
}

#[tokio::test]
async fn a_request_may_want_better() {
    let cache = cache(|settings| settings.stale_if_error = Some(30 * SECOND));
    assert!(pass(&cache, &get("/", &[]), &[("cache-control", "max-age=60")], "one").await);
    let asked = |lines: &[(&str, &str)]| found(&cache, &get("/", lines), 20 * SECOND);
    for (line, expected) in [
        (("cache-control", "no-cache"), "Request"),
        (("pragma", "no-cache"), "Request"),
        (("range", "bytes=0-1"), "Request"),
        (("if-match", "\"a\""), "Request"),
        (("cache-control", "max-age=10"), "stale one"),
        (("cache-control", "max-age=30"), "fresh one"),
        (("cache-control", "min-fresh=30"), "fresh one"),
        (("cache-control", "min-fresh=50"), "stale one"),
        (("cookie", "user=anna"), "VaryMiss"),
    ] {
        assert_eq!(asked(&[line]), expected, "{line:?}");
    }
}

#[tokio::test]
async fn answers_that_vary_are_told_apart_by_all_lines() {
    let cache = cache(|_| {});
    let english = get("/", &[("accept-language", "en")]);
    let vary = [("cache-control", "max-age=60"), ("vary", "Accept-Language, x-user")];
    assert!(pass(&cache, &english, &vary, "hello").await);
    let german = get("/", &[("accept-language", "de")]);
    assert_eq!(found(&cache, &german, SECOND), "VaryMiss");
    assert!(pass(&cache, &german, &vary, "hallo").await);
    assert_eq!(found(&cache, &english, SECOND), "fresh hello");
    assert_eq!(found(&cache, &german, SECOND), "fresh hallo");
    let two = get("/", &[("accept-language", "en"), ("accept-language", "fr")]);
    assert_eq!(found(&cache, &two, SECOND), "VaryMiss");
    assert_eq!(found(&cache, &get("/", &[("accept-language", "en"), ("x-user", "1")]), SECOND), "VaryMiss");
    cache.forget(&key("/"));
    assert_eq!(found(&cache, &german, SECOND), "UriMiss");
}

#[tokio::test]
async fn a_successor_that_may_not_be_kept_ends_what_was() {
    let cache = cache(|_| {});
    let request = get("/", &[]);
    assert!(pass(&cache, &request, &[("cache-control", "max-age=60")], "one").await);
    assert!(!pass(&cache, &request, &[("cache-control", "no-store")], "two").await);
    assert_eq!(found(&cache, &request, SECOND), "UriMiss");
}

#[tokio::test]
async fn only_whole_answers_within_the_bound_are_kept() {
    let cache = cache(|settings| settings.max_entry_bytes = 5);
    let request = get("/", &[]);
    let control = [("cache-control", "max-age=60")];
    assert!(!pass(&cache, &request, &control, "sixsix").await, "its length is known");
    assert!(pass(&cache, &request, &control, "fives").await);
    cache.forget(&key("/"));

    let recording = || {
        let lifetime = Lifetime::of(
            &request.headers,
            StatusCode::OK,
            &headers(&control),
            None,
            (Instant::now(), SystemTime::now()),
        );
        let entry = Entry::new(&request.headers, StatusCode::OK, headers(&control), lifetime.unwrap());
        Box::new(Recording::new(cache.clone(), key("/"), request.headers.clone(), entry))
    };
    for end in [End::Failed, End::Dropped, End::Complete { trailers: Some(&HeaderMap::new()) }] {
        let mut broken = recording();
        broken.data(&Bytes::from_static(b"abc"));
        broken.ended(end);
        assert_eq!(found(&cache, &request, SECOND), "UriMiss", "{end:?}");
    }
    let mut long = recording();
    long.data(&Bytes::from_static(b"abc"));
    long.data(&Bytes::from_static(b"abc"));
    assert_eq!(cache.under_way.load(Ordering::Relaxed), 6);
    long.ended(End::Complete { trailers: None });
    assert_eq!((found(&cache, &request, SECOND).as_str(), cache.under_way.load(Ordering::Relaxed)), ("UriMiss", 0));
}

#[tokio::test]
async fn an_answer_says_where_it_comes_from() {
    let cache = cache(|settings| settings.stale_if_error = Some(30 * SECOND));
    let said =
        [("cache-control", "max-age=60"), ("etag", "\"v1\""), ("last-modified", DATE), ("x-own", "1"), ("x-own", "2")];
    assert!(pass(&cache, &get("/", &[]), &said, "one").await);
    let entry = match cache.find(&key("/"), &get("/", &[]), Instant::now()) {
        Kept::Fresh(entry) => entry,
        _ => panic!("it is fresh"),
    };
    let at = |seconds| entry.lifetime().fresh_until - 60 * SECOND + seconds * SECOND;
    let line = |response: &Response<Body>, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let hit = entry.hit(&get("/", &[]), at(10));
    assert_eq!([line(&hit, "age"), line(&hit, CACHE_STATUS.as_str())], ["10", "weft; hit; ttl=50"]);
    assert_eq!(hit.headers().get_all("x-own").iter().count(), 2, "all lines of a field are kept");
    assert_eq!(hit.into_body().collect().await.unwrap().to_bytes(), "one");
    let stale = entry.stand_in(&get("/", &[]), Some(StatusCode::BAD_GATEWAY), at(70));
    assert_eq!(line(&stale, "cache-status"), "weft; fwd=stale; fwd-status=502; ttl=-10; detail=stale-if-error");
    let stale = entry.stand_in(&get("/", &[]), None, at(70));
    assert_eq!(
        [line(&stale, "age"), line(&stale, "cache-status")],
        ["70", "weft; hit; ttl=-10; detail=stale-if-error"]
    );

    for (condition, status) in [
        (("if-none-match", "\"v1\""), 304),
        (("if-none-match", "\"v0\", W/\"v1\""), 304),
        (("if-none-match", "*"), 304),
        (("if-none-match", "\"v2\""), 200),
        (("if-modified-since", DATE), 304),
        (("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT"), 200),
    ] {
        let response = entry.hit(&get("/", &[condition]), at(1));
        assert_eq!(response.status().as_u16(), status, "{condition:?}");
        assert_eq!(response.headers().contains_key("x-own"), status == 200);
        assert_eq!(line(&response, "etag"), "\"v1\"");
    }
    let both = [("if-none-match", "\"v2\""), ("if-modified-since", DATE)];
    assert_eq!(entry.hit(&get("/", &both), at(1)).status(), 200, "the tag decides");
}

proptest! {
    /// Whatever is put and removed, the store never holds more than it may, and counts right.
    #[test]
    fn the_bound_is_never_exceeded(
        limit in 0..20_000_u64,
        steps in proptest::collection::vec((0..4_u8, 0..6_usize, 0..40_usize, 0..5000_usize), 1..200),
    ) {
        let mut store = Store::new(limit);
        let answer = headers(&[("cache-control", "max-age=60"), ("vary", "x-user")]);
        for (act, target, user, length) in steps {
            let key = key(&format!("/{target}"));
            let request = headers(&[("x-user", &user.to_string())]);
            match act {
                0 => store.remove(&key),
                1 => store.remove_variant(&key, &request),
                _ => {
                    let now = (Instant::now(), SystemTime::now());
                    let lifetime = Lifetime::of(&request, StatusCode::OK, &answer, None, now).unwrap();
                    let mut entry = Entry::new(&request, StatusCode::OK, answer.clone(), lifetime);
                    entry.body = Bytes::from(vec![b'x'; length]);
                    store.put(key, &request, entry);
                }
            }
            let (counted, held) = store.bytes();
            prop_assert_eq!(counted, held);
            prop_assert!(held <= limit, "{} of {}", held, limit);
        }
    }

    /// No text makes it panic, or overflow.
    #[test]
    fn any_text_is_survived(control in "[a-z0-9=\", \\\\-]{0,60}", age in "[0-9a-z]{0,30}", expires in "\\PC{0,40}") {
        let mut answer = headers(&[("age", &age)]);
        for (name, value) in [("cache-control", &control), ("expires", &expires)] {
            if let Ok(value) = value.parse() {
                answer.insert(name, value);
            }
        }
        let now = (Instant::now(), SystemTime::now());
        if let Some(lifetime) = Lifetime::of(&HeaderMap::new(), StatusCode::OK, &answer, Some(SECOND), now) {
            prop_assert!(lifetime.age(now.0) >= lifetime.age);
        }
    }
}
