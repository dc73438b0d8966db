//! How processes find each other: each listens at its own address, and calls those with smaller numbers.
//!
//! On each connection both say a greeting: 8 bytes that name this protocol, the number of the process, and a text of what they are to
//! compute, with its length (numbers are u64, little-endian). Two that differ in the text don't go on: their states and rows
//! would not fit. Whoever else calls is sent away.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::Cluster;
use super::link::Link;
use super::lost::{CLOSE_AFTER, Lost, PeerLost};

/// The others may take so long to come up.
const JOIN_MAX: Duration = Duration::from_secs(300);
/// Whoever is waited for is named so often.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The pause before another try.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// While something else is waited for, the connections are looked at so often.
const LOOK: Duration = Duration::from_millis(100);
/// A greeting comes within this time.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// What it begins with.
const MAGIC: &[u8; 8] = b"rgflow\x00\x01";
/// A longer text is none of ours.
const TEXT_BYTES_MAX: u64 = 4_096;

/// The processes could not come together.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The own address can't be listened at.
    #[error(
        "listen at {address} as process {process}: {source}; the line of --hosts must be an address of this machine, with a free port"
    )]
    Listen {
        /// As in the file.
        address: String,
        /// This process.
        process: usize,
        /// Why not.
        source: io::Error,
    },
    /// Some never came.
    #[error("process {process} waited {seconds} s for {missing}; start every process of --hosts")]
    Missing {
        /// This process.
        process: usize,
        /// So long.
        seconds: u64,
        /// Those.
        missing: String,
    },
    /// Another is to compute something else.
    #[error(
        "process {peer} ({address}) would compute something else: it has [{theirs}], this one [{ours}]; start all with the same configuration and arguments"
    )]
    Differs {
        /// Its number.
        peer: usize,
        /// Its address.
        address: String,
        /// What it said.
        theirs: String,
        /// What we say.
        ours: String,
    },
    /// Two have the same number.
    #[error("two processes say that they are process {peer}; give each its own --process")]
    Twice {
        /// That one.
        peer: usize,
    },
    /// A socket failed.
    #[error("prepare the connection to process {peer}: {source}")]
    Socket {
        /// Whose.
        peer: usize,
        /// How.
        source: io::Error,
    },
}

/// Connected processes.
pub struct Joined {
    /// This one.
    pub process: usize,
    /// How many there are.
    pub processes: usize,
    /// Who went away.
    pub lost: Arc<Lost>,
    links: Vec<Option<Link>>,
}

/// Connects this process with all others. Blocks until all are there. `text`: what this process is to compute; the others must say the same.
///
/// # Errors
/// [`JoinError`].
pub fn join(cluster: &Cluster, text: &str) -> Result<Joined, JoinError> {
    let (process, processes) = (cluster.process, cluster.processes());
    let listen = |address: &String| {
        TcpListener::bind(address.as_str()).map_err(|source| JoinError::Listen { address: address.clone(), process, source })
    };
    let listener = listen(&cluster.addresses[process])?;
    let mut joining = Joining { cluster, text, until: Instant::now() + JOIN_MAX, told: Instant::now(), sockets: Vec::new() };
    joining.sockets.resize_with(processes, || None);
    for peer in 0..process {
        joining.call(peer)?;
    }
    joining.listen(&listener)?;
    let lost = Lost::new(cluster.addresses.clone());
    let mut links = Vec::with_capacity(processes);
    for (peer, socket) in joining.sockets.into_iter().enumerate() {
        let link = |socket| Link::new(socket, peer, Arc::clone(&lost));
        links.push(socket.map(link).transpose().map_err(|source| JoinError::Socket { peer, source })?);
    }
    tracing::info!(process, processes, "all processes are connected");
    Ok(Joined { process, processes, lost, links })
}

impl Joined {
    /// Waits for a peer to go away: while something else is waited for, and timely does not look yet.
    pub async fn watch(&self) -> PeerLost {
        loop {
            for (peer, link) in self.links.iter().enumerate() {
                if let Some(why) = link.as_ref().and_then(Link::gone) {
                    tokio::time::sleep(CLOSE_AFTER).await; // the others are to see for themselves who is lost
                    return self.lost.named(peer, &why);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says a text to all others, and hears one of each: answers with those of all processes, this one's included, in order. All must do the same, before
    /// timely has the connections.
    ///
    /// # Errors
    /// [`PeerLost`].
    pub fn exchange(&mut self, text: &str) -> Result<Vec<String>, PeerLost> {
        for (peer, link) in self.links.iter_mut().enumerate() {
            if let Some(Err(error)) = link.as_mut().map(|link| link.say(text)) {
                tracing::debug!(peer, %error, "a peer can't be told anything"); // hearing it says so, too, and the others are told meanwhile
            }
        }
        let hear = |(peer, link): (usize, &mut Option<Link>)| match link {
            None => Ok(text.to_owned()),
            Some(link) => link.hear().map_err(|error| {
                std::thread::sleep(CLOSE_AFTER); // the others are to see for themselves who is lost
                self.lost.named(peer, &why(&error))
            }),
        };
        self.links.iter_mut().enumerate().map(hear).collect()
    }

    /// What timely's workers, `threads` of this process, are built from.
    ///
    /// # Errors
    /// If its threads can't be started.
    pub fn build(self, threads: usize) -> io::Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>)> {
        silence_panics_after(&self.lost);
        let hooks = Hooks::default();
        let own = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(own, self.links, self.process, threads, hooks)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "its connection ended before its work began".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it never said what its journal holds".to_owned(),
        _ => error.to_string(),
    }
}

/// Timely's threads panic one after another when a peer is lost. That it is lost has been said by then, and better.
fn silence_panics_after(lost: &Arc<Lost>) {
    let (lost, before) = (Arc::clone(lost), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if lost.is_over() {
            tracing::debug!("{info}");
        } else {
            before(info);
        }
    }));
}

struct Joining<'a> {
    cluster: &'a Cluster,
    text: &'a str,
    until: Instant,
    told: Instant,
    sockets: Vec<Option<TcpStream>>,
}

