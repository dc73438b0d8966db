//! What a mail server's answers mean: 4xx is for now, 5xx for good; a refused login is about the channel, not about the mail.
//! A refusal before the login is about the conversation: whatever its code, another one may go better.

use std::time::Duration;

use super::server::Server;
use super::session::{Answer, Fault, Step};
use crate::channels::{Outcome, Pause, Verdict};

/// A server that closes the conversation (421) is left alone for so long.
const CLOSED_PAUSE: Duration = Duration::from_secs(30);

/// Of a conversation that broke off.
pub(super) fn judge(server: &Server, step: Step, fault: &Fault) -> Outcome {
    let doing = match step {
        Step::Connect => "connect",
        Step::Greet => "greet",
        Step::Encrypt => "begin TLS",
        Step::LogIn => "log in",
        Step::Sender => "name the sender",
        Step::Recipients => "name the recipients",
        Step::Mail => "hand in the mail",
    };
    let (verdict, status, why) = match fault {
        Fault::Timeout(within) => (Verdict::Retry, 0, format!("no end within {:.1} s", within.as_secs_f64())),
        Fault::NoAddress => (Verdict::Retry, 0, "its name has no usable address; check the host".to_owned()),
        Fault::Io(kind) => (Verdict::Retry, 0, kind.to_string()),
        Fault::Handshake(why) => (Verdict::Retry, 0, format!("{why}; nothing was sent in the clear")),
        Fault::NoStartTls => (
            Verdict::Retry,
            0,
            "it does not offer STARTTLS; nothing was sent in the clear. check the port, or set tls = \"tls\"".to_owned(),
        ),
        Fault::NoLogin => {
            (Verdict::Failed, 0, "it offers neither PLAIN nor LOGIN; leave the login out, or use another port".to_owned())
        }
        Fault::Nonsense => (Verdict::Retry, 0, "what it says is no SMTP, or too much".to_owned()),
        Fault::Answer(answer) => {
            let is_early = matches!(step, Step::Connect | Step::Greet | Step::Encrypt);
            let verdict = if is_early { Verdict::Retry } else { of_code(answer.code) };
            (
                verdict,
                answer.code,
                format!("{}; {}", words(answer), if is_early { "it may go better later" } else { advice(answer.code) }),
            )
        }
    };
    let pause = (status == 421).then_some(Pause { length: CLOSED_PAUSE, is_for_kind: false });
    Outcome { verdict, http_status: status, reason: format!("{server}: {doing}: {why}"), pause }
}

/// Of a conversation that went through: `reached` have the mail now, these were the latest answers (`None`: accepted).
/// Delivered with a reason: whoever has no copy is refused for good.
pub(super) fn of_recipients(server: &Server, reached: usize, answers: &[Option<Answer>]) -> Outcome {
    let refused: Vec<&Answer> = answers.iter().flatten().collect();
    let Some(first) = refused.first() else {
        return Outcome { verdict: Verdict::Delivered, http_status: 250, reason: String::new(), pause: None };
    };
    let later = refused.iter().find(|answer| of_code(answer.code) == Verdict::Retry);
    let verdict = match later {
        Some(_) => Verdict::Retry,
        None if reached > 0 => Verdict::Delivered,
        None => {
            refused.iter().map(|answer| of_code(answer.code)).find(|verdict| *verdict == Verdict::Failed).unwrap_or(Verdict::Gone)
        }
    };
    let told = later.unwrap_or(first);
    let reason = format!(
        "{server}: {} of {} recipients refused, {}; {}",
        refused.len(),
        refused.len() + reached,
        words(told),
        advice(told.code)
    );
    let http_status = if verdict == Verdict::Delivered { 250 } else { told.code };
    Outcome { verdict, http_status, reason, pause: None }
}

fn of_code(code: u16) -> Verdict {
    match code {
        530 | 534 | 535 | 538 => Verdict::Gone,
        500..=599 => Verdict::Failed,
        _ => Verdict::Retry,
    }
}

fn words(answer: &Answer) -> String {
    let enhanced = answer.enhanced.as_deref().map_or(String::new(), |enhanced| format!(" {enhanced}"));
    format!("answer {}{enhanced}", answer.code)
}

fn advice(code: u16) -> &'static str {
    match code {
        421 => "it closes the conversation and may take it later",
        450 | 451 => "it may take it later (greylisting?)",
        452 | 552 => "it has no room for it",
        530 => "it wants a login; set user and password",
        534 | 535 | 538 => "it refuses the login; check user and password",
        550 | 551 | 553 => "check sender and recipients",
        554 => "it refuses the mail or this sender",
        400..=499 => "it may take it later",
        _ => "it refuses it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::email::Tls;

    #[test]
    fn every_code_has_one_meaning() {
        for code in 400..600 {
            let want = match code {
                400..500 => Verdict::Retry,
                530 | 534 | 535 | 538 => Verdict::Gone,
                _ => Verdict::Failed,
            };
            assert_eq!(of_code(code), want, "{code}");
        }
    }

    #[test]
    fn recipients_are_judged_together() {
        let server = Server::new("mail", None, Tls::Implicit);
        let answer = |code| (code != 250).then_some(Answer { code, enhanced: None });
        let check = |reached, codes: &[u16], verdict, status| {
            let answers: Vec<_> = codes.iter().map(|code| answer(*code)).collect();
            let outcome = of_recipients(&server, reached, &answers);
            assert_eq!((outcome.verdict, outcome.http_status), (verdict, status), "{codes:?}: {}", outcome.reason);
            assert_eq!(outcome.reason.is_empty(), codes.iter().all(|code| *code == 250));
        };
        check(2, &[250, 250], Verdict::Delivered, 250);
        check(1, &[250, 550], Verdict::Delivered, 250);
        check(1, &[250, 451], Verdict::Retry, 451);
        check(0, &[550, 451], Verdict::Retry, 451);
        check(0, &[550, 553], Verdict::Failed, 550);
        check(0, &[535, 550], Verdict::Failed, 535);
        check(0, &[530, 530], Verdict::Gone, 530);
        // The others have it already.
        check(1, &[550], Verdict::Delivered, 250);
    }
}
