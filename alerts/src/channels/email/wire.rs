//! A connection that can't be talked into reading for ever, or into mixing up what was said before TLS with what was said inside.
//!
//! A line without an end would fill the memory: after [`ANSWER_BYTES_MAX`] bytes reading fails. And as long as the connection is in
//! the clear it is read byte by byte, so that nothing behind the answer to STARTTLS is in a buffer when TLS begins: what a man in
//! the middle puts there arrives at the TLS handshake, which refuses it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::channels::ANSWER_BYTES_MAX;

/// The first byte of a TLS handshake; no SMTP command begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// Read at once.
const PART_BYTES: usize = 4_096;

/// A TCP stream with a budget.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    left: usize,
    is_clear: bool,
}

impl Counted {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, left: ANSWER_BYTES_MAX, is_clear: true }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the server says too much")));
        }
        let most = if self.is_clear { 1 } else { self.left.min(PART_BYTES) };
        let mut bytes = [0; PART_BYTES];
        let mut part = ReadBuf::new(&mut bytes[..most.min(buffer.remaining())]);
        let result = Pin::new(&mut self.stream).poll_read(context, &mut part);
        buffer.put_slice(part.filled());
        self.left -= part.filled().len();
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            self.is_clear = false;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Counted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

/// The same inside TLS from the first byte.
#[derive(Debug)]
pub(super) struct Inside(pub(super) TlsStream<Counted>);

impl AsyncRead for Inside {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Inside {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Inside {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}
