//! One conversation with a mail server: connect, TLS, login, sender, recipients, mail.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::server::{EmailError, Server, Tls};
use super::wire::{Counted, Inside};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Greet,
    Encrypt,
    LogIn,
    Sender,
    Recipients,
    Mail,
}

/// Why it stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not within this.
    Timeout(Duration),
    /// The name has no address, or none that is allowed.
    NoAddress,
    /// Not reachable, or cut off.
    Io(std::io::ErrorKind),
    /// TLS was not agreed on.
    Handshake(&'static str),
    /// The server doesn't offer STARTTLS.
    NoStartTls,
    /// The server offers no login that is known here.
    NoLogin,
    /// What it says is no SMTP, or too much.
    Nonsense,
    /// It refuses.
    Answer(Answer),
}

/// A refusal: the code, and the enhanced one (`5.1.1`) where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) enhanced: Option<String>,
}

/// How to reach the server.
pub(super) struct Session {
    server: Server,
    login: Option<Credentials>,
    /// For STARTTLS.
    upgrade: Option<TlsParameters>,
    /// For TLS from the first byte.
    implicit: Option<(TlsConnector, ServerName<'static>)>,
    connect_max: Duration,
    must_be_loopback: bool,
}

impl Session {
    pub(super) fn new(
        name: &str,
        server: &Server,
        login: Option<Credentials>,
        roots: &[Vec<u8>],
        connect_max: Duration,
        must_be_loopback: bool,
    ) -> Result<Self, EmailError> {
        let host = server.host.trim_end_matches('.');
        let domain = ServerName::try_from(host.to_owned())
            .map_err(|_| EmailError::Host { name: name.to_owned(), host: server.host.chars().take(100).collect() })?;
        let failed = |reason: String| EmailError::NoTls { name: name.to_owned(), reason };
        let unreadable = |index: usize| EmailError::Root { name: name.to_owned(), number: index + 1 };
        let (mut upgrade, mut implicit) = (None, None);
        match server.tls {
            Tls::StartTls => {
                let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
                for (index, root) in roots.iter().enumerate() {
                    builder = builder.add_root_certificate(Certificate::from_der(root.clone()).map_err(|_| unreadable(index))?);
                }
                upgrade = Some(builder.build().map_err(|e| failed(e.to_string()))?);
            }
            Tls::Implicit => {
                let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                for (index, root) in roots.iter().enumerate() {
                    store.add(CertificateDer::from(root.clone())).map_err(|_| unreadable(index))?;
                }
                let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|e| failed(e.to_string()))?
                    .with_root_certificates(store)
                    .with_no_client_auth();
                implicit = Some((TlsConnector::from(Arc::new(config)), domain));
            }
            Tls::None => {}
        }
        Ok(Self { server: server.clone(), login, upgrade, implicit, connect_max, must_be_loopback })
    }

