//! A11: every way into the own network, and the ways that are meant.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::io;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::Guard;
use alerts::channels::webhook::Format;
use alerts::channels::{Channel as _, HttpSender, Verdict, Webhook};
use alerts::guard::{Answers, Lookup};
use reqwest::Url;
use tokio::net::TcpListener;

use crate::receiver::{answer, receiver, serve};
use crate::{NOW_MS, channel, http, news, secret, tls};

/// Hosts that must be refused by name or number alone, in every spelling that a URL can have.
const BLOCKED_HOSTS: &str = "
    127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 0177.0.0.1 0177.1 017700000001 127.0.0.1. 0X7F.1
    %31%32%37.0.0.1 127%2e0%2e0%2e1 １２７.０.０.１ ①②⑦.⓪.⓪.① 127。0。0。1 127.0.0.0x1 0 0.0.0.0 0x0 00000 0.1
    localhost LOCALHOST localhost. LocalHost.. ⓛocalhost a.localhost a.b.LOCALHOST. %6cocalhost
    10.0.0.1 10.255.255.255 012.1.2.3 167772161 0xa000001 172.16.0.1 172.31.255.255 2886729729 192.168.0.1 192.168.255.255 0xc0a80001 3232235521
    169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.1 169.254.170.2 100.64.0.1 100.100.100.200 100.127.255.254
    168.63.129.16 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.250
    240.0.0.1 255.255.255.255 4294967295 0xffffffff
    [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::FFFF:10.0.0.1]
    [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:0.0.0.0] [64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:7f00:1::]
    [2002:a9fe:a9fe::1] [2001::1] [2001:db8::1] [3fff::1] [5f00::1] [100::1] [fc00::1] [fd00:ec2::254] [fd12:3456:789a::1] [fe80::1] [febf::1]
    [fec0::1] [ff02::1] [ff0e::1] [4000::1] [::2] [0200::1]
";

/// URLs that must be refused for another reason, or can't even be read.
const BLOCKED_URLS: &[&str] = &[
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/_x",
    "unix:/var/run/docker.sock",
    "data:text/plain,x",
    "javascript:0",
    "ws://example.com/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://127.0.0.1\\@example.com/",
    "https:\\\\127.0.0.1\\",
    "https:127.0.0.1",
    "https:///127.0.0.1/",
    "ht\ntps://127.0.0.1/",
    "https://example.com:0/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1%251]/",
    "http://[::ffff:127.0.0.1",
    "http://256.0.0.1/",
    "http://127.0.0.0.1/",
    "http://0x7f.0.0.0.1/",
    "http://exa mple.com/",
    "http://",
    "//example.com/",
    "example.com/hook",
    "",
];

fn is_refused(guard: &Guard, url: &str) -> bool {
    Url::parse(url).map_or(true, |url| guard.check_url(&url).is_err())
}

#[test]
fn every_spelling_of_an_inner_address_is_refused() {
    let guard = Guard::default();
    let hosts: Vec<&str> = BLOCKED_HOSTS.split_whitespace().collect();
    assert!(hosts.len() + BLOCKED_URLS.len() >= 120, "{}", hosts.len());
    for host in hosts {
        for url in [format!("http://{host}/hook"), format!("https://{host}:8443/hook")] {
            assert!(Url::parse(&url).is_ok(), "{url} is no url, so it shows nothing");
            assert!(is_refused(&guard, &url), "{url}");
        }
    }
    for url in BLOCKED_URLS {
        assert!(is_refused(&guard, url), "{url}");
    }
}

#[test]
fn what_is_public_is_allowed() {
    let guard = Guard::default();
    let urls =
        "https://example.com/ http://example.com:8080/x https://bücher.example/ https://8.8.8.8/ https://[2606:4700:4700::1111]/
        https://[::ffff:8.8.8.8]/ https://notlocalhost/ https://localhost.example.com/ https://172.32.0.1/ https://100.128.0.1/";
    for url in urls.split_whitespace() {
        assert!(!is_refused(&guard, url), "{url}");
    }
}

