//! E-mail to a real server on loopback, good and bad: what arrives, what each fault means, and that no password leaves TLS.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use alerts::channels::email::{Email, EmailConfig, EmailError, Limits, Login, Server, Tls};
use alerts::channels::{Channel, Outcome, Verdict};
use alerts::notice::{Notice, NoticeKind, news_id};
use alerts::{Alert, Chart, Event};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

mod samples;
mod smtp;
use samples::{DECIDED, T0, alert, cascade, notice};
use smtp::{Act, Certificate, Script, certificate, start};

const PASSWORD: &str = "canary-hunter2";
const LIMITS: Limits =
    Limits { total: Duration::from_millis(700), connect: Duration::from_millis(300), quit: Duration::from_millis(100) };

fn config(port: u16, tls: Tls, trusted: &Certificate) -> EmailConfig {
    EmailConfig {
        server: Server::new("localhost", Some(port), tls),
        login: (tls != Tls::None).then(|| Login::new("desk".into(), PASSWORD.into())),
        from: "regimeflow <alerts@example.com>".into(),
        to: vec!["Désk <desk@example.com>".into(), "risk@example.org".into()],
        may_go_clear: false,
        roots: vec![trusted.der.clone()],
        limits: LIMITS,
    }
}

fn news(event: Event) -> Notice {
    let alert = alert(event);
    notice(NoticeKind::News, news_id(&alert, false), vec![alert])
}

fn charted() -> Notice {
    let chart = Chart::Line { ts: vec![T0, T0 + 60_000], name: "x".into(), values: vec![1.0, 2.0], threshold: None };
    let mut notice = news(Event::cascade(cascade()));
    notice.alerts = notice.alerts.into_iter().map(|alert| Alert { chart: Some(chart.clone()), ..alert }).collect();
    notice
}

/// Sends one notice; within the limit, and without telling the password.
async fn send(email: &Email, notice: &Notice) -> Outcome {
    let start = Instant::now();
    let outcome = email.send(notice, DECIDED).await;
    let took = start.elapsed();
    assert!(took < LIMITS.total + Duration::from_millis(250), "{took:?}: {outcome:?}");
    let told = format!("{outcome:?} {email:?} {}", email.preview(notice, DECIDED));
    for secret in [PASSWORD, &STANDARD.encode(PASSWORD), &STANDARD.encode(format!("\0desk\0{PASSWORD}"))] {
        assert!(!told.contains(secret), "{told}");
    }
    outcome
}

/// The value of a header, unfolded.
fn header<'a>(mail: &'a str, name: &str) -> Option<String> {
    let head: &'a str = mail.split("\r\n\r\n").next().unwrap();
    let unfolded = head.replace("\r\n ", " ");
    unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
}

/// Each part: its content type and its content, decoded.
fn parts(mail: &str) -> Vec<(String, Vec<u8>)> {
    let boundary = mail.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut found = Vec::new();
    for part in mail.split(&format!("--{boundary}")).skip(1).filter(|part| !part.starts_with("--")) {
        let part = part.trim_start();
        let kind = header(part, "Content-Type").unwrap();
        if kind.starts_with("multipart/") {
            found.push((kind, Vec::new()));
            found.extend(parts(part));
            continue;
        }
        let body = part.split_once("\r\n\r\n").unwrap().1;
        let decoded = match header(part, "Content-Transfer-Encoding").as_deref() {
            Some("base64") => STANDARD.decode(body.replace("\r\n", "")).unwrap(),
            Some("quoted-printable") => unquoted(body),
            _ => body.as_bytes().to_vec(),
        };
        found.push((kind, decoded));
    }
    found
}

