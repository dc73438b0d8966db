//! A12: planted secrets, everything at TRACE, every fault that a receiver can have: they are found nowhere.
//!
//! The test runs its own binary again with two of the secrets in the environment; that child sends through every kind of channel to receivers that
//! work, echo, redirect, reset, refuse or aren't there, and prints all that it can get hold of: Debug, errors, outcomes, previews,
//! history. The parent looks for the secrets in what the child printed and logged, in its panic, and in the outbox's files.
#![allow(clippy::unwrap_used)]

#[path = "channels/receiver.rs"]
mod receiver;
mod running;
mod smtp;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alerts::channels::email::{Email, EmailConfig, Limits as MailLimits, Login, Server, Tls};
use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Discord, HttpSender, Slack, Telegram, Webhook, from_url};
use alerts::notice::{Notice, NoticeKind, count, news_id};
use alerts::outbox::{Filter, Limits, history};
use alerts::{Guard, Secret, SecretText};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use receiver::{Request, answer, receiver};
use running::{everything, http, now_ms, secret, start, until, warning};
use tokio::net::TcpListener;

const DISCORD: &str = "canary-discord-Zb1kq";
const SLACK: &str = "canarySlackX9wPt";
const TELEGRAM: &str = "123456:canary-telegram-Hq7";
const PATH: &str = "canary-path-mw3Rz";
const QUERY: &str = "canary-query-Ty8Lc";
const SIGNING_FILE: &str = "Y2FuYXJ5LXNpZ25pbmctZmlsZS1rZXktMDAwMDE=";
const SIGNING_ENV: &str = "Y2FuYXJ5LXNpZ25pbmctZW52LWtleS0wMDAwMDI=";
const SIGNING_BAD: &str = "canary+signing+bad";
const PASSWORD: &str = "canary-smtp-password-Vn4";
const URL_FILE: &str = "canary-url-file-Jd6Ws";
const ALL: &str = "canary-webhooks-all-Ek2";
const USERINFO: &str = "canary-userinfo-Pq5";

/// What must not be found: the secrets, and what they look like on their way.
fn needles() -> Vec<(&'static str, String)> {
    let mut needles: Vec<(&str, String)> = [
        ("Discord's token", DISCORD),
        ("Slack's token", SLACK),
        ("Telegram's token", "canary-telegram-Hq7"),
        ("a webhook's path", PATH),
        ("a webhook's query", QUERY),
        ("the signing secret of a file", SIGNING_FILE),
        ("the signing secret of the environment", SIGNING_ENV),
        ("a signing secret that isn't one", SIGNING_BAD),
        ("the mail server's password", PASSWORD),
        ("a url in a file", URL_FILE),
        ("WEBHOOKS_ALL", ALL),
        ("a url's user", USERINFO),
    ]
    .map(|(what, text)| (what, text.to_owned()))
    .into();
    needles.push(("the password in base64", STANDARD.encode(PASSWORD)));
    needles.push(("the login in base64", STANDARD.encode(format!("\0desk\0{PASSWORD}"))));
    for (what, key) in [("a signing key's bytes", SIGNING_FILE), ("a signing key's bytes", SIGNING_ENV)] {
        needles.push((what, String::from_utf8(STANDARD.decode(key).unwrap()).unwrap()));
    }
    needles
}

/// Where and how a text holds a secret.
fn leaks(place: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let found = needles().into_iter().filter_map(|(what, needle)| {
        let at = text.find(&needle)?;
        let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        Some(format!("{what} in {place}: {}", text[line..end].chars().take(400).collect::<String>()))
    });
    found.collect()
}

fn news(n: u64) -> Notice {
    let alert = warning(n);
    Notice {
        id: news_id(&alert, false),
        channel: "c".into(),
        kind: NoticeKind::News,
        is_urgent: false,
        group: String::new(),
        counts: count([&alert]),
        alerts: vec![alert],
        remark: String::new(),
        decided_at: now_ms(),
    }
}

/// Every kind of channel over HTTP to one origin, each address with its secrets.
fn over_http(origin: &str, name: &str, http: &HttpSender, keys: &Path) -> Vec<Arc<dyn Channel>> {
    let name = |kind: &str| format!("{kind}-{name}");
    let signing = vec![Secret::from_file(&keys.join("signing")).unwrap(), Secret::from_env("CANARY_SIGNING").unwrap()];
    let file = keys.join("url");
    std::fs::write(&file, format!("{origin}/{URL_FILE}\n")).unwrap();
    let webhook =
        Webhook::new(&name("webhook"), &secret(&format!("{origin}/{PATH}?key={QUERY}")), signing, Format::Standard, http.clone())
            .unwrap();
    let discord =
        Discord::new(&name("discord"), &secret(&format!("{origin}/api/webhooks/1/{DISCORD}")), http.clone(), None).unwrap();
    let slack = Slack::new(&name("slack"), &secret(&format!("{origin}/services/T0/B0/{SLACK}")), http.clone(), None).unwrap();
    let telegram = Telegram::new(&name("telegram"), origin, &secret(TELEGRAM), "-100", http.clone(), None).unwrap();
    let of_file = SecretText::from_file(&file).unwrap();
    println!("{webhook:?}\n{discord:?}\n{slack:?}\n{telegram:#?}\n{of_file:?}");
    let of_file = Webhook::new(&name("of-file"), &of_file, Vec::new(), Format::CloudEvents, http.clone()).unwrap();
    println!("{of_file:?}");
    let all = SecretText::literal(&format!("{origin}/{ALL}")).unwrap();
    let all = from_url(&name("all"), &all, Vec::new(), http.clone()).unwrap();
    vec![Arc::new(webhook), Arc::new(discord), Arc::new(slack), Arc::new(telegram), Arc::new(of_file), Arc::from(all)]
}

