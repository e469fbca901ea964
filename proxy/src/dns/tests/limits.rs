//! What is malformed, too much or too slow, and where the proxy does not start.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn what_is_no_query_is_refused_or_ignored() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start(&[fake.address]);
    let good = query("orders", RecordType::A).to_vec().unwrap();
    let edns = with_edns(query("orders", RecordType::A), 1232).to_vec().unwrap();
    let change = |message: &[u8], at: usize, to: u8| {
        let mut message = message.to_vec();
        message[at] = to;
        message
    };
    let mut two_options = [edns.clone(), edns[good.len()..].to_vec()].concat();
    two_options[11] = 2;
    let refused = [
        (change(&good, 5, 0), ResponseCode::FormErr, "no question"),
        (change(&good, 5, 2), ResponseCode::FormErr, "two questions"),
        (change(&good, 7, 1), ResponseCode::FormErr, "an answer that is not there"),
        (good[..good.len() - 1].to_vec(), ResponseCode::FormErr, "cut off"),
        (good[..12].to_vec(), ResponseCode::FormErr, "a header alone"),
        (change(&good, 12, 0x7F), ResponseCode::FormErr, "a label of no kind"),
        ([&good[..12], &[0xC0, 4, 0, 1, 0, 1]].concat(), ResponseCode::FormErr, "a pointer into the header"),
        (two_options, ResponseCode::FormErr, "two OPT records"),
        (change(&good, 2, 0x28), ResponseCode::NotImp, "an update"),
        (change(&good, 21, 252), ResponseCode::Refused, "a zone transfer"),
        (change(&edns, edns.len() - 5, 1), ResponseCode::BADVERS, "EDNS version 1"),
    ];
    for (message, code, why) in &refused {
        let answer = Message::from_vec(&proxy.send(message).await).unwrap();
        // 16 is BADVERS in EDNS and BADSIG elsewhere.
        assert_eq!(u16::from(answer.response_code), u16::from(*code), "{why}");
        assert_eq!(answer.id.to_be_bytes(), message[..2]);
        assert_eq!(answer.message_type, MessageType::Response);
    }
    let socket = proxy.socket().await;
    for ignored in [&b""[..], b"short", &change(&good, 2, 0x81)] {
        socket.send(ignored).await.unwrap();
    }
    socket.send(&good).await.unwrap();
    assert_eq!(receive(&socket).await[..2], good[..2], "nothing else was answered");
    assert_eq!(proxy.metrics.malformed.get(), refused.len() as u64 + 3);
}

#[tokio::test]
async fn a_connection_survives_what_is_malformed() {
    let proxy = Proxy::start(&[fake::closed()]);
    let mut connection = TcpStream::connect(proxy.address).await.unwrap();
    stream::write(&mut connection, &[7; 12]).await.unwrap();
    let good = query("orders", RecordType::A);
    stream::write(&mut connection, &good.to_vec().unwrap()).await.unwrap();
    let first = Message::from_vec(&in_time(stream::read(&mut connection)).await.unwrap()).unwrap();
    assert_eq!(first.response_code, ResponseCode::FormErr);
    let second = Message::from_vec(&in_time(stream::read(&mut connection)).await.unwrap()).unwrap();
    assert_eq!(second.id, good.id);
}