fn unquoted(text: &str) -> Vec<u8> {
    let text = text.replace("=\r\n", "");
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

#[tokio::test]
async fn a_notice_arrives_by_every_way() {
    let own = certificate("localhost");
    for (tls, is_implicit) in [(Tls::StartTls, false), (Tls::Implicit, true), (Tls::None, false)] {
        let (address, record) = start(Script { is_implicit, ..Script::new(&own) }).await;
        let email = Email::new("desk", config(address.port(), tls, &own)).unwrap();
        let outcome = send(&email, &charted()).await;
        assert_eq!((outcome.verdict, outcome.http_status, outcome.reason.as_str()), (Verdict::Delivered, 250, ""), "{tls:?}");
        let heard = record.lock().unwrap();
        let auth: Vec<&(bool, String)> = heard.lines.iter().filter(|(_, line)| line.starts_with("AUTH")).collect();
        match tls {
            Tls::None => assert!(auth.is_empty()),
            _ => assert_eq!(auth, [&(true, format!("AUTH PLAIN {}", STANDARD.encode(format!("\0desk\0{PASSWORD}"))))]),
        }
        let (recipients, _) = &heard.mails[0];
        assert_eq!(recipients, &["RCPT TO:<desk@example.com>", "RCPT TO:<risk@example.org>"]);
    }
}

/// What a person reads: `UPDATE=1` rewrites it.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/email").join(name);
    let text = text.replace("\r\n", "\n");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name} differs; UPDATE=1 rewrites it");
}

#[tokio::test]
async fn a_mail_holds_text_html_and_chart() {
    let own = certificate("localhost");
    let (address, record) = start(Script::new(&own)).await;
    let email = Email::new("desk", config(address.port(), Tls::StartTls, &own)).unwrap();
    let resolved = news(Event::cascade(alerts::CascadeFacts { ended_at_ms: Some(T0 + 900_000), ..cascade() }));
    for notice in [&charted(), &charted(), &resolved] {
        assert_eq!(send(&email, notice).await.verdict, Verdict::Delivered);
    }
    let heard = record.lock().unwrap();
    let mail = &heard.mails[0].1;
    assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 998));
    let of = |name| header(mail, name).unwrap_or_default();
    let id = "<evt_647a315f7be3d13ced17a6d775ec75d8_firing@example.com>";
    assert_eq!(of("Message-ID"), id);
    assert_eq!(of("Date"), "Thu, 08 Aug 2024 02:01:00 +0000");
    assert_eq!(of("Auto-Submitted"), "auto-generated");
    assert_eq!(of("X-Regimeflow-Notice"), "evt_647a315f7be3d13ced17a6d775ec75d8_firing");
    assert_eq!(of("Importance"), "high");
    assert!(
        of("Subject").starts_with("CRITICAL BTC-USDT-PERP: long liquidation cascade, $1.50M, =?utf-8?b?"),
        "{}",
        of("Subject")
    );
    assert_eq!(of("From"), "regimeflow <alerts@example.com>");
    let parts = parts(mail);
    let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.split(';').next().unwrap()).collect();
    assert_eq!(kinds, ["text/plain", "multipart/related", "text/html", "image/png"]);
    let text = |index: usize| String::from_utf8(parts[index].1.clone()).unwrap();
    golden("liquidation_cascade.txt", &text(0));
    golden("liquidation_cascade.html", &text(2));
    assert!(text(2).contains("<td>$375k/h over 4h</td>") && text(2).contains("src=\"cid:chart.evt_647a"), "{}", text(2));
    assert!(mail.contains("Content-ID: <chart.evt_647a315f7be3d13ced17a6d775ec75d8_firing@example.com>"));
    assert!(parts[3].1.starts_with(b"\x89PNG"));

    assert_eq!(mail, &heard.mails[1].1, "a retry is the same mail");
    let over = &heard.mails[2].1;
    assert_eq!((header(over, "In-Reply-To"), header(over, "Importance")), (Some(id.to_owned()), None));
    assert!(header(over, "Subject").unwrap().starts_with("RESOLVED"));
    assert_eq!(heard.connections, 3);
}

