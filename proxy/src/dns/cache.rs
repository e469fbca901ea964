//! Answers of name servers, to be used again while their TTL lasts, and for a day after it while nobody gives a
//! better one (RFC 8767). Bounded in number and bytes: what was not used for longest goes first.

use std::{sync::Arc, time::Duration};

use lru::LruCache;
use tokio::time::Instant;

use super::answer::{Age, Answer};

/// A question as it is sent to name servers.
pub type Question = Arc<[u8]>;

/// How long an answer is kept beyond its TTL.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// After a failure, how long an answer that ran out is given without asking (RFC 8767).
const RECHECK: Duration = Duration::from_secs(30);
/// What an entry takes beside question and answer, roughly.
const OVERHEAD: usize = 256;

pub struct Cache {
    entries: LruCache<Question, Entry>,
    limit: Limit,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub entries: usize,
    pub bytes: usize,
}

pub const LIMIT: Limit = Limit { entries: 4096, bytes: 2 << 20 };

struct Entry {
    answer: Arc<Answer>,
    since: Instant,
    fresh_until: Instant,
    /// Before that nobody is asked.
    ask_at: Instant,
}

pub struct Cached {
    pub answer: Arc<Answer>,
    pub age: Age,
    /// Name servers should be asked before this is used.
    pub ask: bool,
}

impl Cache {
    pub fn new(limit: Limit) -> Self {
        // Grows as it fills: most applications ask for few names.
        Self { entries: LruCache::unbounded(), limit, bytes: 0 }
    }

    pub fn get(&mut self, question: &Question, now: Instant) -> Option<Cached> {
        let entry = self.entries.get(question)?;
        if now >= entry.fresh_until + STALE {
            self.remove(question);
            return None;
        }
        let fresh = now < entry.fresh_until;
        let age = if fresh { Age::Of(now.duration_since(entry.since)) } else { Age::Stale };
        Some(Cached { answer: entry.answer.clone(), age, ask: now >= entry.ask_at })
    }

    /// An answer that is not to be kept still ends an older one.
    pub fn put(&mut self, question: &Question, answer: Arc<Answer>, now: Instant) {
        self.remove(question);
        let Some(lifetime) = answer.lifetime else { return };
        let fresh_until = now + lifetime;
        self.bytes += size(question, &answer);
        self.entries.put(question.clone(), Entry { answer, since: now, fresh_until, ask_at: fresh_until });
        while self.entries.len() > self.limit.entries || self.bytes > self.limit.bytes {
            let Some((question, entry)) = self.entries.pop_lru() else { return };
            self.bytes -= size(&question, &entry.answer);
        }
    }

    /// Nobody gave an answer: for a while there is no point in asking again.
    pub fn failed(&mut self, question: &Question, now: Instant) {
        if let Some(entry) = self.entries.peek_mut(question) {
            entry.ask_at = now + RECHECK;
        }
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.pop(question) {
            self.bytes -= size(question, &entry.answer);
        }
    }
}

fn size(question: &Question, answer: &Answer) -> usize {
    question.len() + answer.size() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, MessageType, OpCode, Query},
        rr::{Name, RData, Record, RecordType, rdata::TXT},
    };

    use super::*;

    const MANY: Limit = Limit { entries: 1000, bytes: 1 << 20 };

    fn question(name: &str) -> Question {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::TXT));
        message.to_vec().unwrap().into()
    }

    fn answer(question: &Question, ttl: u32, text: &str) -> Arc<Answer> {
        let mut message = Message::from_vec(question).unwrap();
        message.metadata.message_type = MessageType::Response;
        let data = RData::TXT(TXT::new(vec![text.to_owned()]));
        message.add_answer(Record::from_rdata(message.queries[0].name().clone(), ttl, data));
        Arc::new(Answer::read(question, &message.to_vec().unwrap()).unwrap())
    }

    fn put(cache: &mut Cache, name: &str, ttl: u32, now: Instant) -> Question {
        let question = question(name);
        cache.put(&question, answer(&question, ttl, "text"), now);
        question
    }

    #[test]
    fn an_answer_ages_runs_out_and_is_forgotten() {
        let (mut cache, start) = (Cache::new(MANY), Instant::now());
        let question = put(&mut cache, "a.", 60, start);
        let at = |cache: &mut Cache, seconds| {
            let cached = cache.get(&question, start + Duration::from_secs(seconds));
            cached.map(|cached| (cached.age, cached.ask))
        };
        assert_eq!(at(&mut cache, 59), Some((Age::Of(Duration::from_secs(59)), false)));
        assert_eq!(at(&mut cache, 60), Some((Age::Stale, true)));
        cache.failed(&question, start + Duration::from_secs(61));
        assert_eq!(at(&mut cache, 90), Some((Age::Stale, false)));
        assert_eq!(at(&mut cache, 91), Some((Age::Stale, true)));
        assert_eq!(at(&mut cache, 60 + 86_399), Some((Age::Stale, true)));
        assert_eq!(at(&mut cache, 60 + 86_400), None);
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn a_new_answer_ends_the_old_one_even_if_it_is_not_kept() {
        let (mut cache, now) = (Cache::new(MANY), Instant::now());
        let question = put(&mut cache, "a.", 60, now);
        put(&mut cache, "a.", 0, now);
        assert!(cache.get(&question, now).is_none());
    }

    #[test]
    fn no_time_is_longer_than_a_day() {
        let (mut cache, now) = (Cache::new(MANY), Instant::now());
        let question = put(&mut cache, "a.", i32::MAX as u32, now);
        assert!(cache.get(&question, now + Duration::from_secs(86_400)).is_some_and(|cached| cached.age == Age::Stale));
        // RFC 2181: a TTL with the highest bit is none.
        let question = put(&mut cache, "a.", u32::MAX, now);
        assert!(cache.get(&question, now).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_when_there_are_too_many() {
        let (mut cache, now) = (Cache::new(Limit { entries: 3, ..MANY }), Instant::now());
        let questions: Vec<_> = ["a.", "b.", "c."].map(|name| put(&mut cache, name, 60, now)).into();
        cache.get(&questions[0], now);
        put(&mut cache, "d.", 60, now);
        let kept = questions.iter().map(|question| cache.get(question, now).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (mut cache, now) = (Cache::new(Limit { bytes: 10_000, ..MANY }), Instant::now());
        for number in 0..200 {
            let question = question(&format!("n{}.", number % 150));
            cache.put(&question, answer(&question, 60, &"x".repeat(200)), now);
            assert!(cache.bytes <= 10_000);
        }
        let counted: usize = cache.entries.iter().map(|(question, entry)| size(question, &entry.answer)).sum();
        assert_eq!(cache.bytes, counted);
        assert!(cache.entries.len() > 10);
    }
}
