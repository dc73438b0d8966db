//! A12, the whole program: planted secrets, everything logged that can be, receivers that refuse, echo and aren't there; they are found in nothing
//! that the program prints, logs or stores.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use program::{Program, kill, text};
use regimeflow::config::Config;
use regimeflow::store::install;

/// What must not be found.
const SECRETS: [(&str, &str); 13] = [
    ("Discord's token", "canary-discord-Zb1kq"),
    ("Slack's token", "canarySlackX9wPt"),
    ("Telegram's token", "canary-telegram-Hq7"),
    ("a webhook's path", "canary-path-mw3Rz"),
    ("a webhook's query", "canary-query-Ty8Lc"),
    ("the signing secret of a file", "Y2FuYXJ5LXNpZ25pbmctZmlsZS1rZXktMDAwMDE="),
    ("the signing secret of the environment", "Y2FuYXJ5LXNpZ25pbmctZW52LWtleS0wMDAwMDI="),
    ("the mail server's password", "canary-smtp-password-Vn4"),
    ("a url in a file", "canary-url-file-Jd6Ws"),
    ("a url in the environment", "canary-url-env-Lf3"),
    ("WEBHOOKS_ALL", "canary-webhooks-all-Ek2"),
    ("the store's password", "canary-store-password-Ao8"),
    ("a feed's query", "canary-feed-query-Sw9"),
];

const MARKET: &str = "--seed 9 --symbols 2 --hours 1 --bursts-per-day 96";

fn secret(what: &str) -> &'static str {
    SECRETS.iter().find(|(name, _)| *name == what).unwrap().1
}

/// Where a text holds a secret.
fn leaks(place: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let of = |&(what, needle): &(&str, &str)| {
        let at = text.find(needle)?;
        let (before, after) = (text[..at].chars().rev().take(120).collect::<Vec<_>>(), &text[at..]);
        Some(format!("{what} in {place}: …{}{:.40}…", before.into_iter().rev().collect::<String>(), after))
    };
    SECRETS.iter().filter_map(of).collect()
}

/// A receiver that answers with a status and all that it was told. Its address, and how many asked.
fn echo(status: u16) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counts = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counts.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || answer(stream, status));
        }
    });
    (format!("127.0.0.1:{}", address.port()), count)
}

fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    let (mut heard, mut piece) = (Vec::new(), [0; 4_096]);
    let length = loop {
        let n = stream.read(&mut piece)?;
        heard.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            break head.len() + 4 + length.unwrap_or(0);
        }
        if n == 0 {
            return Ok(()); // no HTTP: a TLS hello
        }
    };
    while heard.len() < length {
        let n = stream.read(&mut piece)?;
        if n == 0 {
            break;
        }
        heard.extend_from_slice(&piece[..n]);
    }
    let path = String::from_utf8_lossy(&heard).split(' ').nth(1).unwrap_or("/").to_owned();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nlocation: http://127.0.0.1:1{path}\r\nx-echo: {path}\r\nconnection: close\r\n\r\n",
        heard.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&heard)
}

