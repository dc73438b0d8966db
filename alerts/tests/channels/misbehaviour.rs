//! A3: receivers that stall, drip, flood and reset. Every attempt ends in time and reads no more than it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alerts::channels::{Outcome, Verdict};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::receiver::{answer, read};
use crate::{NOW_MS, channel, http, news};

const ATTEMPT_MAX: Duration = Duration::from_millis(700);
/// A busy machine's share.
const SLACK: Duration = Duration::from_millis(1_500);

/// A server that does `act` with every connection. Its origin, and how many bytes it could write.
async fn server<F>(act: impl Fn(TcpStream, Arc<AtomicUsize>) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream, Arc::clone(&counter)));
        }
    });
    (origin, written)
}

/// Reads the request, then writes `head` and `piece` again and again, with a pause between, until nobody listens.
async fn flood(head: &'static [u8], piece: &'static [u8], pause: Duration) -> (String, Arc<AtomicUsize>) {
    server(move |mut stream, written| async move {
        read(&mut stream).await;
        let mut bytes = head;
        while stream.write_all(bytes).await.is_ok() {
            written.fetch_add(bytes.len(), Ordering::SeqCst);
            bytes = piece;
            tokio::time::sleep(pause).await;
        }
    })
    .await
}

async fn attempt(kind: &str, origin: &str) -> Outcome {
    let channel = channel(kind, origin, http(ATTEMPT_MAX));
    let start = Instant::now();
    let outcome = channel.send(&news(), NOW_MS).await;
    let took = start.elapsed();
    assert!(took < ATTEMPT_MAX + SLACK, "{took:?}");
    assert!(!outcome.reason.contains("canary"), "{}", outcome.reason);
    outcome
}

async fn check_stall(origin: &str) {
    let kinds = ["webhook", "discord", "slack", "telegram"];
    for outcome in futures_util::future::join_all(kinds.map(|kind| attempt(kind, origin))).await {
        assert_eq!((outcome.verdict, outcome.http_status, outcome.pause), (Verdict::Retry, 0, None), "{}", outcome.reason);
        assert!(outcome.reason.starts_with(&format!("post to {origin}/…: ")), "{}", outcome.reason);
    }
}

#[tokio::test]
async fn nobody_accepts() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Fills the queue of those who wait: further ones hear nothing.
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(waiting.iter().any(|task| !task.is_finished()), "the queue is not full");
    check_stall(&format!("http://{address}")).await;
}

#[tokio::test]
async fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check_stall(&format!("http://{address}")).await;
}

#[tokio::test]
async fn the_tls_handshake_stalls() {
    let (origin, _) = server(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    check_stall(&origin.replace("http:", "https:")).await;
}

#[tokio::test]
async fn no_answer_comes() {
    let (origin, _) = flood(b"", b"", Duration::from_millis(20)).await;
    check_stall(&origin).await;
}

#[tokio::test]
async fn headers_drip() {
    let (origin, _) = flood(b"HTTP/1.1 200 OK\r\nx: ", b"y", Duration::from_millis(20)).await;
    check_stall(&origin).await;
}

#[tokio::test]
async fn a_header_without_end() {
    let (origin, written) = flood(b"HTTP/1.1 200 OK\r\nx: ", &[b'y'; 65_536], Duration::ZERO).await;
    check_stall(&origin).await;
    assert!(written.load(Ordering::SeqCst) < 64 << 20);
}

#[tokio::test]
async fn ten_thousand_headers() {
    let (origin, _) = server(|mut stream, _| async move {
        read(&mut stream).await;
        let headers: String = (0..10_000).map(|i| format!("x-{i}: canary\r\n")).collect();
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nok").as_bytes()).await;
    })
    .await;
    check_stall(&origin).await;
}

#[tokio::test]
async fn it_speaks_something_else() {
    let (origin, _) = flood(b"SSH-2.0-canary\r\n", b"", Duration::from_millis(20)).await;
    check_stall(&origin).await;
}

/// The status is known, so the webhook has it; Slack's and Telegram's answers never came whole.
#[tokio::test]
async fn a_body_drips() {
    let (origin, _) = flood(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"o", Duration::from_millis(20)).await;
    for (kind, verdict) in [
        ("webhook", Verdict::Delivered),
        ("discord", Verdict::Delivered),
        ("slack", Verdict::Retry),
        ("telegram", Verdict::Retry),
    ] {
        let outcome = attempt(kind, &origin).await;
        assert_eq!((outcome.verdict, outcome.http_status), (verdict, 200), "{kind}");
    }
}

#[tokio::test]
async fn a_gibibyte_is_not_read() {
    let (origin, written) = flood(b"HTTP/1.1 503 X\r\ncontent-length: 1073741824\r\n\r\n", &[b'x'; 65_536], Duration::ZERO).await;
    let start = Instant::now();
    let outcome = attempt("webhook", &origin).await;
    assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry, 503));
    assert!(start.elapsed() < ATTEMPT_MAX, "it stops when it has enough, not when time is up");
    tokio::time::sleep(Duration::from_millis(50)).await;
    // What was read, and what the sockets hold.
    let written = written.load(Ordering::SeqCst);
    assert!(written < 16 << 20, "{written}");
}

#[tokio::test]
async fn chunks_without_end() {
    let (origin, written) =
        flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n", Duration::ZERO).await;
    assert_eq!(attempt("webhook", &origin).await.verdict, Verdict::Delivered);
    assert!(written.load(Ordering::SeqCst) < 16 << 20);
}

/// `ok` in a gzip of one stored block: whoever decompresses would read Slack's yes.
#[tokio::test]
async fn nothing_is_decompressed() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x02\0\xfd\xffok\x47\xdd\xdc\x79\x02\0\0\0";
    let (origin, _) = server(|mut stream, _| async move {
        let request = read(&mut stream).await.unwrap();
        assert_eq!(request.header("accept-encoding"), None);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", GZIP.len());
        let _ = stream.write_all(&[head.as_bytes(), GZIP].concat()).await;
    })
    .await;
    let outcome = attempt("slack", &origin).await;
    assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry, 200));
}

#[tokio::test]
async fn a_kept_connection_is_reset() {
    let (origin, _) = server(|mut stream, _| async move {
        read(&mut stream).await;
        let _ = stream.write_all(&answer(200, &[], "")).await;
        // Closed with something unread in it: that resets it.
        let _ = stream.readable().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await;
    let channel = channel("webhook", &origin, http(ATTEMPT_MAX));
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        verdicts.push(channel.send(&news(), NOW_MS).await.verdict);
    }
    // The second attempt's fate is not known, so it is tried again; the third has a connection of its own.
    assert_eq!(verdicts, [Verdict::Delivered, Verdict::Retry, Verdict::Delivered]);
}
