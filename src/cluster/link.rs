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
/// Timely's last message is a header of zeros: six numbers of eight bytes.
const FAREWELL_BYTES: usize = 48;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    peer: usize,
    lost: Arc<Lost>,
    /// How many zeros came last.
    zeros: usize,
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
        Ok(Self { stream, peer, lost, zeros: 0 })
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
        if read == 0 && self.zeros < FAREWELL_BYTES && !buffer.is_empty() {
            self.lost.report(self.peer, "its connection ended before its work did");
        }
        let zeros = buffer[..read].iter().rev().take(FAREWELL_BYTES).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == read { (self.zeros + zeros).min(FAREWELL_BYTES) } else { zeros };
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
        Ok(Self { stream: self.stream.try_clone()?, peer: self.peer, lost: Arc::clone(&self.lost), zeros: 0 })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}