/// A fault, and what must come of it.
struct Row {
    name: &'static str,
    script: fn(&mut Script),
    want: (Verdict, u16, &'static str),
    mails: usize,
}

async fn check_fault(row: &Row, is_implicit: bool, own: &Arc<Certificate>) {
    let Row { name, script: misbehave, want: (verdict, status, reason), mails } = row;
    let mut script = Script { is_implicit, ..Script::new(own) };
    misbehave(&mut script);
    let (address, record) = start(script).await;
    let tls = if is_implicit { Tls::Implicit } else { Tls::StartTls };
    let email = Email::new("desk", config(address.port(), tls, own)).unwrap();
    let outcome = send(&email, &news(Event::cascade(cascade()))).await;
    assert_eq!((&outcome.verdict, outcome.http_status), (verdict, *status), "{name}: {}", outcome.reason);
    assert!(outcome.reason.contains(reason) && !outcome.reason.contains("canary"), "{name}: {}", outcome.reason);
    assert_eq!(outcome.pause.is_some(), *status == 421, "{name}");
    let heard = record.lock().unwrap();
    assert_eq!(heard.mails.len(), *mails, "{name}");
    let in_clear: Vec<&String> = heard.lines.iter().filter(|(is_tls, _)| !is_tls).map(|(_, line)| line).collect();
    let is_harmless = |line: &&String| line.starts_with("EHLO") || *line == "STARTTLS" || *line == "QUIT";
    assert!(in_clear.iter().all(is_harmless), "{name}: in the clear: {in_clear:?}");
}

#[tokio::test]
async fn every_fault_has_its_verdict_in_time() {
    use Act::*;
    use Verdict::*;
    let (own, foreign, other_name) = (certificate("localhost"), certificate("localhost"), certificate("mail.example.com"));
    let row = |name, script, want, mails| Row { name, script, want, mails };
    let rows = [
        row("starttls stripped", |s| s.offers_starttls = false, (Retry, 0, "does not offer STARTTLS"), 0),
        row("starttls unknown", |s| s.acts = vec![("STARTTLS", Say("502 5.5.1 what?"))], (Retry, 502, "502 5.5.1"), 0),
        row("starttls refused", |s| s.acts = vec![("STARTTLS", Say("454 4.7.0 not now"))], (Retry, 454, "454 4.7.0"), 0),
        row(
            "injected before TLS",
            |s| s.acts = vec![("STARTTLS", Say("220 go ahead\r\n250-test\r\n250 AUTH PLAIN"))],
            (Retry, 0, "begin TLS"),
            0,
        ),
        row("no login offered", |s| s.offers_auth = false, (Failed, 0, "neither PLAIN nor LOGIN"), 0),
        row("bad login", |s| s.acts = vec![("AUTH", Say("535 5.7.8 no"))], (Gone, 535, "535 5.7.8; it refuses the login"), 0),
        row("login for now", |s| s.acts = vec![("AUTH", Say("454 4.7.0 later"))], (Retry, 454, "log in"), 0),
        row("no service", |s| s.acts = vec![("GREETING", Say("554 go away"))], (Retry, 554, "greet: answer 554;"), 0),
        row("too many", |s| s.acts = vec![("GREETING", Say("421 4.3.2 busy"))], (Retry, 421, "421 4.3.2"), 0),
        row("closing", |s| s.acts = vec![("RCPT", Say("421 4.3.2 bye"))], (Retry, 421, "name the recipients"), 0),
        row(
            "greylisted",
            |s| s.acts = vec![("RCPT", Say("451 4.7.1 come back"))],
            (Retry, 451, "2 of 2 recipients refused, answer 451 4.7.1"),
            0,
        ),
        row(
            "no such user",
            |s| s.acts = vec![("RCPT", Say("550 5.1.1 canary"))],
            (Failed, 550, "answer 550 5.1.1; check sender"),
            0,
        ),
        row("no such name", |s| s.acts = vec![("RCPT", Say("553 canary"))], (Failed, 553, "answer 553;"), 0),
        row("wants a login", |s| s.acts = vec![("MAIL", Say("530 5.7.0 who?"))], (Gone, 530, "wants a login"), 0),
        row("refused sender", |s| s.acts = vec![("MAIL", Say("550 5.7.1 no"))], (Failed, 550, "name the sender"), 0),
        row("no room", |s| s.acts = vec![("DATA", Say("452 4.3.1 full"))], (Retry, 452, "no room"), 0),
        row("refused mail", |s| s.acts = vec![("BODY", Say("554 5.7.1 spam"))], (Failed, 554, "hand in the mail: answer 554"), 0),
        row("silent greeting", |s| s.acts = vec![("GREETING", Silence)], (Retry, 0, "greet: no end within"), 0),
        row("dripping greeting", |s| s.acts = vec![("GREETING", Drip)], (Retry, 0, "greet: no end within"), 0),
        row("flooding greeting", |s| s.acts = vec![("GREETING", Flood)], (Retry, 0, "too much"), 0),
        row("no SMTP", |s| s.acts = vec![("GREETING", Say("HTTP/1.1 400 Bad Request"))], (Retry, 0, "no SMTP"), 0),
        row("silent login", |s| s.acts = vec![("AUTH", Silence)], (Retry, 0, "log in: no end within"), 0),
        row("slow data", |s| s.acts = vec![("DATA", Drip)], (Retry, 0, "hand in the mail: no end within"), 0),
        row("slow end of data", |s| s.acts = vec![("BODY", Drip)], (Retry, 0, "hand in the mail: no end within"), 0),
        row("flood inside TLS", |s| s.acts = vec![("BODY", Flood)], (Retry, 0, "too much"), 0),
        row("cut off", |s| s.acts = vec![("MAIL", Close)], (Retry, 0, "name the sender"), 0),
        row("silent goodbye", |s| s.acts = vec![("QUIT", Silence)], (Delivered, 250, ""), 1),
        row("no goodbye", |s| s.acts = vec![("QUIT", Close)], (Delivered, 250, ""), 1),
    ];
    // All at once: most of them only wait for a limit.
    let checks = rows.iter().flat_map(|row| [false, true].map(|is_implicit| (row, is_implicit)));
    let checks =
        checks.filter(|(row, is_implicit)| !is_implicit || !(row.name.contains("starttls") || row.name.contains("before TLS")));
    futures_util::future::join_all(checks.map(|(row, is_implicit)| check_fault(row, is_implicit, &own))).await;
    for (name, served, reason) in
        [("unknown issuer", &foreign, "issuer is not known"), ("other name", &other_name, "for another name")]
    {
        for (tls, is_implicit) in [(Tls::StartTls, false), (Tls::Implicit, true)] {
            let (address, record) = start(Script { is_implicit, ..Script::new(served) }).await;
            let roots = if Arc::ptr_eq(served, &foreign) { vec![] } else { vec![served.der.clone()] };
            let email = Email::new("desk", EmailConfig { roots, ..config(address.port(), tls, served) }).unwrap();
            let outcome = send(&email, &news(Event::cascade(cascade()))).await;
            assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry, 0), "{name}: {}", outcome.reason);
            assert!(outcome.reason.contains(reason), "{name}: {}", outcome.reason);
            assert!(!record.lock().unwrap().lines.iter().any(|(_, line)| line.starts_with("AUTH")), "{name}");
        }
    }
}