    /// For people: whether it logs in, not as whom.
    pub(super) fn login_in_words(&self) -> &'static str {
        if self.login.is_some() { ", with login" } else { ", without login" }
    }

    /// Hands a mail in. By recipient: `None` is accepted, else the refusal. If none is accepted, no mail is handed in.
    /// `step` tells what was being done, also to whoever drops this.
    pub(super) async fn deliver(
        &self,
        from: Address,
        to: Vec<Address>,
        mail: &[u8],
        step: &mut Step,
    ) -> Result<(AsyncSmtpConnection, Vec<Option<Answer>>), Fault> {
        *step = Step::Connect;
        let stream = self.connect().await?;
        let hello = hello(&stream);
        let stream: Box<dyn AsyncTokioStream> = match &self.implicit {
            Some((connector, domain)) => {
                *step = Step::Encrypt;
                Box::new(Inside(connector.connect(domain.clone(), Counted::new(stream)).await.map_err(|e| of_io(&e))?))
            }
            None => Box::new(Counted::new(stream)),
        };
        *step = Step::Greet;
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(fault)?;
        if let Some(parameters) = &self.upgrade {
            *step = Step::Encrypt;
            if !connection.can_starttls() {
                return Err(Fault::NoStartTls);
            }
            connection.starttls(parameters.clone(), &hello).await.map_err(fault)?;
        }
        if let Some(login) = &self.login {
            *step = Step::LogIn;
            // There is no login without TLS: `Email::new` refuses it. This holds even if that should change.
            if self.implicit.is_none() && !connection.is_encrypted() {
                return Err(Fault::NoStartTls);
            }
            const KNOWN: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
            if !KNOWN.into_iter().any(|mechanism| connection.server_info().supports_auth_mechanism(mechanism)) {
                return Err(Fault::NoLogin);
            }
            connection.auth(&KNOWN, login).await.map_err(fault)?;
        }
        *step = Step::Sender;
        connection.command(Mail::new(Some(from), vec![])).await.map_err(fault)?;
        *step = Step::Recipients;
        let mut answers = Vec::with_capacity(to.len());
        for recipient in to {
            match connection.command(Rcpt::new(recipient, vec![])).await.map_err(fault) {
                Ok(_) => answers.push(None),
                // The server closes: this is about none of them.
                Err(Fault::Answer(answer)) if answer.code != 421 => answers.push(Some(answer)),
                Err(other) => return Err(other),
            }
        }
        if answers.iter().any(Option::is_none) {
            *step = Step::Mail;
            connection.command(Data).await.map_err(fault)?;
            connection.message(mail).await.map_err(fault)?;
        }
        Ok((connection, answers))
    }

    /// The first address that answers.
    async fn connect(&self) -> Result<TcpStream, Fault> {
        let Server { host, port, .. } = &self.server;
        let addresses = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(|_| Fault::NoAddress)?;
        let mut fault = Fault::NoAddress;
        for address in addresses.filter(|address| !self.must_be_loopback || address.ip().to_canonical().is_loopback()) {
            match tokio::time::timeout(self.connect_max, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => fault = Fault::Io(e.kind()),
                Err(_) => fault = Fault::Timeout(self.connect_max),
            }
        }
        Err(fault)
    }
}

/// Says goodbye, which no longer matters.
pub(super) async fn goodbye(mut connection: AsyncSmtpConnection, within: Duration) {
    let _ = tokio::time::timeout(within, connection.quit()).await;
}

/// The own address: the name of this machine is not known here, and often means nothing outside.
fn hello(stream: &TcpStream) -> ClientId {
    match stream.local_addr().map(|address| address.ip().to_canonical()) {
        Ok(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
        Ok(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
        Err(_) => ClientId::default(),
    }
}

fn fault(error: lettre::transport::smtp::Error) -> Fault {
    if let Some(code) = error.status() {
        // The server's words are only looked at for the enhanced code in front of them.
        let words = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let code = code.to_string().parse().unwrap_or(0);
        return Fault::Answer(Answer { code, enhanced: words.split_whitespace().next().and_then(enhanced) });
    }
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(e) = cause.downcast_ref::<std::io::Error>() {
            return of_io(e);
        }
        source = cause.source();
    }
    Fault::Nonsense
}

/// `5.1.1`, and nothing that only begins like it.
fn enhanced(word: &str) -> Option<String> {
    let parts: Vec<&str> = word.split('.').collect();
    let is_code =
        parts.len() == 3 && parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    is_code.then(|| word.to_owned())
}

fn of_io(error: &std::io::Error) -> Fault {
    use rustls::{CertificateError, Error};
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return if error.kind() == std::io::ErrorKind::Other { Fault::Nonsense } else { Fault::Io(error.kind()) };
    };
    Fault::Handshake(match tls {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "the certificate's issuer is not known",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired"
        }
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "the certificate is for another name"
        }
        Error::InvalidCertificate(_) => "the certificate is not valid",
        _ => "the handshake failed",
    })
}