/// What can't be set up says why, without what it was given.
fn refusals(http: &HttpSender, keys: &Path) {
    let strict = HttpSender::new(Guard::default(), Duration::from_secs(1)).unwrap();
    let urls = [
        format!("https://{USERINFO}:{USERINFO}@example.com/{PATH}"),
        format!("ftp://example.com/{PATH}"),
        format!("https://10.0.0.1/{PATH}?{QUERY}"),
        format!("https://exa mple.com/{PATH}"),
        format!("https://example.com:99999/{PATH}"),
        format!("//{PATH}"),
        PATH.to_owned(),
    ];
    for url in urls {
        let url = secret(&url);
        let signing = || Secret::parse(&format!("whsec_{SIGNING_FILE}")).unwrap();
        for error in [
            Webhook::new("w", &url, vec![signing()], Format::Standard, strict.clone()).err(),
            Discord::new("d", &url, strict.clone(), None).err(),
            Slack::new("s", &url, strict.clone(), None).err(),
            Telegram::from_url("t", &url, strict.clone(), None).err(),
            from_url("u", &url, Vec::new(), strict.clone()).err(),
        ] {
            let error = error.unwrap();
            println!("{error}\n{error:?}");
        }
    }
    for token in [format!("{TELEGRAM}/../x"), format!("{TELEGRAM} {TELEGRAM}")] {
        println!("{:?}", Telegram::new("t", "https://example.com", &secret(&token), "-1", http.clone(), None).unwrap_err());
        let url = secret(&format!("https://example.com/bot{token}/sendMessage"));
        println!("{:?}", Telegram::from_url("t", &url, http.clone(), None).unwrap_err());
    }
    std::fs::write(keys.join("bad"), SIGNING_BAD).unwrap();
    for error in [Secret::parse(SIGNING_BAD).unwrap_err(), Secret::from_file(&keys.join("bad")).unwrap_err()] {
        println!("{error}\n{error:?}");
    }
    let long = PASSWORD.repeat(1_000);
    std::fs::write(keys.join("long"), long).unwrap();
    println!("{:?}", SecretText::from_file(&keys.join("long")).unwrap_err());
}

/// What a receiver says back to those who ask for it: all that it was told.
fn echo(status: u16) -> impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static {
    move |request| {
        let path = request.head.split(' ').nth(1).unwrap();
        let location = format!("http://127.0.0.1:1{path}");
        answer(
            status,
            &[("location", &location), ("x-echo", path)],
            &format!("{}{}", request.head, String::from_utf8_lossy(&request.body)),
        )
    }
}

async fn origins() -> Vec<(&'static str, String)> {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let resets = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reset = resets.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = resets.accept().await {
            stream.set_zero_linger().unwrap();
        }
    });
    let (taker, _) = receiver(|_| answer(200, &[], "ok")).await;
    let garbage = receiver(|request| format!("{} is no http\r\n\r\n", request.head.lines().next().unwrap()).into_bytes()).await.0;
    let tls = taker.replace("http:", "https:");
    let mut origins = vec![
        ("takes", taker),
        ("closed", format!("http://{closed}")),
        ("resets", format!("http://{reset}")),
        ("no-http", garbage),
        ("no-tls", tls),
        ("nowhere", "http://nowhere.invalid".to_owned()),
    ];
    for (name, status) in
        [("echoes-302", 302), ("echoes-400", 400), ("echoes-401", 401), ("echoes-404", 404), ("echoes-410", 410)]
    {
        origins.push((name, receiver(echo(status)).await.0));
    }
    for (name, status) in [("echoes-429", 429), ("echoes-500", 500), ("echoes-200", 200)] {
        origins.push((name, receiver(echo(status)).await.0));
    }
    origins
}