#[tokio::test]
async fn who_is_not_there_costs_no_more_than_the_limit() {
    let own = certificate("localhost");
    let check = async |port: u16, reason: &str| {
        let email = Email::new("desk", config(port, Tls::StartTls, &own)).unwrap();
        let outcome = send(&email, &news(Event::cascade(cascade()))).await;
        assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry, 0));
        assert!(outcome.reason.contains(reason), "{}", outcome.reason);
    };
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(nobody.port(), "connection refused").await;

    // A black hole: a listener whose queue is full answers no further connection.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(tokio::net::TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    check(address.port(), "connect: no end within 0.3 s").await;
    waiting.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn one_bad_recipient_does_not_keep_it_from_the_others() {
    let own = certificate("localhost");
    let notice = news(Event::cascade(cascade()));
    let check = async |answer: &'static str, verdicts: [Verdict; 2], asked: &[&str]| {
        let acts = vec![("RCPT TO:<desk@example.com>", Act::Say(answer))];
        let (address, record) = start(Script { acts, ..Script::new(&own) }).await;
        let email = Email::new("desk", config(address.port(), Tls::StartTls, &own)).unwrap();
        let first = send(&email, &notice).await;
        assert_eq!(first.verdict, verdicts[0], "{first:?}");
        assert!(first.reason.contains("1 of 2 recipients refused"), "{}", first.reason);
        if first.verdict == Verdict::Retry {
            assert_eq!(send(&email, &notice).await.verdict, verdicts[1]);
        }
        let heard = record.lock().unwrap();
        let mails: Vec<&[String]> = heard.mails.iter().map(|(to, _)| to.as_slice()).collect();
        assert_eq!(mails, [["RCPT TO:<risk@example.org>"]], "who has it is not sent it again");
        let rcpt: Vec<&str> = heard.lines.iter().map(|(_, line)| line.as_str()).filter(|line| line.starts_with("RCPT")).collect();
        assert_eq!(rcpt, asked);
    };
    let (desk, risk) = ("RCPT TO:<desk@example.com>", "RCPT TO:<risk@example.org>");
    check("550 5.1.1 unknown", [Verdict::Delivered, Verdict::Delivered], &[desk, risk]).await;
    check("451 4.7.1 greylisted", [Verdict::Retry, Verdict::Retry], &[desk, risk, desk]).await;
}