/// A configuration with every secret that one can hold or name, whose channels lead to these origins.
fn config(dir: &Path, origins: &[String], mail: bool) -> String {
    let file = |name: &str, content: &str| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let signing = file("signing", &format!("whsec_{}\n", secret("the signing secret of a file")));
    let token = file("token", &format!("123456:{}\n", secret("Telegram's token")));
    let password = file("password", secret("the mail server's password"));
    let store = file("store-password", secret("the store's password"));
    let mut text = format!(
        "[store]\nuser = \"u\"\npassword_file = {store:?}\n\n[feeds.binance_usdm]\nsymbols = [\"BTCUSDT\"]\nws_url = \"ws://127.0.0.1:1/?key={0}\"\n\
         rest_url = \"http://127.0.0.1:1/?key={0}\"\n\n",
        secret("a feed's query")
    );
    for (n, origin) in origins.iter().enumerate() {
        let (path, query) = (secret("a webhook's path"), secret("a webhook's query"));
        text += &format!(
            "[[webhooks]]\nname = \"hook{n}\"\nurl = \"{origin}/{path}?key={query}\"\nsecret_file = {signing:?}\nsecret_env = \"CANARY_SIGNING\"\n\n"
        );
    }
    text += "[alerts]\nallow_addresses = [\"127.0.0.0/8\", \"::1/128\"]\n\n";
    for (n, origin) in origins.iter().enumerate() {
        let url = file(&format!("url{n}"), &format!("{origin}/{}\n", secret("a url in a file")));
        let (discord, slack) = (secret("Discord's token"), secret("Slack's token"));
        text += &format!(
            "[[alerts.channels]]\nname = \"discord{n}\"\nkind = \"discord\"\nurl = \"{origin}/api/webhooks/1/{discord}\"\n\
             [[alerts.channels]]\nname = \"slack{n}\"\nkind = \"slack\"\nurl = \"{origin}/services/T0/B0/{slack}\"\n\
             [[alerts.channels]]\nname = \"telegram{n}\"\nkind = \"telegram\"\ntoken_file = {token:?}\nchat_id = \"-100\"\napi_url = \"{origin}\"\n\
             [[alerts.channels]]\nname = \"file{n}\"\nkind = \"webhook\"\nurl_file = {url:?}\n\
             [[alerts.channels]]\nname = \"env{n}\"\nkind = \"webhook\"\nurl_env = \"CANARY_URL\"\n\n"
        );
    }
    if mail {
        text += &format!(
            "[[alerts.channels]]\nname = \"mail\"\nkind = \"email\"\nserver = \"localhost:1\"\nuser = \"desk\"\npassword_file = {password:?}\n\
             from = \"regimeflow <a@example.com>\"\nto = [\"desk@example.com\"]\n\n"
        );
    }
    text
}

