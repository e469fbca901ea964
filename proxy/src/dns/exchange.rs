//! One question to one name server: over UDP, and over TCP if the answer does not fit (RFC 1035, RFC 7766).
//!
//! Every exchange has a socket of its own, so that port and id together are hard to guess, and the socket is connected,
//! so that the kernel drops what others send and reports a closed port. Whatever else is not the answer is ignored.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{answer::Answer, sockets, stream};

/// After how long a datagram counts as lost.
const RESEND: Duration = Duration::from_millis(1500);
/// More than we say that we take.
const DATAGRAM: usize = 4096;

/// Waits for an answer without end: the caller has a deadline for all servers.
///
/// # Errors
/// The server cannot be reached, or does not listen.
pub async fn exchange(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let question = with_random_id(question);
    let socket = UdpSocket::bind((sockets::any(server.ip()), 0)).await?;
    socket.connect(server).await?;
    let answer = loop {
        socket.send(&question).await?;
        if let Ok(answer) = timeout(RESEND, receive(&socket, &question)).await {
            break answer?;
        }
    };
    if answer.truncated { exchange_over_tcp(server, &question).await } else { Ok(answer) }
}

async fn receive(socket: &UdpSocket, question: &[u8]) -> io::Result<Answer> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).and_then(|message| Answer::read(question, message)) {
            return Ok(answer);
        }
    }
}

async fn exchange_over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let mut connection = TcpStream::connect(server).await?;
    stream::write(&mut connection, question).await?;
    loop {
        let message = stream::read(&mut connection).await?;
        if let Some(answer) = Answer::read(question, &message) {
            return Ok(answer);
        }
    }
}

fn with_random_id(question: &[u8]) -> Vec<u8> {
    let mut question = question.to_vec();
    if let Some(id) = question.get_mut(..2) {
        id.copy_from_slice(&rand::random::<u16>().to_be_bytes());
    }
    question
}
