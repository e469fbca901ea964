//! Other names: what name servers say reaches the client as they said it, and is kept for as long as they said.

use hickory_proto::rr::rdata::{CNAME, TXT};

use super::{fake::Asked, *};

const NAME: &str = "www.example.com.";

#[tokio::test]
async fn a_query_is_passed_on_with_its_flags_and_nothing_else() {
    let fake = Fake::start(|asked| {
        let message = &asked.message;
        assert_eq!((message.queries.len(), message.answers.len()), (1, 0));
        assert_eq!(asked.name(), NAME, "in lower case");
        let mut answer = asked.answer();
        answer.metadata.authentic_data = message.authentic_data;
        answer.add_answer(address(NAME, 60, "192.0.2.1"));
        vec![answer.to_vec().unwrap()]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    let mut query = query("wWw.eXample.com.", RecordType::A);
    let answer = proxy.tell(&query).await;
    assert!(!answer.authentic_data && !answer.authoritative);
    query.metadata.authentic_data = true;
    assert!(proxy.tell(&query).await.authentic_data);
    query.metadata.recursion_desired = false;
    proxy.tell(&query).await;
    assert_eq!(fake.asked(), 3, "with other flags it is another question");
}

/// Records that a reader of types would refuse or change: a TXT without a string, an address of three bytes, types that
/// nobody knows. The name of each is a pointer to the question.
#[tokio::test]
async fn every_record_reaches_the_client_as_it_was() {
    let odd = |kind: u16, data: &[u8]| {
        let mut record = vec![0xC0, 12];
        record.extend(kind.to_be_bytes());
        record.extend([0, 1, 0, 0, 0, 60]);
        record.extend((data.len() as u16).to_be_bytes());
        record.extend(data);
        record
    };
    let records =
        [odd(16, b""), odd(1, b"\x01\x02\x03"), odd(64, b"\x00\x01\x00\x00\x03\x00\x07toolong"), odd(65_280, b"?")];
    let expected = records.concat();
    let fake = Fake::start(move |asked| {
        let mut message = asked.with([]);
        message[7] = records.len() as u8;
        message.extend(records.concat());
        vec![message]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    for _ in 0..2 {
        let query = query(NAME, RecordType::ANY).to_vec().unwrap();
        let answer = proxy.send(&query).await;
        assert_eq!(answer[..2], query[..2]);
        assert_eq!(answer[query.len()..], expected[..]);
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_says_what_is_left() {
    let fake = Fake::start(|asked| {
        let cname = Record::from_rdata(
            Name::from_ascii(asked.name()).unwrap(),
            300,
            RData::CNAME(CNAME(Name::from_ascii("a.example.com.").unwrap())),
        );
        vec![asked.with([cname, address("a.example.com.", 20, "192.0.2.1")])]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    let ttls = |answer: &Message| answer.answers.iter().map(|record| record.ttl).collect::<Vec<_>>();
    assert_eq!(ttls(&proxy.ask(NAME, RecordType::A).await), [300, 20]);
    pass(Duration::from_millis(15_500)).await;
    assert_eq!(ttls(&proxy.ask("WWW.EXAMPLE.com.", RecordType::A).await), [285, 5]);
    assert_eq!((fake.asked(), proxy.metrics.cached.get()), (1, 1));
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(ttls(&proxy.ask(NAME, RecordType::A).await), [300, 20]);
    assert_eq!((fake.asked(), proxy.metrics.forwarded.get()), (2, 2));
}

#[tokio::test]
async fn types_and_clients_with_other_edns_are_asked_apart() {
    let fake = Fake::with("192.0.2.1", 60).await;
    let proxy = Proxy::start(&[fake.address]);
    for _ in 0..2 {
        proxy.ask(NAME, RecordType::A).await;
        proxy.ask(NAME, RecordType::AAAA).await;
        proxy.tell(&with_edns(query(NAME, RecordType::A), 1232)).await;
    }
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn an_answer_without_time_is_not_kept() {
    let fake = Fake::with("192.0.2.1", 0).await;
    let proxy = Proxy::start(&[fake.address]);
    for _ in 0..2 {
        assert_eq!(proxy.ask(NAME, RecordType::A).await.answers[0].ttl, 0);
    }
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn that_there_is_nothing_is_kept_as_long_as_the_zone_says() {
    let fake = Fake::start(|asked| {
        let code = if asked.kind() == RecordType::A { ResponseCode::NXDomain } else { ResponseCode::NoError };
        vec![asked.nothing(code, soa("example.com.", 300, 20))]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    for (kind, code) in [(RecordType::A, ResponseCode::NXDomain), (RecordType::MX, ResponseCode::NoError)] {
        let first = proxy.ask(NAME, kind).await;
        assert_eq!((first.response_code, first.answers.len(), first.authorities.len()), (code, 0, 1));
        assert_eq!(first.authorities[0].ttl, 20, "a client keeps it no longer than that");
        assert_eq!(proxy.ask(NAME, kind).await.response_code, code);
    }
    assert_eq!(fake.asked(), 2);
    pass(Duration::from_secs(20)).await;
    tokio::time::resume();
    proxy.ask(NAME, RecordType::A).await;
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn without_a_zone_that_there_is_nothing_is_not_kept() {
    let fake = Fake::start(|asked| vec![asked.refusal(ResponseCode::NXDomain)]).await;
    let proxy = Proxy::start(&[fake.address]);
    for _ in 0..2 {
        assert_eq!(proxy.ask(NAME, RecordType::A).await.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn edns_goes_as_far_as_the_client_has_it() {
    let fake = Fake::start(|asked| {
        if let Some(edns) = &asked.message.edns {
            assert_eq!((edns.max_payload(), edns.flags().dnssec_ok, edns.version()), (1232, true, 0));
        }
        vec![asked.with([address(NAME, 60, "192.0.2.1")])]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    proxy.ask(NAME, RecordType::A).await;
    let query = with_edns(query(NAME, RecordType::A), 4096);
    let first = proxy.tell(&query).await;
    assert_eq!(fake.asked(), 2);
    // What an OPT record has in the place of a TTL does not age.
    pass(Duration::from_secs(15)).await;
    let second = proxy.tell(&query).await;
    assert_eq!((second.answers[0].ttl, &second.edns), (45, &first.edns));
    assert!(second.edns.unwrap().flags().dnssec_ok);
}

/// 60 records: more than 1,900 bytes.
fn long(asked: &Asked) -> Message {
    let mut answer = asked.answer();
    let name = Name::from_ascii(asked.name()).unwrap();
    let text = |number| RData::TXT(TXT::new(vec![format!("this is text number {number:02}")]));
    answer.add_answers((0..60).map(|number| Record::from_rdata(name.clone(), 60, text(number))).collect::<Vec<_>>());
    answer
}

fn long_over_tcp(asked: &Asked) -> Vec<Vec<u8>> {
    let answer = long(asked);
    vec![if asked.tcp { answer.to_vec().unwrap() } else { answer.truncate().to_vec().unwrap() }]
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp_on_both_sides() {
    let fake = Fake::start(long_over_tcp).await;
    let proxy = Proxy::start(&[fake.address]);
    let query = query(NAME, RecordType::TXT);
    let short = proxy.tell(&query).await;
    assert!(short.truncation && short.answers.is_empty());
    assert_eq!((fake.asked_over_udp(), fake.asked_over_tcp()), (1, 1));
    let whole = proxy.ask_over_tcp(&query).await;
    assert!(!whole.truncation);
    assert_eq!(whole.answers.len(), 60);
    assert_eq!(fake.asked(), 2, "the whole answer is kept");
}

#[tokio::test]
async fn a_client_gets_as_much_by_udp_as_it_takes() {
    let fake = Fake::start(long_over_tcp).await;
    let proxy = Proxy::start(&[fake.address]);
    for (datagram, fits) in [(512, false), (1232, false), (4096, true), (65_535, true)] {
        let answer = proxy.tell(&with_edns(query(NAME, RecordType::TXT), datagram)).await;
        assert_eq!((answer.truncation, answer.answers.len()), (!fits, if fits { 60 } else { 0 }), "{datagram}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_had_whole_is_none() {
    let fake = Fake::start(|asked| if asked.tcp { vec![] } else { long_over_tcp(asked) }).await;
    let proxy = Proxy::start(&[fake.address]);
    let answer = proxy.ask(NAME, RecordType::TXT).await;
    assert_eq!((answer.response_code, answer.truncation), (ResponseCode::ServFail, false));
}
