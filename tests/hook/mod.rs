//! A webhook's receiver: takes every event, alone or in a digest, and remembers which.
//!
//! One that began and ended before its digest went out is in it as ended, so what a digest calls ended counts as begun, too.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What was told: id, status, type.
pub type Told = BTreeSet<(String, String, String)>;

/// See the module. Ends with the program.
pub struct Hook {
    address: String,
    told: Arc<Mutex<Told>>,
}

impl Hook {
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let told: Arc<Mutex<Told>> = Arc::default();
        let all = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&all);
                std::thread::spawn(move || serve(stream, &told));
            }
        });
        Ok(Self { address, told })
    }

    /// The configuration that has everything told here. More keys of `alerts` may follow it.
    pub fn config(&self) -> String {
        let url = format!("http://{}/", self.address);
        format!("[[webhooks]]\nname = 'desk'\nurl = '{url}'\n[alerts]\nallow_addresses = ['127.0.0.1/32']\n")
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: TcpStream, told: &Mutex<Told>) {
    let Ok(reader) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reader);
    while let Some(body) = request(&mut reader) {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let alone = body.get("event_type").map(|_| std::slice::from_ref(&body));
        let digest = body["data"]["events"].as_array().map(Vec::as_slice);
        assert!(body["data"]["events_omitted"].as_u64().unwrap_or(0) == 0, "a digest that names not all: {body}");
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        for event in alone.or(digest).unwrap_or_default() {
            let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            told.insert((field("id"), field("status"), field("event_type")));
            if alone.is_none() {
                told.insert((field("id"), "firing".to_owned(), field("event_type")));
            }
        }
        drop(told);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