fn regimeflow(dir: &Path, origin: &str, args: &[&str]) -> Command {
    let mut command = program::built::regimeflow(args);
    command
        .env("TMPDIR", dir)
        .env("REGIMEFLOW_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("CANARY_SIGNING", format!("whsec_{}", secret("the signing secret of the environment")))
        .env("CANARY_URL", format!("{origin}/{}", secret("a url in the environment")))
        .env("WEBHOOKS_ALL", format!("{origin}/{}", secret("WEBHOOKS_ALL")))
        .env("WEBHOOKS_ALLOW_ADDRESSES", "127.0.0.0/8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a command said, and whether it held a secret.
fn said(what: &str, output: &Output, found: &mut Vec<String>) -> String {
    found.extend(leaks(&format!("stdout of {what}"), &output.stdout));
    found.extend(leaks(&format!("stderr of {what}"), &output.stderr));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn planted_secrets_are_in_nothing_that_the_program_says_or_stores() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let frames = Program::built().market(dir, MARKET).unwrap();
    let mut found = Vec::new();

    // Receivers that refuse for good: the run comes to its end, and what became of each is in the store.
    let (refuses, asked) = echo(400);
    let (redirects, _) = echo(302);
    let origins = [refuses.clone(), redirects].map(|address| format!("http://{address}"));
    let file = dir.join("config.toml");
    std::fs::write(&file, config(dir, &origins, false)).unwrap();
    let has_engine = install::library().is_ok();
    let store = if has_engine { dir.join("store") } else { "none".into() };
    let args = ["-vv", "replay", text(&frames), "--config", text(&file), "--store", text(&store)];
    let replay = regimeflow(dir, &origins[0], &args).output().unwrap();
    let told = said("replay", &replay, &mut found);
    assert!(replay.status.success(), "{}", &told[told.len().saturating_sub(3_000)..]);
    assert!(asked.load(Ordering::SeqCst) > 5, "nobody was told anything");
    assert!(told.contains("a notice was not delivered") && told.contains("TRACE") && told.contains("DEBUG"), "it wasn't logged");
    for (n, answer) in [(0, "answer 400"), (1, "answer 302")] {
        assert!(told.contains(&format!("post to {}/…: {answer}", origins[n])), "{answer}");
    }
    if has_engine {
        let sql = "SELECT * FROM deliveries FORMAT JSONEachRow";
        let rows = regimeflow(dir, &origins[0], &["query", "--store", text(&store), sql]).output().unwrap();
        let rows = said("the store's deliveries", &rows, &mut found);
        assert!(rows.contains("answer 400") && rows.contains("webhooks_all"), "{rows:.2000}");
    }

    // What is shown of the configuration, and of one that is wrong.
    let shown = regimeflow(dir, &origins[0], &["config", "show", text(&file)]).output().unwrap();
    assert!(said("config show", &shown, &mut found).contains("hook0"));
    found.extend(leaks("Debug of the configuration", format!("{:?}", Config::load(&file).unwrap()).as_bytes()));
    let bad = dir.join("bad.toml");
    let wrong = config(dir, &origins, true).replace("http://127.0.0.1", "ftp://127.0.0.1").replace("ws://", "gopher://");
    std::fs::write(&bad, wrong.replace("kind = \"slack\"", "kind = \"slock\"")).unwrap();
    let checked = regimeflow(dir, &origins[0], &["config", "check", text(&bad)]).output().unwrap();
    assert!(!checked.status.success());
    assert!(said("config check", &checked, &mut found).contains("slock"));
    std::fs::write(&bad, &wrong).unwrap();
    let checked = regimeflow(dir, &origins[0], &["config", "check", text(&bad)]).output().unwrap();
    assert!(!checked.status.success());
    assert!(said("config check of addresses", &checked, &mut found).contains("ftp"));
    std::fs::write(&bad, config(dir, &origins, true).replace("url = \"http", "url = \"\"http")).unwrap();
    let checked = regimeflow(dir, &origins[0], &["config", "check", text(&bad)]).output().unwrap();
    assert!(!checked.status.success());
    said("config check of what is no TOML", &checked, &mut found);

    // A server that isn't there, with a user and a password.
    let away = regimeflow(dir, &origins[0], &["replay", text(&frames), "--config", text(&file), "--store", "http://127.0.0.1:1"]);
    let away = { away }.output().unwrap();
    assert!(!away.status.success());
    said("replay into a server that isn't there", &away, &mut found);

    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

/// Receivers that may take it later: the notices stay in the outbox, which the program is killed beside.
#[test]
fn planted_secrets_are_not_in_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let frames = Program::built().market(dir, MARKET).unwrap();
    let (fails, asked) = echo(500);
    let origins = [
        format!("http://{fails}"),
        format!("https://{fails}"),
        "http://127.0.0.1:1".to_owned(),
        "http://nowhere.invalid".to_owned(),
    ];
    let file = dir.join("config.toml");
    std::fs::write(&file, config(dir, &origins, true)).unwrap();
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    let mut replay = regimeflow(dir, &origins[0], &["-vv", "replay", text(&frames), "--config", text(&file), "--store", "none"])
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let logged = |part: &str| std::fs::read_to_string(&err).is_ok_and(|text| text.contains(part));
    let channels =
        ["channel=\"mail\"", "channel=\"hook3\"", "channel=\"discord1\"", "channel=\"webhooks_all\"", "channel=\"telegram2\""];
    while asked.load(Ordering::SeqCst) < 5 || !channels.iter().all(|channel| logged(channel)) {
        assert!(Instant::now() < end, "{}", std::fs::read_to_string(&err).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let is_outbox = |name: &str| name.starts_with("regimeflow-outbox");
    let mut found = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_outbox(&name) {
            files += 1;
            found.extend(leaks(&name, &std::fs::read(entry.path()).unwrap()));
        }
    }
    kill(&mut replay);
    for path in [&out, &err] {
        found.extend(leaks(text(path), &std::fs::read(path).unwrap()));
    }
    assert!(files > 0, "there is no outbox in {}", dir.display());
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}
