//! A socket to one peer, as timely reads and writes it. It notices when the peer goes away without having finished.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use timely::communication::allocator::zero_copy::stream::Stream;

use super::lost::Lost;

/// A host that is gone (power, network) sends no end of stream: after this silence it is asked, so often, and given up after so many questions:
/// 8 s in all.
const SILENT: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(2);
const QUESTIONS: u32 = 3;
/// What was sent and not acknowledged for so long, ditto.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(8);
/// A peer may take so long until it says what is waited for before timely begins: it opens its store and reads its snapshots.
const SAY_MAX: Duration = Duration::from_secs(900);
/// What is said before timely begins is shorter: it must fit into a socket, since all speak before they listen.
const SAID_BYTES_MAX: u64 = 16_384;
/// Timely's messages begin with a header of six numbers, big-endian; the fifth is the length of what follows. The last one is all zeros.
const HEADER_BYTES: usize = 48;
const LENGTH_AT: usize = 32;

/// Where in timely's messages a stream of bytes is: whether its end is one.
#[derive(Debug, Default)]
struct Framing {
    header: Vec<u8>,
    /// Bytes of the message at hand that are still to come.
    body_left: u64,
    has_said_farewell: bool,
}

impl Framing {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let passed = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
                self.body_left -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            let (more, rest) = bytes.split_at((HEADER_BYTES - self.header.len()).min(bytes.len()));
            self.header.extend_from_slice(more);
            bytes = rest;
            if self.header.len() == HEADER_BYTES {
                self.has_said_farewell = self.header.iter().all(|byte| *byte == 0);
                let length = self.header[LENGTH_AT..].first_chunk().copied().unwrap_or_default();
                self.body_left = u64::from_be_bytes(length);
                self.header.clear();
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    peer: usize,
    lost: Arc<Lost>,
    framing: Framing,
}

impl Link {
    pub fn new(stream: TcpStream, peer: usize, lost: Arc<Lost>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENT).with_interval(ASK_EVERY).with_retries(QUESTIONS))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        lost.holds(stream.try_clone()?);
        Ok(Self { stream, peer, lost, framing: Framing::default() })
    }

    /// Looks whether the peer is still there, before timely reads here. `None`: it is.
    pub fn gone(&self) -> Option<String> {
        let looked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let restored = self.stream.set_nonblocking(false);
        match (looked, restored) {
            (Ok(0), _) => Some("its connection ended before its work began".to_owned()),
            (Ok(_), Ok(())) => None,
            (Err(error), Ok(())) if error.kind() == io::ErrorKind::WouldBlock => None,
            (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
        }
    }

    /// Says a text, before timely writes here.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        if text.len() as u64 > SAID_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "what this process says of its journal is too long"));
        }
        self.stream.write_all(&[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat())
    }

    /// Hears one, before timely reads here.
    pub fn hear(&mut self) -> io::Result<String> {
        self.stream.set_read_timeout(Some(SAY_MAX))?;
        let mut length = [0; 8];
        self.stream.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > SAID_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what it says is not that of this program and version"));
        }
        let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
        self.stream.read_exact(&mut text)?;
        self.stream.set_read_timeout(None)?;
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn failed(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::Interrupted {
            self.lost.report(self.peer, &error.to_string());
        }
        error
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer).map_err(|error| self.failed(error))?;
        if read == 0 && !self.framing.has_said_farewell && !buffer.is_empty() {
            self.lost.report(self.peer, "its connection ended before its work did");
        }
        self.framing.take(&buffer[..read]);
        Ok(read)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).map_err(|error| self.failed(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, peer: self.peer, lost: Arc::clone(&self.lost), framing: Framing::default() })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_header_of_zeros_is_a_farewell() {
        let message = |length: u64, body: &[u8]| {
            let mut bytes: Vec<u8> = [7, 1, 0, 1, length, 9u64].iter().flat_map(|number| number.to_be_bytes()).collect();
            bytes.extend_from_slice(body);
            bytes
        };
        let zeros = message(96, &[0; 96]); // a message's body may well be zeros
        let both = [zeros.clone(), message(0, &[]), vec![0; HEADER_BYTES]].concat();
        for piece in [1, 7, 48, 1_000] {
            let said = |bytes: &[u8]| {
                let mut framing = Framing::default();
                bytes.chunks(piece).for_each(|piece| framing.take(piece));
                framing.has_said_farewell
            };
            assert!(!said(&zeros) && said(&both), "in pieces of {piece}");
        }
    }
}