/// Mail to servers that take it, refuse the login, echo it, hang up.
async fn mails() -> Vec<Arc<dyn Channel>> {
    let certificate = smtp::certificate("localhost");
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    let acts = [
        ("takes", None),
        ("refuses", Some(("AUTH", smtp::Act::Say("535 5.7.8 who are you\r\n")))),
        ("hangs-up", Some(("AUTH", smtp::Act::Close))),
    ];
    for (name, act) in acts {
        let script = smtp::Script { acts: act.into_iter().collect(), ..smtp::Script::new(&certificate) };
        let (address, _) = smtp::start(script).await;
        for (trust, roots) in [("trusted", vec![certificate.der.clone()]), ("stranger", Vec::new())] {
            let login = Login::new("desk".into(), PASSWORD.into());
            println!("{login:?}");
            let config = EmailConfig {
                server: Server::new("localhost", Some(address.port()), Tls::StartTls),
                login: Some(login),
                from: "regimeflow <alerts@example.com>".into(),
                to: vec!["desk@example.com".into()],
                may_go_clear: false,
                roots: roots.clone(),
                limits: MailLimits::default(),
            };
            println!("{config:?}");
            let email = Email::new(&format!("mail-{name}-{trust}"), config).unwrap();
            println!("{email:?}");
            channels.push(Arc::new(email));
        }
    }
    channels
}

/// The child. By itself it does nothing.
#[test]
fn child() {
    let Ok(keys) = std::env::var("CANARY_KEYS") else { return };
    let keys = Path::new(&keys);
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let http = http(Duration::from_millis(800));
        println!("{http:?}");
        refusals(&http, keys);
        let mut channels = mails().await;
        for (name, origin) in origins().await {
            channels.extend(over_http(&origin, name, &http, keys));
        }
        // The guard's answer to a name comes with the attempt.
        let strict = HttpSender::new(Guard::default(), Duration::from_millis(800)).unwrap();
        channels.extend(over_http("http://nowhere.invalid", "guarded", &strict, keys));
        let notice = news(0);
        let sent = channels.iter().map(|channel| async {
            let outcome = channel.send(&notice, now_ms()).await;
            println!("{}: {outcome:?}\n{}", channel.name(), channel.preview(&notice, now_ms()));
        });
        futures_util::future::join_all(sent).await;

        let path = keys.join("outbox.sqlite");
        let (desk, reported) = start(&path, everything(channels.clone()), Limits { schedule_ms: vec![50], ..Limits::default() });
        let desk = Arc::new(desk);
        for n in 0..3 {
            let desk = Arc::clone(&desk);
            assert!(tokio::task::spawn_blocking(move || desk.tell((n * 5..n * 5 + 5).map(warning).collect())).await.unwrap());
        }
        let tried = |reported: &running::Reported| {
            let attempts = reported.attempts.lock().unwrap();
            channels.iter().all(|channel| attempts.iter().any(|(_, attempt)| attempt.channel == channel.name()))
        };
        until(Duration::from_secs(15), "an attempt of every channel", || tried(&reported)).await;
        let desk = Arc::into_inner(desk).unwrap();
        tokio::task::spawn_blocking(move || desk.finish(Duration::from_millis(500))).await.unwrap();
        for (_, attempt) in reported.attempts.lock().unwrap().iter() {
            println!("{attempt:?}");
        }
        println!("{:?}", reported.problems());
        let mut told = String::new();
        for entry in history(&path, &Filter { limit: 10_000, ..Filter::default() }).unwrap() {
            writeln!(told, "{entry:?}").unwrap();
        }
        println!("{told}");
        let debugged =
            Webhook::new("w", &secret(&format!("http://127.0.0.1/{PATH}")), Vec::new(), Format::Standard, http).unwrap();
        panic!("the end: {debugged:?}");
    });
}

#[test]
fn twelve_planted_secrets_are_found_nowhere() {
    for (what, needle) in needles() {
        let found = leaks("a text", format!("x\nsaid: {needle}\n").as_bytes());
        assert!(found.contains(&format!("{what} in a text: said: {needle}")), "{found:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("signing"), format!("whsec_{SIGNING_FILE}\n")).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("CANARY_KEYS", dir.path())
        .env("CANARY_SIGNING", format!("whsec_{SIGNING_ENV}"))
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    // It came to its end, everything was at TRACE, and what dependencies say was heard.
    assert!(err.contains("the end: Webhook"), "{out}\n{err}");
    assert!(out.contains("TRACE") && out.contains("DEBUG"), "nothing was logged");
    for said in ["starting new connection", "echoes-400", "nowhere.invalid", "answer 302", "mail-refuses-trusted", "<secret>"] {
        assert!(out.contains(said), "{said} is not in what was printed:\n{}", &out[..out.len().min(20_000)]);
    }

    let mut found = [leaks("what was printed and logged", &child.stdout), leaks("stderr", &child.stderr)].concat();
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("outbox.sqlite") {
            files += 1;
            found.extend(leaks(&name, &std::fs::read(entry.path()).unwrap()));
        }
    }
    println!("{} KiB of output, {files} files of the outbox, {} forms of 12 secrets", out.len() / 1_024, needles().len());
    assert!(files > 0 && out.len() > 50_000, "{files} files, {} bytes", out.len());
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}
