//! Messages on a connection: each with its length before it (RFC 1035, 4.2.2).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = vec![0; from.read_u16().await?.into()];
    from.read_exact(&mut message).await?;
    Ok(message)
}

/// # Errors
/// The connection broke, or the message is longer than its length can say.
pub async fn write(to: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Length and message in one segment: some servers read no more than the first.
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    to.write_all(&bytes).await
}