#[tokio::test]
async fn a_slow_client_loses_its_connection() {
    let proxy = Proxy::start(&[fake::closed()]);
    let mut connection = TcpStream::connect(proxy.address).await.unwrap();
    connection.write_all(&[0]).await.unwrap();
    pass(Duration::ZERO).await;
    assert_eq!(in_time(connection.read(&mut [0; 8])).await.unwrap(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let proxy = Proxy::start(&[fake::closed()]);
    let mut connections = Vec::new();
    for _ in 0..serve::CONNECTIONS {
        connections.push(TcpStream::connect(proxy.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(in_time(refused.read(&mut [0; 8])).await.unwrap(), 0);
    assert_eq!(proxy.metrics.refused.get(), 1);
    connections.pop();
    let query = query("orders", RecordType::A).to_vec().unwrap();
    for _ in 0..1000 {
        let mut connection = TcpStream::connect(proxy.address).await.unwrap();
        if stream::write(&mut connection, &query).await.is_ok() && in_time(stream::read(&mut connection)).await.is_ok()
        {
            return;
        }
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn questions_beyond_the_limit_fail_and_names_of_the_mesh_do_not() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start(&[fake.address]);
    let names: Vec<_> = (0..forward::ASKED).map(|number| format!("n{number}.example.com.")).collect();
    send_all(&proxy, names.iter().map(String::as_str)).await;
    let answer = proxy.ask("one-more.example.com.", RecordType::A).await;
    assert_eq!(answer.response_code, ResponseCode::ServFail);
    assert_eq!(proxy.metrics.refused.get(), 1);
    assert_eq!(ips(&proxy.ask("orders", RecordType::A).await), ["240.0.0.1"]);

    pass(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    tokio::time::resume();
    fake.says(|asked| vec![asked.with([address(&asked.name(), 60, "192.0.2.1")])]);
    assert_eq!(ips(&proxy.ask("one-more.example.com.", RecordType::A).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn queries_that_wait_leave_room_for_names_of_the_mesh() {
    let fake = Fake::silent().await;
    let proxy = Proxy::start(&[fake.address]);
    let _socket = send_all(&proxy, std::iter::repeat_n("www.example.com.", serve::QUERIES + 10)).await;
    assert_eq!(proxy.metrics.refused.get(), (serve::QUERIES + 10 - forward::WAITING) as u64);
    assert_eq!(ips(&proxy.ask("orders", RecordType::A).await), ["240.0.0.1"]);
}

/// Returns when all have been received; their answers go to the socket.
async fn send_all<'a>(proxy: &Proxy, names: impl Iterator<Item = &'a str>) -> UdpSocket {
    let socket = proxy.socket().await;
    for (number, name) in names.enumerate() {
        socket.send(&query(name, RecordType::A).to_vec().unwrap()).await.unwrap();
        if number % 64 == 0 {
            // No more than the socket holds. It is answered after those before it have been received.
            proxy.ask("orders", RecordType::A).await;
        }
    }
    proxy.ask("orders", RecordType::A).await;
    socket
}

#[tokio::test]
async fn datagrams_beyond_the_limit_are_dropped_and_places_come_back() {
    let proxy = Proxy::start(&[fake::closed()]);
    let socket = proxy.socket().await;
    let slow = query("slow.shop.mesh", RecordType::A).to_vec().unwrap();
    for number in 0..4 * serve::QUERIES {
        socket.send(&slow).await.unwrap();
        if number % 64 == 0 {
            // Connections have places of their own.
            assert_eq!(ips(&proxy.ask_over_tcp(&query("orders", RecordType::A)).await), ["240.0.0.1"]);
        }
        if proxy.metrics.refused.get() > 0 {
            break;
        }
    }
    assert!(proxy.metrics.refused.get() > 0);
    pass(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ips(&proxy.ask("orders", RecordType::A).await), ["240.0.0.1"]);
}

#[tokio::test]
async fn udp_and_tcp_share_a_free_port_and_a_taken_one_is_refused_by_flag() {
    let dns = bind(0, None).unwrap();
    let addresses: Vec<_> = dns.addresses().collect();
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == addresses[0].port()));
    let port = addresses[0].port();
    let error = bind(port, None).err().unwrap().to_string();
    assert!(error.contains("--dns-port") && error.contains("another process has it"), "{error}");
    drop(dns);
    // Or somebody else has it by now.
    let _udp = std::net::UdpSocket::bind(("127.0.0.1", port));
    assert!(bind(port, None).is_err(), "UDP alone is enough");
}

#[tokio::test]
async fn it_serves_on_every_address_that_it_bound() {
    let fake = Fake::with("192.0.2.1", 60).await;
    let dns = bind(0, Some(vec![fake.address])).unwrap();
    let addresses: Vec<_> = dns.addresses().collect();
    let metrics = DnsMetrics::default();
    let lookup = |_| std::future::ready(Found::NoSuchService);
    let serving = AbortOnDropHandle::new(tokio::spawn(dns.run("shop".to_owned(), metrics.clone(), lookup)));
    for address in &addresses {
        let proxy = Proxy {
            address: *address,
            metrics: metrics.clone(),
            _serving: AbortOnDropHandle::new(tokio::spawn(async {})),
        };
        assert_eq!(ips(&proxy.ask_over_tcp(&query("example.com", RecordType::A)).await), ["192.0.2.1"]);
    }
    drop(serving);
}

#[test]
fn a_name_server_that_is_this_proxy_is_refused() {
    let own: Vec<SocketAddr> = vec!["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
    let upstream = |server: &str| {
        let server = server.parse().unwrap();
        Upstream::new(Some(vec!["192.0.2.1:53".parse().unwrap(), server]), ResolvConf::default(), own.clone())
    };
    for server in ["127.0.0.1:53", "[::1]:53", "0.0.0.0:53", "[::]:53", "[::ffff:127.0.0.1]:53"] {
        let error = upstream(server).err().unwrap().to_string();
        assert!(error.contains(server) && error.contains("--dns-upstream"), "{error}");
    }
    for server in ["127.0.0.1:54", "127.0.0.53:53", "192.0.2.1:53", "[fd00::1]:53"] {
        assert!(upstream(server).is_ok(), "{server}");
    }
    let missing = ResolvConf::at("/nonexistent/resolv.conf");
    let error = Upstream::new(None, missing, own).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/resolv.conf"), "{error}");
}

proptest! {
    /// And what is read as a query can be answered and passed on.
    #[test]
    fn no_message_breaks_the_reader(start in proptest::option::of(0..3_usize), rest in any::<Vec<u8>>(), cut in 0..64_usize) {
        let mut message = match start {
            None => Vec::new(),
            Some(0) => query("orders.shop", RecordType::A).to_vec().unwrap(),
            Some(1) => with_edns(query("a.b.c", RecordType::ANY), 9).to_vec().unwrap(),
            Some(_) => vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1],
        };
        message.truncate(message.len().max(cut) - cut);
        message.extend(&rest);
        if let Ok(query) = Query::read(&message) {
            let asked = query.forwarded().unwrap();
            prop_assert!(asked[12..].len() >= message[12..query.bytes().len()].len());
            let answer = query.nothing(ResponseCode::NXDomain, query.name().clone()).to_vec().unwrap();
            prop_assert!(query.fit(answer, Transport::Udp).unwrap().len() <= 4096);
            mesh_name::meant(&query, "shop");
        }
        if let Some(id) = message.get(..2) {
            let asked = [id, &query("orders", RecordType::A).to_vec().unwrap()[2..]].concat();
            answer::Answer::read(&asked, &message);
        }
    }
}
