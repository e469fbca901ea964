use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::net::Socket;

/// Two ends of one TCP connection: the near one is to be joined, the far one is the test's.
async fn pair() -> (Io, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    (Io::Plain(Socket::new(near)), far)
}

#[tokio::test]
async fn each_direction_ends_by_itself_and_nothing_is_lost() {
    let ((client, mut caller), (server, mut callee)) = (pair().await, pair().await);
    let joined = tokio::spawn(async move {
        let mut moved = Moved::default();
        let ahead = End { io: client, ahead: Bytes::from_static(b"before ") };
        join(ahead, server.into(), &mut moved).await.map(|()| moved)
    });
    let large = vec![7; 3 << 20];
    let sent = large.clone();
    let sending = tokio::spawn(async move {
        caller.write_all(&sent).await.unwrap();
        caller.shutdown().await.unwrap();
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut got = Vec::new();
    callee.read_to_end(&mut got).await.unwrap();
    assert!(got.starts_with(b"before ") && got[7..] == large);
    // The caller has ended; its answer still comes.
    callee.write_all(b"answer").await.unwrap();
    callee.shutdown().await.unwrap();
    assert_eq!(sending.await.unwrap(), b"answer");
    let moved = joined.await.unwrap().unwrap();
    assert_eq!((moved.sent.total(), moved.received.total()), (large.len() as u64 + 7, 6));
}

#[tokio::test]
async fn a_break_on_one_side_is_a_break_on_the_other() {
    let ((client, caller), (server, mut callee)) = (pair().await, pair().await);
    let joined = tokio::spawn(async move { join(client.into(), server.into(), &mut Moved::default()).await });
    socket2::SockRef::from(&caller).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(caller);
    let error = callee.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(matches!(joined.await.unwrap(), Err(Broken::Client(_))));
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_the_sender_back() {
    let ((client, caller), (server, callee)) = (pair().await, pair().await);
    let joined = tokio::spawn(async move { join(client.into(), server.into(), &mut Moved::default()).await });
    // Nobody reads: what the sockets and one buffer hold is all that is taken.
    let mut taken = 0;
    loop {
        let writable = tokio::time::timeout(std::time::Duration::from_millis(500), caller.writable());
        if writable.await.is_err() {
            break;
        }
        taken += caller.try_write(&[0; 1 << 16]).unwrap_or_default();
        assert!(taken < 64 << 20, "the sender is not held back");
    }
    drop((caller, callee));
    let _ = joined.await.unwrap();
}
