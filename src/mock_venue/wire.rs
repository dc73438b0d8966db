//! The writing half of a client's socket, frame by frame and by hand: a library would not cut a frame in the middle.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

const FLUSH_AT: usize = 32 << 10;
/// A client that reads nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(30);

/// WebSocket opcodes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Op {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Buffers frames until they are flushed.
#[derive(Debug)]
pub struct Wire {
    half: Option<OwnedWriteHalf>,
    buffer: Vec<u8>,
}

impl Wire {
    /// Writes to `half`.
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self { half: Some(half), buffer: Vec::with_capacity(FLUSH_AT * 2) }
    }

    /// Adds a frame; goes out when enough has come together.
    pub async fn frame(&mut self, op: Op, payload: &[u8]) -> io::Result<()> {
        head(&mut self.buffer, op, payload.len());
        self.buffer.extend_from_slice(payload);
        if self.buffer.len() >= FLUSH_AT { self.flush().await } else { Ok(()) }
    }

    /// Adds a frame and sends all.
    pub async fn now(&mut self, op: Op, payload: &[u8]) -> io::Result<()> {
        self.frame(op, payload).await?;
        self.flush().await
    }

    /// Sends all.
    pub async fn flush(&mut self) -> io::Result<()> {
        let Some(half) = self.half.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        let written = timeout(STALLED, half.write_all(&self.buffer)).await;
        self.buffer.clear();
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Sends the closing frame.
    pub async fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        self.now(Op::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat()).await
    }

    /// Sends half of a frame, then no more.
    pub async fn cut(&mut self, payload: &[u8]) -> io::Result<()> {
        head(&mut self.buffer, Op::Text, payload.len());
        self.buffer.extend_from_slice(&payload[..payload.len() / 2]);
        self.flush().await?;
        self.half = None;
        Ok(())
    }

    /// Arranges for a reset when the reading half is dropped too.
    pub async fn reset(&mut self) -> io::Result<()> {
        self.flush().await?;
        // What the kernel has not sent yet would be lost with the reset; the loopback needs no longer than this.
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(half) = self.half.take() {
            half.as_ref().set_zero_linger()?;
            half.forget();
        }
        Ok(())
    }
}

/// A server's frame is not masked.
fn head(buffer: &mut Vec<u8>, op: Op, len: usize) {
    buffer.push(0x80 | op as u8);
    match len {
        0..=125 => buffer.push(len as u8),
        126..=0xffff => {
            buffer.push(126);
            buffer.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            buffer.push(127);
            buffer.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
