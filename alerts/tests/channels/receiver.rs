//! A server on loopback that answers whatever a test wants, byte for byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub type Heard = Arc<Mutex<Vec<Request>>>;

/// Answers every request by `answer`. Its origin, and what it heard.
pub async fn receiver(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), serve(listener, answer))
}

/// The same on a listener.
pub fn serve(listener: TcpListener, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Heard {
    let (heard, answer) = (Heard::default(), Arc::new(answer));
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (heard, answer) = (Arc::clone(&all), Arc::clone(&answer));
            tokio::spawn(async move {
                while let Some(request) = read(&mut stream).await {
                    let bytes = answer(&request);
                    heard.lock().unwrap().push(request);
                    if stream.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    heard
}

/// One request with its body.
pub async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut request = Request { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: bytes.split_off(end) };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// An answer with a body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}
