//! E-mail: a notice as text and HTML with its chart inside, over SMTP.
//!
//! Each attempt is a connection of its own: alerts are rare, and a connection that idled away would cost an attempt. It ends within
//! [`Limits::total`], from the name look-up to the goodbye, and reads at most [`super::ANSWER_BYTES_MAX`].
//!
//! A password goes out only inside TLS: by STARTTLS, which is demanded, never hoped for, or from the first byte. Where TLS can't
//! be had the attempt fails and says why; nothing is sent in the clear instead. Without TLS ([`Tls::None`]) there is no login, and
//! the server must be on loopback unless the caller allows another.
//!
//! One recipient that is refused does not keep the notice from the others: each has its own answer. On a retry only those are asked
//! who have no copy yet (remembered for the last [`REMEMBERED_MAX`] notices; after a restart some get a second copy, with the
//! same Message-ID).
//!
//! The server's address is not guarded as a webhook's is: mail relays live in private networks, and only whoever writes the
//! configuration names one. Reasons hold codes and what was being done, never the server's words, which may repeat ours.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;

use super::{ATTEMPT_MAX, Channel, Outcome, Pace, Verdict};
use crate::message::Message;
use crate::notice::Notice;

mod mail;
mod server;
mod session;
mod verdict;
mod wire;

pub use server::{EmailError, Server, Tls};
use session::{Fault, Session, Step};
use verdict::{judge, of_recipients};

/// Most recipients of a channel.
pub const RECIPIENTS_MAX: usize = 50;
/// So many notices that reached only some of their recipients are remembered.
pub const REMEMBERED_MAX: usize = 256;

/// How to send mail.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// Through which server.
    pub server: Server,
    /// As whom; needs TLS.
    pub login: Option<Login>,
    /// The sender: `regimeflow <alerts@example.com>`.
    pub from: String,
    /// The recipients, who see each other.
    pub to: Vec<String>,
    /// [`Tls::None`] may be used to a server that is not on loopback.
    pub may_go_clear: bool,
    /// Roots to trust beside the compiled-in ones, each a certificate as DER: for a server with a private one.
    pub roots: Vec<Vec<u8>>,
    /// The bounds of an attempt.
    pub limits: Limits,
}

/// A user with a password, which is never printed.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// Takes both as they are.
    #[must_use]
    pub fn new(user: String, password: String) -> Self {
        Self { user, password }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("password", &"[secret]").finish()
    }
}

/// The bounds of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All of it.
    pub total: Duration,
    /// One address of the server: the next one is tried within the same attempt.
    pub connect: Duration,
    /// The goodbye, part of the total; the mail is delivered by then.
    pub quit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: ATTEMPT_MAX, connect: Duration::from_secs(5), quit: Duration::from_secs(1) }
    }
}

/// A mail server and whom it is to reach.
pub struct Email {
    name: String,
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
    session: Session,
    limits: Limits,
    /// By notice: who has a copy, where not all have. The latest at the back.
    partly: Mutex<VecDeque<(String, BTreeSet<usize>)>>,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("name", &self.name).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Email {
    /// A channel by its configuration.
    pub fn new(name: &str, config: EmailConfig) -> Result<Self, EmailError> {
        let EmailConfig { server, login, from, to, may_go_clear, roots, limits } = config;
        let name = name.to_owned();
        if server.tls == Tls::None {
            if login.is_some() {
                return Err(EmailError::ClearLogin { name });
            }
            if !may_go_clear && !server.is_loopback() {
                return Err(EmailError::Clear { name, host: server.host });
            }
        }
        if to.is_empty() || to.len() > RECIPIENTS_MAX {
            return Err(EmailError::Recipients { name, count: to.len() });
        }
        let from = server::mailbox(&name, &from)?;
        let to = to.iter().map(|to| server::mailbox(&name, to)).collect::<Result<Vec<_>, _>>()?;
        let login = login.map(|login| Credentials::new(login.user, login.password));
        let must_be_loopback = server.tls == Tls::None && !may_go_clear;
        let session = Session::new(&name, &server, login, &roots, limits.connect, must_be_loopback)?;
        Ok(Self { name, server, from, to, session, limits, partly: Mutex::default() })
    }

    async fn attempt(&self, notice: &Notice, now_ms: i64) -> Outcome {
        let message = Message::with_chart(notice);
        let mail = match mail::mail(notice, &message, &self.from, &self.to, now_ms) {
            Ok(mail) => mail.formatted(),
            Err(reason) => {
                let reason = format!("write a mail: {reason}");
                return Outcome { verdict: Verdict::Failed, http_status: 0, reason, pause: None };
            }
        };
        let already = self.have_it(&notice.id);
        let asked: Vec<usize> = (0..self.to.len()).filter(|index| !already.contains(index)).collect();
        let recipients = asked.iter().map(|index| self.to[*index].email.clone()).collect();

        let mut step = Step::Connect;
        let talk = self.session.deliver(self.from.email.clone(), recipients, &mail, &mut step);
        let bound = self.limits.total.saturating_sub(self.limits.quit);
        let result = tokio::time::timeout(bound, talk).await.unwrap_or(Err(Fault::Timeout(bound)));
        match result {
            Ok((connection, answers)) => {
                let reached = asked.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(index, _)| *index);
                let reached: BTreeSet<usize> = already.into_iter().chain(reached).collect();
                let outcome = of_recipients(&self.server, reached.len(), &answers);
                self.remember(&notice.id, reached, outcome.verdict == Verdict::Retry);
                session::goodbye(connection, self.limits.quit).await;
                outcome
            }
            Err(fault) => judge(&self.server, step, &fault),
        }
    }

    fn have_it(&self, id: &str) -> BTreeSet<usize> {
        let partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
        partly.iter().find(|(notice, _)| notice == id).map(|(_, who)| who.clone()).unwrap_or_default()
    }

    fn remember(&self, id: &str, who: BTreeSet<usize>, is_needed: bool) {
        let mut partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
        partly.retain(|(notice, _)| notice != id);
        if is_needed && !who.is_empty() {
            if partly.len() == REMEMBERED_MAX {
                partly.pop_front();
            }
            partly.push_back((id.to_owned(), who));
        }
    }
}

impl Channel for Email {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "email"
    }

    fn pace(&self) -> Pace {
        let limits = vec![(1, Duration::from_secs(1)), (30, Duration::from_secs(60))];
        Pace { limits, in_flight_max: 1, digest_above: Some(5) }
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.attempt(notice, now_ms))
    }

    fn preview(&self, notice: &Notice, now_ms: i64) -> String {
        let message = Message::of(notice);
        match mail::mail(notice, &message, &self.from, &self.to, now_ms) {
            Ok(mail) => {
                let headers = mail.headers().to_string().replace("\r\n", "\n");
                let headers: String = headers.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
                let chart =
                    if notice.alerts.first().is_some_and(|alert| alert.chart.is_some()) { "\n[with a chart]\n" } else { "" };
                format!("to {}{}\n\n{headers}\n{}{chart}", self.server, self.session.login_in_words(), mail::text(&message))
            }
            Err(reason) => format!("to {}\n\nthis can't be written: {reason}\n", self.server),
        }
    }
}