impl Joining<'_> {
    fn call(&mut self, peer: usize) -> Result<(), JoinError> {
        let address = self.cluster.addresses[peer].clone();
        loop {
            let answered = TcpStream::connect(&address).and_then(|mut stream| {
                self.greet(&mut stream)?;
                let greeting = read_greeting(&mut stream)?;
                Ok((stream, greeting))
            });
            match answered {
                Ok((stream, (number, text))) => {
                    self.must_equal(peer, &text)?;
                    if number != peer as u64 {
                        return Err(JoinError::Twice { peer: usize::try_from(number).unwrap_or(peer) });
                    }
                    self.sockets[peer] = Some(stream);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(peer, address, %error, "a peer is not there yet");
                    self.wait()?;
                }
            }
        }
    }

    fn listen(&mut self, listener: &TcpListener) -> Result<(), JoinError> {
        let process = self.cluster.process;
        let failed = |source| JoinError::Listen { address: self.cluster.addresses[process].clone(), process, source };
        listener.set_nonblocking(true).map_err(failed)?;
        while self.sockets[process + 1..].iter().any(Option::is_none) {
            let Ok((mut stream, from)) = listener.accept() else {
                self.wait()?;
                continue;
            };
            let greeted = stream.set_nonblocking(false).and_then(|()| read_greeting(&mut stream));
            match greeted {
                Ok((number, text)) => {
                    let _ = self.greet(&mut stream); // one that is gone again will call again
                    let peer = usize::try_from(number).ok().filter(|peer| *peer < self.sockets.len()).unwrap_or(process);
                    if peer == process {
                        return Err(JoinError::Twice { peer });
                    }
                    self.must_equal(peer, &text)?;
                    self.sockets[peer] = Some(stream); // one that called before was given up by its process
                }
                Err(error) => tracing::warn!(%from, %error, "a caller is no process of this cluster"),
            }
        }
        Ok(())
    }

    fn greet(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(GREETING_MAX))?;
        stream.set_read_timeout(Some(GREETING_MAX))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.cluster.process as u64).to_le_bytes());
        bytes.extend((self.text.len() as u64).to_le_bytes());
        bytes.extend(self.text.as_bytes());
        stream.write_all(&bytes)
    }

    fn must_equal(&self, peer: usize, theirs: &str) -> Result<(), JoinError> {
        if theirs == self.text {
            return Ok(());
        }
        let address = self.cluster.addresses[peer].clone();
        Err(JoinError::Differs { peer, address, theirs: theirs.to_owned(), ours: self.text.to_owned() })
    }

    fn wait(&mut self) -> Result<(), JoinError> {
        let process = self.cluster.process;
        let is_missing = |(peer, socket): &(usize, &Option<TcpStream>)| *peer != process && socket.is_none();
        let missing = self.sockets.iter().enumerate().filter(is_missing);
        let names =
            missing.map(|(peer, _)| format!("process {peer} ({})", self.cluster.addresses[peer])).collect::<Vec<_>>().join(", ");
        if Instant::now() >= self.until {
            return Err(JoinError::Missing { process, seconds: JOIN_MAX.as_secs(), missing: names });
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            tracing::warn!(waiting_for = names, "not all processes are there yet");
        }
        std::thread::sleep(AGAIN_AFTER);
        Ok(())
    }
}

fn read_greeting(stream: &mut TcpStream) -> io::Result<(u64, String)> {
    stream.set_read_timeout(Some(GREETING_MAX))?;
    let mut head = [0; 24];
    stream.read_exact(&mut head)?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let (process, length) = (number(8), number(16));
    if &head[..8] != MAGIC || length > TEXT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its greeting is not that of this program and version"));
    }
    let mut text = String::new();
    stream.take(length).read_to_string(&mut text)?;
    Ok((process, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_to_all() {
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = free.map(|listener| listener.local_addr().unwrap().to_string()).to_vec();
        let work = |process: usize| {
            let cluster = Cluster { process, addresses: addresses.clone() };
            move || {
                let mut joined = join(&cluster, "the same").unwrap();
                assert_eq!(joined.exchange(&format!("said by {process}")).unwrap(), ["said by 0", "said by 1", "said by 2"]);
                process == 2 || joined.exchange("").is_err() // the third goes without another word
            }
        };
        let threads = [0, 1, 2].map(work).map(std::thread::spawn);
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [true; 3]);
    }
}
