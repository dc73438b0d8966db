//! Which server, and what can be wrong about it.

use std::fmt;
use std::net::IpAddr;

use lettre::message::Mailbox;
use reqwest::Url;

use super::RECIPIENTS_MAX;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It begins in the clear and is upgraded before anything that matters. Refused where the server doesn't offer it. Usual port: 587.
    StartTls,
    /// From the first byte. Usual port: 465.
    Implicit,
    /// Never. Usual port: 25.
    None,
}

impl Tls {
    /// As the configuration writes it: `starttls`, `tls`, `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "starttls" => Some(Self::StartTls),
            "tls" => Some(Self::Implicit),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Implicit => "tls",
            Self::None => "none",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// Where mail is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name or an address; its certificate must be for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
}

impl Server {
    /// By its parts.
    #[must_use]
    pub fn new(host: &str, port: Option<u16>, tls: Tls) -> Self {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { host: host.to_owned(), port: port.unwrap_or(tls.usual_port()), tls }
    }

    /// By `smtp://host:port` (STARTTLS) or `smtps://host:port` (TLS). A login does not belong there.
    pub fn from_url(url: &str) -> Result<Self, EmailError> {
        // What it says of an error may hold a password.
        let parsed = Url::parse(url).map_err(|_| EmailError::Url)?;
        let tls = match parsed.scheme() {
            "smtp" => Tls::StartTls,
            "smtps" => Tls::Implicit,
            _ => return Err(EmailError::Url),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(EmailError::UrlLogin);
        }
        let is_bare = matches!(parsed.path(), "" | "/") && parsed.query().is_none() && parsed.fragment().is_none();
        let host = parsed.host_str().filter(|host| !host.is_empty() && is_bare).ok_or(EmailError::Url)?;
        Ok(Self::new(host, parsed.port(), tls))
    }

    /// Whether its host says that it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let name = self.host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// `smtp host:port (starttls)`.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        write!(f, "smtp {host}:{port} ({})", tls.as_str())
    }
}

/// Why e-mail can't be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum EmailError {
    #[error("read a mail server's url: it is not valid; write smtp://host:587 (starttls) or smtps://host:465 (tls)")]
    Url,
    #[error("read a mail server's url: it holds a login; give user and password apart, the password by file or environment")]
    UrlLogin,
    #[error(
        "set up e-mail `{name}`: a login would go out in the clear; set tls = \"starttls\" or \"tls\", or leave the login out"
    )]
    ClearLogin { name: String },
    #[error(
        "set up e-mail `{name}`: tls = \"none\" is only for a server on loopback, and `{host}` is not; set \"starttls\" or \"tls\""
    )]
    Clear { name: String, host: String },
    #[error("set up e-mail `{name}`: it has {count} recipients; give 1 to {max}", max = RECIPIENTS_MAX)]
    Recipients { name: String, count: usize },
    #[error(
        "set up e-mail `{name}`: `{address}` is no address; write name@host or Name <name@host>, in ASCII (xn-- for other hosts)"
    )]
    Address { name: String, address: String },
    #[error("set up e-mail `{name}`: `{host}` is no host name or address that a certificate can be for")]
    Host { name: String, host: String },
    #[error("set up e-mail `{name}`: root certificate number {number} can't be read; give it as DER")]
    Root { name: String, number: usize },
    #[error("set up e-mail `{name}`: TLS can't be set up: {reason}")]
    NoTls { name: String, reason: String },
}

/// An address, as the configuration writes it.
pub(super) fn mailbox(name: &str, text: &str) -> Result<Mailbox, EmailError> {
    let wrong =
        || EmailError::Address { name: name.to_owned(), address: text.chars().filter(|c| !c.is_control()).take(100).collect() };
    let mailbox: Mailbox = text.trim().parse().map_err(|_| wrong())?;
    let is_plain = mailbox.email.to_string().is_ascii() && !text.chars().any(char::is_control);
    if is_plain { Ok(mailbox) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_never_told() {
        let check = |url: &str, want: Result<(&str, u16, Tls), EmailError>| {
            let got = Server::from_url(url);
            assert_eq!(got, want.map(|(host, port, tls)| Server::new(host, Some(port), tls)), "{url}");
        };
        check("smtp://mail.example.com", Ok(("mail.example.com", 587, Tls::StartTls)));
        check("smtps://mail.example.com", Ok(("mail.example.com", 465, Tls::Implicit)));
        check("smtps://mail.example.com:2465/", Ok(("mail.example.com", 2_465, Tls::Implicit)));
        check("smtp://[::1]:2525", Ok(("::1", 2_525, Tls::StartTls)));
        check("smtp://u:canary@mail.example.com", Err(EmailError::UrlLogin));
        for url in [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://h/canary",
            "smtp://h?tls=none",
            "smtp://h:99999",
        ] {
            check(url, Err(EmailError::Url));
        }
    }

    #[test]
    fn loopback_is_what_says_so() {
        let check = |host: &str, want: bool| assert_eq!(Server::new(host, None, Tls::None).is_loopback(), want, "{host}");
        for host in ["localhost", "LOCALHOST.", "mail.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::ffff:127.0.0.1"] {
            check(host, true);
        }
        for host in ["localhost.example.com", "10.0.0.1", "0.0.0.0", "mail", "127.0.0.1.example.com", "[::2]"] {
            check(host, false);
        }
    }

    #[test]
    fn addresses_are_plain() {
        let check = |text: &str, want: bool| assert_eq!(mailbox("x", text).is_ok(), want, "{text:?}");
        for text in ["a@example.com", "Desk <a@example.com>", " a@example.com ", "Börse <a@xn--brse-5qa.example>"] {
            check(text, true);
        }
        for text in [
            "",
            "a",
            "a@",
            "a@b@c",
            "a@example.com\r\nBcc: b@example.com",
            "Desk\r\nBcc: x <a@example.com>",
            "ä@example.com",
            "a@exämple.com",
        ] {
            check(text, false);
        }
    }
}