#[test]
fn what_would_go_out_in_the_clear_is_refused() {
    let own = certificate("localhost");
    let of = |host: &str, tls, login: bool, may_go_clear| {
        let login = login.then(|| Login::new("desk".into(), PASSWORD.into()));
        Email::new("desk", EmailConfig { server: Server::new(host, None, tls), login, may_go_clear, ..config(1, tls, &own) })
            .map(drop)
    };
    assert_eq!(of("localhost", Tls::None, true, true), Err(EmailError::ClearLogin { name: "desk".into() }));
    assert!(matches!(of("mail.example.com", Tls::None, false, false), Err(EmailError::Clear { .. })));
    assert_eq!(of("mail.example.com", Tls::None, false, true), Ok(()));
    assert_eq!(of("127.0.0.1", Tls::None, false, false), Ok(()));
    assert_eq!(of("mail.example.com", Tls::StartTls, true, false), Ok(()));
    assert!(matches!(of("a b", Tls::Implicit, true, false), Err(EmailError::Host { .. })));
    let to = |to: Vec<String>| Email::new("desk", EmailConfig { to, ..config(1, Tls::None, &own) }).map(drop);
    assert!(matches!(to(vec![]), Err(EmailError::Recipients { count: 0, .. })));
    assert!(matches!(to(vec!["a@example.com\r\nBcc: b@example.com".into()]), Err(EmailError::Address { .. })));
    assert!(!format!("{:?}", config(1, Tls::StartTls, &own)).contains(PASSWORD));
}

#[test]
fn a_preview_shows_the_headers_and_the_text() {
    let own = certificate("localhost");
    let email = Email::new("desk", config(587, Tls::StartTls, &own)).unwrap();
    let preview = email.preview(&charted(), DECIDED);
    for part in [
        "to smtp localhost:587 (starttls), with login\n",
        "\nTo: ",
        "\nMessage-ID: <evt_647a315f7be3d13ced17a6d775ec75d8_firing@example.com>\n",
        "  Price move: -1.84 % (-184 bps) from the onset to its extreme\n",
        "[with a chart]",
    ] {
        assert!(preview.contains(part), "{part:?} is not in {preview}");
    }
}

