//! Name servers that are dead, silent or wrong.

use super::{fake::closed, *};

const NAME: &str = "www.example.com.";

#[tokio::test]
async fn without_name_servers_names_of_the_mesh_are_answered_and_others_fail() {
    let proxy = Proxy::start(&[closed()]);
    assert_eq!(proxy.ask(NAME, RecordType::A).await.response_code, ResponseCode::ServFail);
    assert_eq!(ips(&proxy.ask("orders", RecordType::A).await), ["240.0.0.1"]);
    assert_eq!((proxy.metrics.failed.get(), proxy.metrics.mesh.get()), (1, 1));
}

#[tokio::test]
async fn silence_is_waited_for_less_than_clients_wait() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start(&[fake.address]);
    pass(Duration::ZERO).await;
    let started = Instant::now();
    let answer = proxy.tell(&with_edns(query(NAME, RecordType::A), 1232)).await;
    assert_eq!(answer.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(fake.asked(), 3, "what got lost is sent again");
}

#[tokio::test]
async fn a_repeated_query_is_asked_once() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start(&[fake.address]);
    let socket = proxy.socket().await;
    let queries: Vec<_> = (0..100).map(|_| query(NAME, RecordType::A)).collect();
    for query in &queries {
        socket.send(&query.to_vec().unwrap()).await.unwrap();
    }
    pass(Duration::ZERO).await;
    let mut ids = Vec::new();
    for _ in &queries {
        let answer = Message::from_vec(&receive(&socket).await).unwrap();
        assert_eq!(answer.response_code, ResponseCode::ServFail);
        ids.push(answer.id);
    }
    ids.sort_unstable();
    let mut expected: Vec<_> = queries.iter().map(|query| query.id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(fake.asked(), 3);
    // Nor is it asked at once after it failed.
    proxy.ask(NAME, RecordType::A).await;
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn what_ran_out_is_given_while_nobody_answers() {
    let fake = Fake::with("192.0.2.1", 60).await;
    let proxy = Proxy::start(&[fake.address]);
    proxy.ask(NAME, RecordType::A).await;
    fake.says(|_| vec![]);
    pass(Duration::from_secs(61)).await;

    let started = Instant::now();
    let answer = proxy.ask(NAME, RecordType::A).await;
    assert_eq!((ips(&answer), answer.answers[0].ttl), (vec!["192.0.2.1".to_owned()], 30));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(proxy.metrics.stale.get(), 1);

    // The question goes on until it has failed, and is left alone for a while.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (asked, started) = (fake.asked(), Instant::now());
    assert_eq!(ips(&proxy.ask(NAME, RecordType::A).await), ["192.0.2.1"]);
    assert_eq!((fake.asked(), started.elapsed()), (asked, Duration::ZERO));

    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    fake.says(|asked| vec![asked.with([address(&asked.name(), 60, "192.0.2.2")])]);
    assert_eq!(ips(&proxy.ask(NAME, RecordType::A).await), ["192.0.2.2"]);
}

#[tokio::test]
async fn what_ran_out_is_better_than_a_refusal_and_lasts_for_a_day() {
    let fake = Fake::start(|asked| vec![asked.nothing(ResponseCode::NXDomain, soa("example.com.", 60, 60))]).await;
    let proxy = Proxy::start(&[fake.address]);
    proxy.ask(NAME, RecordType::A).await;
    fake.says(|asked| vec![asked.refusal(ResponseCode::ServFail)]);
    pass(Duration::from_secs(60 + 24 * 60 * 60 - 1)).await;
    tokio::time::resume();
    let answer = proxy.ask(NAME, RecordType::A).await;
    assert_eq!((answer.response_code, answer.authorities[0].ttl), (ResponseCode::NXDomain, 30));
    pass(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(proxy.ask(NAME, RecordType::A).await.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails_or_refuses() {
    let refuses = [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp, ResponseCode::FormErr];
    let fake = Fake::with("192.0.2.1", 0).await;
    for code in refuses {
        let refusing = Fake::start(move |asked| vec![asked.refusal(code)]).await;
        let proxy = Proxy::start(&[closed(), refusing.address, fake.address]);
        for _ in 0..2 {
            assert_eq!(ips(&proxy.ask(NAME, RecordType::A).await), ["192.0.2.1"], "{code}");
        }
        assert_eq!(refusing.asked(), 1, "who answered is asked first");
    }
}

#[tokio::test]
async fn a_refusal_by_all_is_passed_on() {
    let fake = Fake::start(|asked| vec![asked.refusal(ResponseCode::Refused)]).await;
    let proxy = Proxy::start(&[closed(), fake.address]);
    assert_eq!(proxy.ask(NAME, RecordType::A).await.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn a_refusal_may_lack_the_question() {
    let fake = Fake::start(|asked| {
        let mut message = Message::error_msg(asked.message.id, OpCode::Query, ResponseCode::FormErr);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        vec![message.to_vec().unwrap()]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    assert_eq!(proxy.ask(NAME, RecordType::A).await.response_code, ResponseCode::FormErr);
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_silent() {
    let (silent, second) = (Fake::silent().await, Fake::silent().await);
    let proxy = Proxy::start(&[silent.address, second.address]);
    pass(Duration::ZERO).await;
    proxy.ask(NAME, RecordType::A).await;
    assert!(silent.asked() > 0 && second.asked() > 0);
}

#[tokio::test]
async fn what_is_not_the_answer_is_ignored() {
    let fake = Fake::start(|asked| {
        let right = asked.with([address(NAME, 60, "192.0.2.1")]);
        let wrong = asked.with([address(NAME, 60, "192.0.2.66")]);
        let mut other_id = wrong.clone();
        other_id[1] ^= 1;
        let mut query = wrong.clone();
        query[2] &= 0x7F;
        let mut other_name = wrong.clone();
        other_name[13] = b'v';
        let mut other_type = wrong.clone();
        other_type[12 + 17 + 1] = 28;
        let cut = wrong[..wrong.len() - 1].to_vec();
        let mut two_questions = wrong.clone();
        two_questions[5] = 2;
        vec![vec![], b"garbage".to_vec(), other_id, query, other_name, other_type, cut, two_questions, right]
    })
    .await;
    let proxy = Proxy::start(&[fake.address]);
    assert_eq!(ips(&proxy.ask(NAME, RecordType::A).await), ["192.0.2.1"]);
}
