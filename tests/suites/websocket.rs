//! WebSocket: an upgrade goes through both sidecars, and then every kind of message in both directions.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use weft_tests::{ControlPlane, Sidecar};

/// Sends back every text and binary message, and closes with the code and reason that it was closed with.
async fn echo_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The sidecar's look whether the app answers is a connection without a word.
                let Ok(mut socket) = accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn mesh() -> (ControlPlane, Sidecar, Sidecar) {
    let control_plane = ControlPlane::start().await;
    let chat = control_plane.sidecar("chat").serves(echo_server().await).start().await;
    let caller = control_plane.sidecar("caller").start().await;
    (control_plane, chat, caller)
}

async fn converse(mut socket: WebSocketStream<TcpStream>) {
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let large = Bytes::from(vec![7; 1 << 20]);
    socket.send(Message::Binary(large.clone())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Binary(large));
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));

    let end = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
    socket.close(Some(end.clone())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(end)));
    assert!(socket.next().await.is_none(), "the connection ends with the conversation");
}

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let (_control_plane, _chat, caller) = mesh().await;
    let stream = TcpStream::connect(caller.outbound()).await.unwrap();
    let (socket, response) = client_async("ws://chat/room", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["weft-server-id"], "spiffe://weft.local/ns/default/sa/chat");
    converse(socket).await;
}

#[tokio::test]
async fn a_tunnel_carries_an_upgrade() {
    let (_control_plane, _chat, caller) = mesh().await;
    let mut stream = TcpStream::connect(caller.outbound()).await.unwrap();
    stream.write_all(b"CONNECT chat:80 HTTP/1.1\r\nHost: chat:80\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let (socket, _) = client_async("ws://chat/room", stream).await.unwrap();
    converse(socket).await;
}
