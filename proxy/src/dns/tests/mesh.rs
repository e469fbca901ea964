//! Names of the mesh: which they are, and what is said of them.

use super::*;

const ELSEWHERE: &str = "192.0.2.1";

async fn proxy() -> (Proxy, Fake) {
    let fake = Fake::with(ELSEWHERE, 60).await;
    (Proxy::start(&[fake.address]), fake)
}

#[tokio::test]
async fn a_name_is_found_in_each_of_its_forms_and_any_case() {
    let (proxy, fake) = proxy().await;
    let own = ["orders", "orders.", "ORDERS", "orders.shop", "Orders.Shop.Mesh", "orders.shop.mesh."];
    for name in own {
        let answer = proxy.ask(name, RecordType::A).await;
        assert_eq!(ips(&answer), ["240.0.0.1"], "{name}");
        assert_eq!(answer.answers[0].ttl, 30);
        assert!(answer.authoritative);
    }
    for name in ["orders.store", "orders.store.mesh"] {
        assert_eq!(ips(&proxy.ask(name, RecordType::A).await), ["240.0.0.2"], "{name}");
    }
    assert_eq!(fake.asked(), 0);
    assert_eq!(proxy.metrics.mesh.get(), own.len() as u64 + 2);
}

#[tokio::test]
async fn each_family_is_asked_for_apart() {
    let (proxy, _fake) = proxy().await;
    assert_eq!(ips(&proxy.ask("orders", RecordType::AAAA).await), ["fd77:6566:7400::1"]);
    for (name, kind) in [("v4", RecordType::AAAA), ("empty", RecordType::A), ("empty", RecordType::AAAA)] {
        assert_nothing(&proxy.ask(name, kind).await, ResponseCode::NoError);
    }
}

#[tokio::test]
async fn a_family_is_offered_only_where_there_is_a_route() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start_on(&[fake.address], |ip| ip.is_ipv4());
    assert_eq!(ips(&proxy.ask("orders", RecordType::A).await), ["240.0.0.1"]);
    assert_nothing(&proxy.ask("orders", RecordType::AAAA).await, ResponseCode::NoError);
}

#[test]
fn a_route_is_what_the_kernel_says() {
    assert!(sockets::has_route("127.0.0.1".parse().unwrap()));
    // In the scope of no interface.
    assert!(!sockets::has_route("fe80::1".parse().unwrap()));
}

#[tokio::test]
async fn other_types_have_nothing() {
    let (proxy, fake) = proxy().await;
    let kinds = [RecordType::HTTPS, RecordType::SVCB, RecordType::TXT, RecordType::SRV, RecordType::MX];
    for kind in kinds.into_iter().chain([RecordType::ANY, RecordType::Unknown(4711)]) {
        assert_nothing(&proxy.ask("orders.shop", kind).await, ResponseCode::NoError);
    }
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn a_name_below_mesh_is_never_asked_elsewhere() {
    let (proxy, fake) = proxy().await;
    for name in ["none.shop.mesh", "none.mesh", "a.b.c.mesh", "_http._tcp.orders.shop.mesh", "a_b.shop.MESH"] {
        let answer = proxy.ask(name, RecordType::A).await;
        assert_nothing(&answer, ResponseCode::NXDomain);
        assert_eq!(answer.authorities[0].name, Name::from_ascii("mesh.").unwrap(), "{name}");
    }
    // What is below it does exist.
    assert_nothing(&proxy.ask("mesh", RecordType::NS).await, ResponseCode::NoError);
    let unknown = proxy.ask("orders.away.mesh", RecordType::A).await;
    assert_eq!(unknown.response_code, ResponseCode::ServFail);
    assert_eq!(proxy.metrics.failed.get(), 1);
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn a_name_that_may_be_anybodys_is_asked_elsewhere_if_the_mesh_does_not_have_it() {
    let (proxy, fake) = proxy().await;
    for (number, name) in ["none", "example.com", "orders.away", "www.example.com"].into_iter().enumerate() {
        assert_eq!(ips(&proxy.ask(name, RecordType::A).await), [ELSEWHERE], "{name}");
        assert_eq!(fake.asked(), number + 1);
    }
    assert_eq!(proxy.metrics.forwarded.get(), 4);
}

#[tokio::test]
async fn a_look_up_without_end_is_given_up() {
    let (proxy, _fake) = proxy().await;
    pass(Duration::ZERO).await;
    let answer = proxy.ask("slow.shop.mesh", RecordType::A).await;
    assert_eq!(answer.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn names_of_virtual_addresses_are_never_asked_elsewhere() {
    let (proxy, fake) = proxy().await;
    let reverse = |ip: &str| Name::from(ip.parse::<IpAddr>().unwrap()).to_ascii();
    for ip in ["240.0.0.1", "255.2.3.4", "fd77:6566:7400::", "fd77:6566:7400::ffff:ffff"] {
        let answer = proxy.ask(&reverse(ip), RecordType::PTR).await;
        assert_nothing(&answer, ResponseCode::NXDomain);
        let whole_range = answer.authorities[0].name.parse_arpa_name().unwrap().prefix_len();
        assert_eq!(whole_range, if ip.contains(':') { 96 } else { 8 });
    }
    for name in ["0.240.in-addr.arpa", "0.240.IN-ADDR.arpa", &reverse("fd77:6566:7400::")[8..]] {
        assert_nothing(&proxy.ask(name, RecordType::PTR).await, ResponseCode::NXDomain);
    }
    assert_eq!(fake.asked(), 0);

    let beside = ["239.255.255.255", "192.0.2.1", "fd77:6566:7400:0:0:1::", "fd77:6566:7401::", "2001:db8::1"];
    for (number, ip) in beside.into_iter().enumerate() {
        proxy.ask(&reverse(ip), RecordType::PTR).await;
        assert_eq!(fake.asked(), number + 1, "{ip}");
    }
}

#[tokio::test]
async fn answers_have_edns_if_the_client_has_it() {
    let (proxy, _fake) = proxy().await;
    for name in ["orders", "none.shop.mesh", "orders.away.mesh"] {
        let answer = proxy.tell(&with_edns(query(name, RecordType::A), 4096)).await;
        assert!(answer.edns.unwrap().max_payload() >= 512);
    }
}

#[tokio::test]
async fn many_names_are_answered_on_one_connection() {
    let (proxy, _fake) = proxy().await;
    let mut connection = TcpStream::connect(proxy.address).await.unwrap();
    for name in ["orders", "v4", "orders.store"] {
        let query = query(name, RecordType::A);
        stream::write(&mut connection, &query.to_vec().unwrap()).await.unwrap();
        let answer = Message::from_vec(&in_time(stream::read(&mut connection)).await.unwrap()).unwrap();
        assert_answers(&query, &answer);
        assert_eq!(answer.answers.len(), 1);
    }
}

/// And for how long there is nothing.
fn assert_nothing(answer: &Message, code: ResponseCode) {
    assert_eq!(answer.response_code, code);
    assert!(answer.answers.is_empty() && answer.authoritative, "{answer}");
    assert_eq!(answer.authorities.len(), 1);
    let name = answer.queries[0].name();
    let soa = &answer.authorities[0];
    assert!(soa.name.zone_of(name), "{} is not in {}", name, soa.name);
    assert_eq!((soa.ttl, soa.record_type()), (5, RecordType::SOA));
}