proptest! {
    #[test]
    fn hostile_text_injects_no_header(
        text in "(\\PC|[\r\n\t\u{0}\u{202e}\u{200b}<>&\"'=?.@:])*(\r\nBcc: x@example.com\r\n\r\n<script>\r\n.\r\n)?\\PC*", times in 0usize..3,
    ) {
        let own = certificate_once();
        let email = Email::new("desk", config(587, Tls::StartTls, own)).unwrap();
        // From a line to far more than any mail should hold.
        let text = text.repeat([1, 50, 20_000][times].min(1_000_000 / text.len().max(1)).max(1));
        let mut event = Event::cascade(cascade());
        (event.symbol, event.venue, event.title) = (text.clone(), text.clone(), text.clone());
        event.data.insert("side_bias".into(), text.clone().into());
        event.data.insert("window".into(), text.clone().into());
        let mut alert = alert(event);
        alert.rules.push(text.clone());
        let mut notice = notice(NoticeKind::News, text.clone(), vec![alert]);
        notice.remark = text.clone();
        let preview = email.preview(&notice, DECIDED);
        let head = preview.split("\n\n").nth(1).unwrap();
        let names: Vec<&str> = head.lines().filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap()).collect();
        let usual = ["From", "Subject", "Message-ID", "Date", "Auto-Submitted", "X-Regimeflow-Notice", "To", "In-Reply-To", "References",
            "Importance", "MIME-Version", "Content-Type"];
        prop_assert!(names.iter().all(|name| usual.contains(name)), "{names:?}");
        prop_assert!(head.is_ascii() && head.lines().all(|line| line.len() <= 998));
        prop_assert!(preview.len() < 200_000, "{}", preview.len());
    }
}

fn certificate_once() -> &'static Certificate {
    static OWN: std::sync::OnceLock<Arc<Certificate>> = std::sync::OnceLock::new();
    OWN.get_or_init(|| certificate("localhost"))
}

#[tokio::test]
async fn hostile_text_arrives_as_text() {
    let own = certificate("localhost");
    let (address, record) = start(Script::new(&own)).await;
    let email = Email::new("desk", config(address.port(), Tls::StartTls, &own)).unwrap();
    let texts = [
        "\r\n.\r\nMAIL FROM:<x@example.com>\r\n",
        "x\r\nBcc: x@example.com",
        "<script>alert(1)</script>",
        "=?utf-8?q?x?=",
        "\u{202e}drowssap",
        &"é".repeat(500_000),
        ".",
        "..",
        "\n.\n",
        "\r",
        "a\rb",
    ];
    for text in texts {
        let mut event = Event::cascade(cascade());
        (event.symbol, event.venue) = (text.to_owned(), text.to_owned());
        let mut notice = news(event);
        notice.remark = text.to_owned();
        assert_eq!(send(&email, &notice).await.verdict, Verdict::Delivered, "{text:.40?}");
    }
    let heard = record.lock().unwrap();
    assert_eq!(heard.mails.len(), texts.len(), "one mail each");
    assert!(heard.lines.iter().all(|(_, line)| !line.contains("x@example.com")));
    for (_, mail) in &heard.mails {
        assert!(mail.is_ascii() && header(mail, "Bcc").is_none() && mail.lines().all(|line| line.len() <= 998));
        let parts = parts(mail);
        assert_eq!(parts.len(), 2, "{mail:.2000}");
        let html = String::from_utf8(parts[1].1.clone()).unwrap();
        assert!(!html.contains("<script") && !html.contains('\u{202e}'));
    }
}
