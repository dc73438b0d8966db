//! A mail server on loopback that speaks SMTP with STARTTLS or TLS, keeps what it hears, and misbehaves as it is told.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What to do instead of the usual answer.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Another answer.
    Say(&'static str),
    /// None, for ever.
    Silence,
    /// A byte now and then, never a line.
    Drip,
    /// Bytes without end, never a line.
    Flood,
    /// Hang up.
    Close,
}

/// How the server is.
#[derive(Clone)]
pub struct Script {
    pub is_implicit: bool,
    pub offers_starttls: bool,
    pub offers_auth: bool,
    /// By the beginning of what the client says; `GREETING` and `BODY` for what it doesn't say in a line.
    pub acts: Vec<(&'static str, Act)>,
    pub certificate: Arc<Certificate>,
}

impl Script {
    pub fn new(certificate: &Arc<Certificate>) -> Self {
        let certificate = Arc::clone(certificate);
        Self { is_implicit: false, offers_starttls: true, offers_auth: true, acts: vec![], certificate }
    }

    fn act(&self, said: &str) -> Option<Act> {
        self.acts.iter().find(|(prefix, _)| said.starts_with(prefix)).map(|(_, act)| *act)
    }
}

/// A self-signed certificate.
pub struct Certificate {
    pub der: Vec<u8>,
    acceptor: TlsAcceptor,
}

pub fn certificate(name: &str) -> Arc<Certificate> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Arc::new(Certificate { der: cert.der().to_vec(), acceptor: TlsAcceptor::from(Arc::new(config)) })
}

/// What the server heard.
#[derive(Default)]
pub struct Heard {
    /// Each line with whether it came inside TLS; mails are left out.
    pub lines: Vec<(bool, String)>,
    /// Each mail that was accepted, with its recipients.
    pub mails: Vec<(Vec<String>, String)>,
    pub connections: usize,
}

pub type Record = Arc<Mutex<Heard>>;

pub async fn start(script: Script) -> (SocketAddr, Record) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = Record::default();
    let heard = Arc::clone(&record);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            heard.lock().unwrap().connections += 1;
            let (script, heard) = (script.clone(), Arc::clone(&heard));
            tokio::spawn(async move {
                if script.is_implicit {
                    let Ok(stream) = script.certificate.acceptor.accept(stream).await else { return };
                    talk(BufReader::new(stream), &script, &heard, true, true).await;
                    return;
                }
                let Some(stream) = talk(BufReader::new(stream), &script, &heard, false, true).await else { return };
                let Ok(stream) = script.certificate.acceptor.accept(stream.into_inner()).await else { return };
                talk(BufReader::new(stream), &script, &heard, true, false).await;
            });
        }
    });
    (address, record)
}

/// Until the client has asked for TLS (`Some`) or the conversation is over.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    script: &Script,
    heard: &Record,
    is_tls: bool,
    greets: bool,
) -> Option<BufReader<S>> {
    if greets {
        answer(&mut stream, script.act("GREETING"), "220 test ESMTP").await?;
    }
    let mut recipients = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        heard.lock().unwrap().lines.push((is_tls, line.to_owned()));
        let act = script.act(line);
        let command = line.split([' ', ':']).next().unwrap().to_uppercase();
        match command.as_str() {
            "EHLO" => {
                let mut offers = vec!["250-test"];
                if script.offers_starttls && !is_tls {
                    offers.push("250-STARTTLS");
                }
                // Also in the clear: a client must not be led to log in there.
                if script.offers_auth {
                    offers.push("250-AUTH PLAIN LOGIN");
                }
                offers.push("250 8BITMIME");
                answer(&mut stream, act, &offers.join("\r\n")).await?;
            }
            "STARTTLS" => {
                answer(&mut stream, act, "220 go ahead").await?;
                if !matches!(act, Some(Act::Say(text)) if !text.starts_with("220")) {
                    return Some(stream);
                }
            }
            "AUTH" => answer(&mut stream, act, "235 2.7.0 welcome").await?,
            "RCPT" => {
                if act.is_none() {
                    recipients.push(line.to_owned());
                }
                answer(&mut stream, act, "250 2.1.5 ok").await?;
            }
            "DATA" => {
                answer(&mut stream, act, "354 go on").await?;
                if act.is_some() {
                    continue;
                }
                let mail = mail(&mut stream).await?;
                let act = script.act("BODY");
                if act.is_none() {
                    heard.lock().unwrap().mails.push((std::mem::take(&mut recipients), mail));
                }
                answer(&mut stream, act, "250 2.0.0 queued").await?;
            }
            "QUIT" => {
                answer(&mut stream, act, "221 bye").await?;
                return None;
            }
            _ => answer(&mut stream, act, "250 ok").await?,
        }
    }
}

/// Up to the line with the dot, without the doubled dots.
async fn mail<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut mail = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(mail);
        }
        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, act: Option<Act>, usual: &str) -> Option<()> {
    match act {
        None => stream.write_all(format!("{usual}\r\n").as_bytes()).await.ok()?,
        Some(Act::Say(text)) => stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?,
        Some(Act::Silence) => std::future::pending().await,
        Some(Act::Drip) => loop {
            stream.write_all(b"2").await.ok()?;
            stream.flush().await.ok()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        Some(Act::Flood) => loop {
            stream.write_all(&[b'2'; 65_536]).await.ok()?;
        },
        Some(Act::Close) => return None,
    }
    stream.flush().await.ok()
}
