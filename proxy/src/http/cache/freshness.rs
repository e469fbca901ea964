//! What may be kept, and for how long (RFC 9111, sections 3 and 4.2; RFC 5861, section 4). Pure.
//!
//! Where the standard leaves a choice, the careful one is taken: an answer is fresh only as long as it says so itself
//! (no heuristics), what is malformed is stale, and directives are read in any case and over all lines.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

/// Longer times are cut, so that none overflows.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

/// Until when a kept answer may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// It says that it is not only for who asked.
    pub for_everybody: bool,
    /// How old it was when it came.
    pub age: Duration,
    pub came: Instant,
    pub fresh_until: Instant,
    /// `None`: it may not be given when it is not fresh.
    pub stand_in_until: Option<Instant>,
}

impl Lifetime {
    /// `None`: the answer may not be kept, or there is no use in it. `stand_in` is how long after its freshness an answer
    /// may stand in for a failure that does not say so itself.
    pub fn of(
        request: &HeaderMap,
        status: StatusCode,
        answer: &HeaderMap,
        stand_in: Option<Duration>,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Self> {
        let control = Directives::of(answer, &header::CACHE_CONTROL);
        if Directives::of(request, &header::CACHE_CONTROL).has("no-store") || !control.may_keep(request, status, answer)
        {
            return None;
        }
        let age = age(answer, wall);
        let lifetime = lifetime(&control, answer, wall);
        let fresh = lifetime.unwrap_or_default().saturating_sub(age);
        let own = control.seconds("stale-if-error");
        let forbidden = control.has("must-revalidate") || control.has("proxy-revalidate");
        let stand_in = match own {
            _ if forbidden => None,
            Some(own) => Some(own),
            // It implies `proxy-revalidate` (section 5.2.2.10), which only the answer itself can take back.
            None if control.has("s-maxage") => None,
            None => stand_in,
        };
        let fresh_until = now + fresh;
        // One that is stale by now has been for a while.
        let stale_for = age.saturating_sub(lifetime.unwrap_or(age));
        let stand_in_until = stand_in.map(|limit| fresh_until + limit.min(cut(LONGEST)).saturating_sub(stale_for));
        let until = stand_in_until.unwrap_or(fresh_until);
        let for_everybody = control.is_for_everybody();
        (until > now).then_some(Self { for_everybody, age, came: now, fresh_until, stand_in_until })
    }

    pub fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.came)
    }

    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.fresh_until
    }

    pub fn may_stand_in(&self, now: Instant) -> bool {
        self.is_fresh(now) || self.stand_in_until.is_some_and(|until| now < until)
    }

    /// Whether it is fresh enough for this request (section 5.2.1).
    pub fn is_fresh_for(&self, request: &HeaderMap, now: Instant) -> bool {
        let asked = Directives::of(request, &header::CACHE_CONTROL);
        let left = self.fresh_until.saturating_duration_since(now);
        self.is_fresh(now)
            && asked.seconds("max-age").is_none_or(|oldest| self.age(now) <= oldest)
            && asked.seconds("min-fresh").is_none_or(|least| left >= least)
    }
}

/// Whether the caller wants an answer of the application, fresh or not (sections 5.2.1.4 and 5.4).
pub fn insists(request: &HeaderMap) -> bool {
    match request.contains_key(header::CACHE_CONTROL) {
        true => Directives::of(request, &header::CACHE_CONTROL).has("no-cache"),
        false => Directives::of(request, &header::PRAGMA).has("no-cache"),
    }
}

/// Whether the request says who its user is. The standard means `Authorization`; most applications use cookies.
pub fn is_personal(request: &HeaderMap) -> bool {
    request.contains_key(header::AUTHORIZATION) || request.contains_key(header::COOKIE)
}

/// Section 4.2.3, without the time that the answer was on its way.
fn age(answer: &HeaderMap, wall: SystemTime) -> Duration {
    let said = answer.get(header::AGE).and_then(|value| value.to_str().ok()).map_or(Some(0), whole_seconds);
    let apparent = date(answer, &header::DATE).and_then(|made| wall.duration_since(made).ok()).unwrap_or_default();
    cut(said.unwrap_or(LONGEST)).max(apparent.min(cut(LONGEST)))
}

/// For how long it says that it is fresh, from when it was made (section 4.2.1).
fn lifetime(control: &Directives, answer: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    for directive in ["s-maxage", "max-age"] {
        if control.has(directive) {
            return Some(control.seconds(directive).unwrap_or_default());
        }
    }
    answer
        .contains_key(header::EXPIRES)
        .then(|| {
            let expires = date(answer, &header::EXPIRES)?;
            expires.duration_since(date(answer, &header::DATE).unwrap_or(wall)).ok()
        })?
        .map(|lifetime| lifetime.min(cut(LONGEST)))
        .or(Some(Duration::ZERO))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    httpdate::parse_http_date(line.to_str().ok()?).ok()
}

fn cut(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(LONGEST))
}

fn whole_seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(LONGEST))
}

/// The directives of `Cache-Control`, as `(name, value)`, the name in lower case.
struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let lines = headers.get_all(name).iter();
        let items = lines.flat_map(|line| items(&String::from_utf8_lossy(line.as_bytes())));
        Self(items.collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The time that a directive says; zero where it says none that can be understood, or two.
    fn seconds(&self, name: &str) -> Option<Duration> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_deref());
        let first = values.next()?;
        let same = values.all(|other| other == first);
        Some(cut(first.filter(|_| same).and_then(whole_seconds).unwrap_or(0)))
    }

    /// Section 3.5.
    fn is_for_everybody(&self) -> bool {
        ["public", "s-maxage", "must-revalidate"].iter().any(|name| self.has(name))
    }

    /// Section 3, for a shared cache.
    fn may_keep(&self, request: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> bool {
        let is_explicit =
            self.has("max-age") || self.has("s-maxage") || self.has("public") || answer.contains_key(header::EXPIRES);
        let is_understood = match status.as_u16() {
            200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 => true,
            302 | 303 | 307 => is_explicit,
            _ => false,
        };
        is_understood
            && !["no-store", "private", "no-cache"].iter().any(|name| self.has(name))
            && (self.is_for_everybody() || !is_personal(request))
            && !answer.contains_key(header::SET_COOKIE)
            && !answer.contains_key(header::CONTENT_RANGE)
            && !answer.get_all(header::VARY).iter().any(|line| line.as_bytes().contains(&b'*'))
            && (answer.contains_key(header::CACHE_CONTROL) || !Directives::of(answer, &header::PRAGMA).has("no-cache"))
    }
}

/// The items of a list whose values may be quoted, with commas inside.
fn items(line: &str) -> Vec<(String, Option<String>)> {
    let (mut items, mut item, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    let mut end = |item: &mut String| {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value.trim().to_owned())),
            None => (item.as_str(), None),
        };
        let name = name.trim().to_ascii_lowercase();
        if !name.is_empty() {
            items.push((name, value));
        }
        item.clear();
    };
    for c in line.chars() {
        match c {
            _ if std::mem::take(&mut escaped) => item.push(c),
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => end(&mut item),
            _ => item.push(c),
        }
    }
    end(&mut item);
    items
}