#[test]
fn what_is_named_is_allowed_and_nothing_beside_it() {
    let check = |allowed: &[&str], open: &str, closed: &str| {
        let guard = Guard::new(allowed).unwrap();
        for (hosts, refused) in [(open, false), (closed, true)] {
            for host in hosts.split_whitespace() {
                assert_eq!(is_refused(&guard, &format!("http://{host}/")), refused, "{host} by {allowed:?}");
            }
        }
    };
    check(
        &["127.0.0.0/8", "::1/128"],
        "127.0.0.1 127.1 localhost a.localhost. [::1] [::ffff:127.0.0.1]",
        "10.0.0.1 [::2] 0.0.0.0",
    );
    check(&["10.1.2.3"], "10.1.2.3 0xa010203", "10.1.2.4 127.0.0.1 localhost");
    check(&[" 10.1.2.3/16 "], "10.1.0.0 10.1.255.255", "10.0.255.255 10.2.0.0");
    check(&["::1"], "localhost [::1]", "127.0.0.1");
    check(&["fd00:1::/64"], "[fd00:1::9]", "[fd00:1:0:1::9] [fe80::1]");
    check(&["64:ff9b::/96"], "[64:ff9b::8.8.8.8]", "[64:ff9b:1::1] 127.0.0.1");
}

#[test]
fn a_network_that_cannot_be_meant_is_refused() {
    let check = |text: &str, message: &str| {
        let error = Guard::new(&["10.0.0.0/8", text]).unwrap_err().to_string();
        assert!(error.contains(&format!("allow `{text}`")) && error.contains(message), "{error}");
    };
    check("0.0.0.0/0", "length of 0");
    check("::/0", "length of 0");
    check("10.0.0.0/0", "length of 0");
    check("::ffff:10.0.0.0/104", "write it as IPv4");
    check("10.0.0.0/33", "not a network");
    check("10.0.0/8", "not a network");
    check("localhost", "not a network");
    check("", "not a network");
}

/// Answers by a script: each lookup of a name takes the next line, the last one for ever.
struct Script(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

impl Lookup for Script {
    fn lookup(&self, host: &str) -> Answers {
        let mut script = self.0.lock().unwrap();
        let Some(lines) = script.get_mut(host) else { return Box::pin(pending()) };
        let answer = if lines.len() > 1 { lines.remove(0) } else { lines[0].clone() };
        Box::pin(ready(io::Result::Ok(answer)))
    }
}

/// A sender for which 127.0.0.2 stands for the public: what answers there may be reached, 127.0.0.1 may not.
fn scripted(host: &'static str, lines: &[&str]) -> HttpSender {
    tls();
    let lines = lines.iter().map(|line| line.split_whitespace().map(|ip| ip.parse().unwrap()).collect()).collect();
    let lookup = Arc::new(Script(Mutex::new(HashMap::from([(host, lines)]))));
    HttpSender::with_lookup(Guard::new(&["127.0.0.2/32"]).unwrap(), Duration::from_millis(700), lookup).unwrap()
}

/// The same port inside (127.0.0.1) and outside (127.0.0.2), each with what it heard.
async fn inside_and_outside() -> (u16, crate::receiver::Heard, crate::receiver::Heard) {
    loop {
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = inside.local_addr().unwrap().port();
        let Ok(outside) = TcpListener::bind(("127.0.0.2", port)).await else { continue };
        let close = |_: &_| answer(200, &[("connection", "close")], "");
        return (port, serve(inside, close), serve(outside, close));
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let (port, inside, outside) = inside_and_outside().await;
    let url = secret(&format!("http://rebinding.example:{port}/canary"));
    let http = scripted(
        "rebinding.example",
        &["127.0.0.2", "127.0.0.1", "127.0.0.1 10.0.0.1 ::1 ::ffff:127.0.0.1", "127.0.0.1 127.0.0.2"],
    );
    let webhook = Webhook::new("ops", &url, Vec::new(), Format::Standard, http).unwrap();
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        let outcome = webhook.send(&news(), NOW_MS).await;
        verdicts.push(outcome.verdict);
        if outcome.verdict == Verdict::Retry {
            assert!(outcome.reason.contains("look up `rebinding.example`: no public address"), "{}", outcome.reason);
            assert!(!outcome.reason.contains("127.0.0") && !outcome.reason.contains("canary"), "{}", outcome.reason);
        }
    }
    assert_eq!(verdicts, [Verdict::Delivered, Verdict::Retry, Verdict::Retry, Verdict::Delivered]);
    assert_eq!((inside.lock().unwrap().len(), outside.lock().unwrap().len()), (0, 2));
}

#[tokio::test]
async fn a_lookup_that_never_answers_ends_with_the_attempt() {
    let webhook =
        Webhook::new("ops", &secret("http://silent.example/x"), Vec::new(), Format::Standard, scripted("other", &[""])).unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(5), webhook.send(&news(), NOW_MS)).await.unwrap();
    assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry, 0));
}

