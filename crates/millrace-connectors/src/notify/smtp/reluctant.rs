//! A stream that hands over no byte too many before TLS begins.
//!
//! lettre reads replies through a buffer and keeps it when STARTTLS turns the connection to TLS: what somebody on the way
//! appended to the server's `220`, in the open, would be taken for replies under TLS. From this stream the buffer gets one byte
//! at a time, so never more than the reply that it waits for, and what was appended meets the TLS handshake, which it breaks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// First byte of a TLS handshake; no SMTP command begins so.
const HANDSHAKE: u8 = 0x16;

/// A connection that begins in the open.
#[derive(Debug)]
pub(super) struct Reluctant {
    stream: TcpStream,
    is_tls: bool,
}

impl Reluctant {
    pub(super) fn new(stream: TcpStream) -> Self {
        Reluctant { stream, is_tls: false }
    }
}

impl AsyncTokioStream for Reluctant {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Reluctant {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_tls || buf.remaining() == 0 {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reluctant {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_tls |= buf.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
