//! A TCP proxy in front of ClickHouse that misbehaves on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    Pass,
    /// Closed as soon as they come, and those that are open, too.
    Refuse,
    /// Nothing comes through, nothing is said.
    Hang,
    /// Every third insert is done, but its answer never comes: the connection is cut at its first byte.
    CutAfterCommit,
}

pub struct Proxy {
    pub url: String,
    way: Arc<AtomicU8>,
    /// How many answers were cut off.
    pub cuts: Arc<AtomicU64>,
    inserts: Arc<AtomicU64>,
}

impl Proxy {
    /// In front of `to` (`http://host:port`).
    pub async fn start(to: &str, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (way, cuts, inserts) = (Arc::new(AtomicU8::new(way as u8)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let to = to.trim_start_matches("http://").to_owned();
        let (the_way, the_cuts, the_inserts) = (Arc::clone(&way), Arc::clone(&cuts), Arc::clone(&inserts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if the_way.load(Ordering::SeqCst) == Way::Refuse as u8 {
                    continue; // dropped
                }
                let pair = Pair { way: Arc::clone(&the_way), cuts: Arc::clone(&the_cuts), inserts: Arc::clone(&the_inserts) };
                let to = to.clone();
                tokio::spawn(async move { pair.carry(client, &to).await });
            }
        });
        Self { url, way, cuts, inserts }
    }

    pub fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }

    /// How many inserts were begun.
    pub fn inserts(&self) -> u64 {
        self.inserts.load(Ordering::SeqCst)
    }
}

struct Pair {
    way: Arc<AtomicU8>,
    cuts: Arc<AtomicU64>,
    inserts: Arc<AtomicU64>,
}

impl Pair {
    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    async fn carry(self, client: TcpStream, to: &str) {
        let Ok(server) = TcpStream::connect(to).await else { return };
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut cut_answer = false;
        loop {
            tokio::select! {
                read = from_client.read(&mut up) => {
                    let Ok(count @ 1..) = read else { return };
                    if up[..count].windows(13).any(|word| word == b"query=INSERT+" || word == b"query=INSERT%") {
                        let nth = self.inserts.fetch_add(1, Ordering::SeqCst);
                        cut_answer = self.is(Way::CutAfterCommit) && nth.is_multiple_of(3);
                    }
                    while self.is(Way::Hang) {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    if self.is(Way::Refuse) || to_server.write_all(&up[..count]).await.is_err() {
                        return;
                    }
                }
                read = from_server.read(&mut down) => {
                    let Ok(count @ 1..) = read else { return };
                    if cut_answer {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if self.is(Way::Refuse) || to_client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