#[tokio::test]
async fn the_systems_own_localhost_is_refused_too() {
    let (origin, heard) = receiver(|_| answer(200, &[], "")).await;
    tls();
    let closed = HttpSender::new(Guard::default(), Duration::from_secs(5)).unwrap();
    let error = Webhook::new("ops", &secret(&format!("{origin}/canary")), Vec::new(), Format::Standard, closed).unwrap_err();
    assert!(error.to_string().contains("loopback") && !error.to_string().contains("canary"), "{error}");
    // Allowed by name, it is reached.
    let url = secret(&origin.replace("127.0.0.1", "localhost"));
    let open = Webhook::new("ops", &url, Vec::new(), Format::Standard, http(Duration::from_secs(5))).unwrap();
    assert_eq!(open.send(&news(), NOW_MS).await.verdict, Verdict::Delivered);
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, not_asked) = receiver(|_| answer(200, &[], "")).await;
    for status in [301, 302, 303, 307, 308] {
        let to = elsewhere.clone();
        let (origin, _) = receiver(move |_| answer(status, &[("location", &to)], "")).await;
        for kind in ["webhook", "discord", "slack", "telegram"] {
            let outcome = channel(kind, &origin, http(Duration::from_secs(5))).send(&news(), NOW_MS).await;
            assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Failed, status), "{kind}");
        }
    }
    assert!(not_asked.lock().unwrap().is_empty());
}

/// In a process of its own, since a process's environment can't be changed safely while threads run.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let (origin, heard) = receiver(|_| answer(200, &[], "")).await;
    let (proxy, proxied) = receiver(|_| answer(200, &[], "")).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "guard::posts_where_the_environment_says", "--ignored"]).env("CHANNELS_TEST_ORIGIN", &origin);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, &proxy);
    }
    let child = child.env_remove("NO_PROXY").env_remove("no_proxy").stdout(Stdio::null()).stderr(Stdio::null());
    assert!(child.status().await.unwrap().success());
    let paths = |heard: &crate::receiver::Heard| {
        heard.lock().unwrap().iter().map(|r| r.head.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&heard), ["/canary/path?canary=query"]);
    assert_eq!(paths(&proxied), [format!("{origin}/control")], "a client without our care takes the proxy");
}

#[tokio::test]
#[ignore = "the child of a_proxy_of_the_environment_is_not_used"]
async fn posts_where_the_environment_says() {
    let Ok(origin) = std::env::var("CHANNELS_TEST_ORIGIN") else { return };
    let outcome = channel("webhook", &origin, http(Duration::from_secs(5))).send(&news(), NOW_MS).await;
    assert_eq!(outcome.verdict, Verdict::Delivered, "{}", outcome.reason);
    reqwest::Client::new().post(format!("{origin}/control")).send().await.unwrap();
}
