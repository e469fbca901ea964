//! WebSocket: an upgrade goes through both sidecars, and then every kind of message in both directions.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{client::conn::http2, ext::Protocol, server, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use weft_tests::{ControlPlane, Sidecar, open_tunnel};

/// Sends back every text and binary message, and closes with the code and reason that it was closed with.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The sidecar's look whether the app answers is a connection without a word.
                let Ok(socket) = accept_async(stream).await else { return };
                echo(socket).await;
            });
        }
    });
    address
}

async fn echo(mut socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>) {
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.unwrap();
        }
    }
}

/// The same over HTTP/2 (RFC 8441). Every stream has the room that its path says.
async fn echo_server_h2() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(|mut request: Request<hyper::body::Incoming>| async move {
        let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
        assert_eq!(protocol.as_deref(), Some("websocket"));
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let stream = TokioIo::new(upgraded.await.unwrap());
            echo(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
        });
        let caller = request.headers()["weft-client-id"].clone();
        Ok::<_, Infallible>(Response::builder().header("x-saw-client", caller).body(Empty::<Bytes>::new()).unwrap())
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut http2 = server::conn::http2::Builder::new(TokioExecutor::new());
            http2.enable_connect_protocol();
            tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Asks the sidecar for a WebSocket over HTTP/2, as often as that.
async fn ask_h2(caller: &Sidecar, times: usize) -> Vec<Response<WebSocketStream<TokioIo<Upgraded>>>> {
    let stream = TcpStream::connect(caller.outbound()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut sockets = Vec::new();
    for _ in 0..times {
        let mut request = Request::connect("http://chat/room").header("sec-websocket-version", "13");
        request.extensions_mut().unwrap().insert(Protocol::from_static("websocket"));
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        let (parts, body) = response.into_parts();
        let stream = hyper::upgrade::on(Response::from_parts(parts.clone(), body)).await.unwrap();
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await;
        sockets.push(Response::from_parts(parts, socket));
    }
    sockets
}

async fn mesh() -> (ControlPlane, Sidecar, Sidecar) {
    let control_plane = ControlPlane::start().await;
    let chat = control_plane.sidecar("chat").serves(echo_server().await).start().await;
    let caller = control_plane.sidecar("caller").start().await;
    (control_plane, chat, caller)
}

async fn converse(mut socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>) {
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
    let stream = open_tunnel(caller.outbound(), "chat:80").await;
    let (socket, _) = client_async("ws://chat/room", stream).await.unwrap();
    converse(socket).await;
}

#[tokio::test]
async fn streams_of_http_2_carry_sockets_to_an_application_that_speaks_it() {
    let control_plane = ControlPlane::start().await;
    let _chat = control_plane.sidecar("chat").serves(echo_server_h2().await).start().await;
    let caller = control_plane.sidecar("caller").start().await;
    for response in ask_h2(&caller, 3).await {
        assert_eq!(response.headers()["weft-server-id"], "spiffe://weft.local/ns/default/sa/chat");
        assert_eq!(response.headers()["x-saw-client"], "spiffe://weft.local/ns/default/sa/caller");
        converse(response.into_body()).await;
    }
}

/// Its port is declared to speak HTTP/1.1: it is asked as a browser would ask it.
#[tokio::test]
async fn streams_of_http_2_carry_sockets_to_an_application_that_does_not() {
    let (control_plane, _chat, caller) = mesh().await;
    control_plane
        .apply(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: MeshService\n\
             metadata: {name: chat}\n\
             spec: {workloads: {service: chat}, ports: [{port: 80, protocol: http}]}\n",
        )
        .await;
    for response in ask_h2(&caller, 2).await {
        converse(response.into_body()).await;
    }
}
