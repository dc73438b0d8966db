//! What each channel sends, as text files that can be read: `UPDATE=1 cargo test -p alerts --test channels golden` writes them anew.
//!
//! `channel_*` are previews of notices, as `alerts test --dry-run` shows them; `form_*` are one message with everything in it, worded
//! here, so that they change with the channels' forms and nothing else.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::channels::stdout::Form;
use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Discord, HttpSender, Slack, Stdout, Telegram, Webhook, discord, slack, telegram};
use alerts::message::{Field, Message, Section};
use alerts::{Notice, NoticeKind, Secret, Severity, Status};

use crate::{NOW_MS, alert, news, notice, secret, tls};

/// Where the tokens are that no preview may show.
const DISCORD: &str = "https://discord.com/api/webhooks/123/canary?thread_id=7";
const SLACK: &str = "https://hooks.slack.com/services/T0/B0/canary";
const TELEGRAM: &str = "https://api.telegram.org/bot123:canary/sendMessage?chat_id=-1001234567890&message_thread_id=7";

fn check(name: &str, text: &str) {
    assert!(!text.contains("canary"), "{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; look at it, then write it with UPDATE=1");
}

fn resolved() -> Notice {
    let mut alert = alert();
    alert.event = alert.event.resolved(NOW_MS, NOW_MS);
    notice(NoticeKind::News, vec![alert], "")
}

fn digest() -> Notice {
    let alerts = (0..4).map(|i| {
        let mut alert = alert();
        alert.event.symbol = format!("COIN{i}-USDT-PERP");
        alert.event.title = format!("{} ({})", alert.event.title, alert.event.symbol);
        alert
    });
    let mut digest = notice(NoticeKind::Digest, alerts.collect(), "More than this channel takes one by one.");
    digest.counts[0].count = 10_000;
    digest
}

fn trouble() -> Notice {
    notice(NoticeKind::Trouble, Vec::new(), "The channel `desk` is disabled: post to https://example.com/…: answer 410.")
}

fn preview_all(name: &str, channel: &dyn Channel) {
    let drill = notice(NoticeKind::Drill, vec![alert()], "This is a drill; nothing happened.");
    let notices = [("news", news()), ("resolved", resolved()), ("digest", digest()), ("drill", drill), ("trouble", trouble())];
    let text: String =
        notices.iter().map(|(what, notice)| format!("== {what}\n{}\n", channel.preview(notice, NOW_MS).trim_end())).collect();
    check(&format!("channel_{name}.txt"), &text);
}

fn http() -> HttpSender {
    tls();
    HttpSender::new(Default::default(), Duration::from_secs(5)).unwrap()
}

#[test]
fn webhook() {
    for (name, format) in [("webhook", Format::Standard), ("cloudevents", Format::CloudEvents)] {
        let secrets = vec![Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        let url = secret("https://hooks.example.com/canary?token=canary");
        preview_all(name, &Webhook::new("ops", &url, secrets, format, http()).unwrap());
    }
}

#[test]
fn chats() {
    preview_all("discord", &Discord::new("ops", &secret(DISCORD), http(), None).unwrap());
    preview_all("slack", &Slack::new("ops", &secret(SLACK), http(), None).unwrap());
    preview_all("telegram", &Telegram::from_url("ops", &secret(TELEGRAM), http(), None).unwrap());
}

#[test]
fn stdout() {
    preview_all("stdout", &Stdout::new("ops", Form::Text, Box::new(std::io::sink())));
    preview_all("stdout_json", &Stdout::new("ops", Form::JsonLines, Box::new(std::io::sink())));
}

/// Two alerts with numbers, markup and a mention in them, three without words.
fn message() -> Message {
    let section = |title: &str, text: &str, fields: &[(&str, &str)], severity, status| Section {
        title: title.into(),
        text: text.into(),
        fields: fields.iter().map(|(name, value)| Field { name: (*name).into(), value: (*value).into() }).collect(),
        severity,
        status,
        at_ms: NOW_MS,
    };
    let (firing, over) = (Status::Firing, Status::Resolved);
    Message {
        title: "2 alerts: LIQUIDATION_CASCADE & more".into(),
        lead: "More than #this channel takes.\n# not a heading @everyone".into(),
        sections: vec![
            section(
                "BTC-USDT-PERP: longs are liquidated",
                "1.38 M USD in 12 min, *37* liquidations.\n> <@123> <!channel> [x](https://example.com)",
                &[("Velocity", "12.3 M USD/h, 2.1 × critical"), ("Price", "−1.84 %"), ("", " ")],
                Severity::Critical,
                firing,
            ),
            section("ETH_USDT", "It is over.", &[("Lasted", "14 min")], Severity::Warning, over),
            section("SOL-USDT-PERP: funding", "", &[], Severity::Info, firing),
            section("XRP-USDT-PERP: funding", "", &[], Severity::Warning, firing),
            section("", "", &[], Severity::Info, over),
        ],
        footer: "regimeflow · cascades, funding · ntc_00112233445566778899aabbccddeeff".into(),
        severity: Severity::Critical,
        status: firing,
        at_ms: NOW_MS,
        png: Some(vec![0; 12_345]),
    }
}

#[test]
fn forms() {
    let message = message();
    let (payload, png) = discord::payload(&message, 7);
    assert_eq!(png.map(<[u8]>::len), Some(12_345));
    check("form_discord.txt", &format!("{payload:#}\n"));
    check("form_slack.txt", &format!("{:#}\n", slack::payload(&message, 7)));
    check("form_telegram.txt", &format!("{}\n", telegram::text(&message, 7)));
}

/// What is shown and what is only counted is everything.
#[test]
fn what_is_left_out_is_counted() {
    let many = |text: &str| {
        let section = Section { text: text.into(), fields: Vec::new(), ..message().sections.remove(0) };
        let mut many = message();
        many.sections = vec![section; 30];
        many
    };
    let words = many("words");
    let (worded, _) = discord::payload(&words, 10_000);
    assert_eq!(worded["embeds"].as_array().unwrap().len(), 10);
    assert!(worded["content"].as_str().unwrap().ends_with("\n… and 9,990 more"), "{worded}");
    let titles = many("");
    let (bare, _) = discord::payload(&titles, 10_000);
    assert_eq!(bare["embeds"][0]["description"].as_str().unwrap().lines().count(), 30);
    assert!(bare["content"].as_str().unwrap().ends_with("\n… and 9,970 more"), "{bare}");
    let last_but_one = |payload: &serde_json::Value| {
        let blocks = payload["blocks"].as_array().unwrap().clone();
        blocks[blocks.len() - 2]["elements"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(last_but_one(&slack::payload(&words, 10_000)), "… and 9,978 more");
    assert_eq!(last_but_one(&slack::payload(&titles, 10_000)), "… and 9,970 more");
    assert!(telegram::text(&words, 10_000).contains("\n… and 9,970 more\n"));
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_gets_what_is_previewed() {
    for form in [Form::Text, Form::JsonLines] {
        let out = Shared::default();
        let channel = Stdout::new("ops", form, Box::new(out.clone()));
        for _ in 0..2 {
            assert_eq!(channel.send(&digest(), NOW_MS).await.verdict, alerts::channels::Verdict::Delivered);
        }
        let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written, channel.preview(&digest(), NOW_MS).repeat(2));
    }
}
