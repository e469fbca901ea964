use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::net::UdpSocket;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A name server that answers every name with the same addresses, with a TTL of 0.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<[u8; 4]>>>,
    is_broken: Arc<AtomicBool>,
}

impl Server {
    async fn start(answer: &[[u8; 4]]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer.to_vec())),
            is_broken: Arc::default(),
        };
        tokio::spawn(server.clone().serve(socket));
        server
    }

    async fn serve(self, socket: UdpSocket) {
        let mut buffer = [0; 1500];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            socket.send_to(&self.reply(&query).to_vec().unwrap(), peer).await.unwrap();
        }
    }

    fn reply(&self, query: &Message) -> Message {
        let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_available = true;
        let question = query.queries[0].clone();
        if self.is_broken.load(Ordering::Relaxed) {
            reply.metadata.response_code = ResponseCode::ServFail;
        } else if question.query_type() == RecordType::A {
            for [a, b, c, d] in self.answer.lock().unwrap().iter().copied() {
                reply.add_answer(Record::from_rdata(question.name().clone(), 0, RData::A(A::new(a, b, c, d))));
            }
        }
        reply.add_query(question);
        reply
    }
}

fn host() -> Host {
    ("db.example.test.".to_owned(), 5432)
}

type Answers = mpsc::Receiver<(Host, Vec<SocketAddr>)>;

fn start(server: &Server) -> (watch::Sender<BTreeSet<Host>>, Answers) {
    let (wanted, hosts) = watch::channel(BTreeSet::from([host()]));
    let (found, answers) = mpsc::channel(8);
    tokio::spawn(run(resolver(Some(server.address)).unwrap(), hosts, found));
    (wanted, answers)
}

async fn next(answers: &mut Answers) -> Vec<String> {
    let (found, addresses) = tokio::time::timeout(DEADLINE, answers.recv()).await.unwrap().unwrap();
    assert_eq!(found, host());
    addresses.iter().map(ToString::to_string).collect()
}

/// Passes over answers that were on their way before.
async fn until(answers: &mut Answers, address: &str) {
    while next(answers).await != [address] {}
}

#[tokio::test]
async fn a_host_is_resolved_and_followed_by_its_ttl() {
    let server = Server::start(&[[10, 0, 0, 2], [10, 0, 0, 1]]).await;
    let (_wanted, mut answers) = start(&server);
    assert_eq!(next(&mut answers).await, ["10.0.0.1:5432", "10.0.0.2:5432"]);
    *server.answer.lock().unwrap() = vec![[10, 0, 0, 3]];
    until(&mut answers, "10.0.0.3:5432").await;
}

#[tokio::test]
async fn an_answer_is_reported_also_when_it_is_the_same_again() {
    let server = Server::start(&[[10, 0, 0, 1]]).await;
    let (_wanted, mut answers) = start(&server);
    // The listener may have forgotten it: the MeshService was deleted and is there again.
    for _ in 0..2 {
        assert_eq!(next(&mut answers).await, ["10.0.0.1:5432"]);
    }
}

#[tokio::test]
async fn a_failing_name_server_takes_no_address_away() {
    let server = Server::start(&[[10, 0, 0, 1]]).await;
    let (_wanted, mut answers) = start(&server);
    next(&mut answers).await;
    server.is_broken.store(true, Ordering::Relaxed);
    // Several refreshes fall into this time; none of them may report that there is nothing, or nothing else.
    while let Ok(found) = tokio::time::timeout(Duration::from_secs(3), answers.recv()).await {
        assert_eq!(found.unwrap().1, ["10.0.0.1:5432".parse().unwrap()]);
    }
    *server.answer.lock().unwrap() = vec![[10, 0, 0, 2]];
    server.is_broken.store(false, Ordering::Relaxed);
    until(&mut answers, "10.0.0.2:5432").await;
}

#[test]
fn pauses_follow_the_ttl_within_bounds_and_grow_with_failures() {
    assert_eq!(refresh_after(Duration::ZERO), Duration::from_secs(1));
    assert_eq!(refresh_after(Duration::from_secs(30)), Duration::from_secs(30));
    assert_eq!(refresh_after(Duration::from_secs(86_400)), Duration::from_secs(300));
    assert_eq!(retry_after(1, 0.0), Duration::from_secs(1));
    assert_eq!(retry_after(4, 0.0), Duration::from_secs(8));
    assert_eq!(retry_after(4, 1.0), Duration::from_secs(4));
    assert_eq!(retry_after(u32::MAX, 0.0), Duration::from_secs(60));
}
