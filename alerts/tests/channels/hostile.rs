//! A9: 100,000 notices of hostile text, 25,000 to each of four channels. Every payload is inside every limit, no mention fires.

use alerts::channels::{discord, slack, telegram, webhook};
use alerts::message::{Field, Message, Section};
use alerts::notice::{NAMED_MAX, count};
use alerts::{Notice, NoticeKind, Severity, Status};
use serde_json::Value;

use crate::{NOW_MS, alert};

const CASES: u64 = 25_000;

const PIECES: &[&str] = &[
    "a",
    " ",
    "BTC-USDT-PERP",
    "−1.84 %",
    "@everyone",
    "@here",
    "<@123>",
    "<@!123>",
    "<@&123>",
    "<#123>",
    "<!channel>",
    "<!here>",
    "<@U012AB3CD>",
    "<!subteam^S1>",
    "<https://example.com|click>",
    "[click](https://example.com)",
    "https://example.com",
    "@username",
    "tg://user?id=1",
    "*",
    "**",
    "_",
    "__",
    "~~",
    "`",
    "```",
    "||",
    ">",
    ">>> ",
    "# ",
    "- ",
    "\\",
    "\\\\",
    "\\@everyone",
    "</b>",
    "<b>",
    "<a href=\"tg://user?id=1\">x</a>",
    "<script>",
    "&",
    "&amp;",
    "&lt;!channel&gt;",
    "&#64;",
    "\"",
    "'",
    "{",
    "}",
    "\n",
    "\r\n",
    "\r\nBcc: x@example.com\r\n\r\n",
    "\t",
    "\0",
    "\u{7}",
    "\u{1b}[2J",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{202c}",
    "\u{2066}",
    "\u{200b}",
    "\u{200d}",
    "\u{200f}",
    "\u{feff}",
    "\u{301}",
    "\u{20dd}",
    "\u{fe0f}",
    "👍🏽",
    "👩‍👩‍👧‍👦",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "🇩🇪",
    "שלום",
    "مرحبا",
    "漢字",
    "한글",
    "ﷺ",
    "Z̷̢̛",
    "\u{10ffff}",
    "\u{fffe}",
    "\u{e000}",
    "@\u{200b}everyone",
    "<\u{200b}!channel>",
    "--regimeflow-",
    "…",
];

/// SplitMix64: the same cases everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    /// Mostly short, sometimes long, seldom a megabyte; of one piece or of many.
    fn text(&mut self, is_large: bool) -> String {
        let pieces = match self.below(if is_large { 8 } else { 100_000 }) {
            0 if !is_large => 100_000,
            0 => 3_000,
            1..=3 => 300,
            _ => self.below(8),
        };
        let one = (self.below(4) == 0).then(|| self.below(PIECES.len()));
        (0..pieces).map(|_| PIECES[one.unwrap_or_else(|| self.below(PIECES.len()))]).collect()
    }

    fn severity(&mut self) -> Severity {
        [Severity::Info, Severity::Warning, Severity::Critical][self.below(3)]
    }

    fn status(&mut self) -> Status {
        [Status::Firing, Status::Resolved][self.below(2)]
    }

    fn at_ms(&mut self) -> i64 {
        [NOW_MS, 0, -1, i64::MAX, i64::MIN][self.below(5)]
    }

    /// A message, and how many alerts it speaks of.
    fn message(&mut self) -> (Message, u64) {
        let is_large = self.below(200) == 0;
        let (sections, fields) = if is_large { (NAMED_MAX + 5, 30) } else { (3, 4) };
        let sections: Vec<Section> = (0..self.below(sections + 1)).map(|_| self.section(is_large, fields)).collect();
        let total = (sections.len() + self.below(2) * self.below(10_000)) as u64;
        let message = Message {
            title: self.text(is_large),
            lead: self.text(is_large),
            sections,
            footer: self.text(is_large),
            severity: self.severity(),
            status: self.status(),
            at_ms: self.at_ms(),
            png: [None, Some(b"\x89PNG".to_vec())][self.below(2)].clone(),
        };
        (message, total)
    }

    fn section(&mut self, is_large: bool, fields_max: usize) -> Section {
        let is_bare = self.below(3) == 0;
        let fields = if is_bare { 0 } else { self.below(fields_max + 1) };
        Section {
            title: self.text(is_large),
            text: if is_bare { String::new() } else { self.text(is_large) },
            fields: (0..fields).map(|_| Field { name: self.text(is_large), value: self.text(is_large) }).collect(),
            severity: self.severity(),
            status: self.status(),
            at_ms: self.at_ms(),
        }
    }
}

/// Half of a channel's cases, so that two cores share them.
fn cases(seed: u64, check: impl Fn(&mut Random)) {
    for case in 0..CASES {
        let seed = seed + case;
        let is_told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut Random(seed))));
        assert!(is_told.is_ok(), "seed {seed}");
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What no text of any channel may hold.
fn check_clean(text: &str, joiner: char) {
    for (at, c) in text.char_indices() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {text:?}");
        assert!(!matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "{c:?} in {text:?}");
        if c == '@' {
            assert!(text[at + 1..].starts_with(joiner), "a mention in {text:?}");
        }
    }
}

/// All texts of a JSON value, with their keys.
fn texts<'a>(value: &'a Value, key: &'a str, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => found.push((key, text)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        Value::Object(map) => map.iter().for_each(|(key, item)| texts(item, key, found)),
        _ => {}
    }
}

fn check_discord(payload: &Value, hidden: bool) {
    use discord::limits;
    assert_eq!(payload["allowed_mentions"], serde_json::json!({ "parse": [] }));
    let content = payload["content"].as_str().unwrap();
    assert!((1..=limits::CONTENT).contains(&units(content)));
    assert!(!hidden || content.contains("\n… and "), "{content:?}");
    let embeds = payload["embeds"].as_array().unwrap();
    assert!(embeds.len() <= limits::EMBEDS);
    let mut total = 0;
    for embed in embeds {
        assert!(embed.get("url").is_none());
        let mut check = |text: &Value, max: usize| {
            let Some(text) = text.as_str() else { return };
            assert!((1..=max).contains(&units(text)) && text.chars().count() <= max && !text.trim().is_empty(), "{text:?}");
            total += units(text);
        };
        check(&embed["title"], limits::TITLE);
        check(&embed["description"], limits::DESCRIPTION);
        check(&embed["footer"]["text"], limits::FOOTER);
        let fields = embed["fields"].as_array().cloned().unwrap_or_default();
        assert!(fields.len() <= limits::FIELDS);
        for field in &fields {
            assert!(field["name"].is_string() && field["value"].is_string());
            check(&field["name"], limits::FIELD_NAME);
            check(&field["value"], limits::FIELD_VALUE);
        }
        assert!(["title", "description", "footer", "fields", "image"].iter().any(|key| embed.get(key).is_some()), "{embed}");
        assert!(embed.get("timestamp").is_none_or(|time| time.as_str().unwrap() >= "1970"), "{embed}");
    }
    assert!(total <= limits::TOTAL, "{total}");
    let mut found = Vec::new();
    texts(payload, "", &mut found);
    for (key, text) in found {
        check_clean(text, '\u{200b}');
        // A footer (`text`) knows no markup.
        for (at, _) in text.match_indices('<').filter(|_| key != "text") {
            let backslashes = text[..at].chars().rev().take_while(|c| *c == '\\').count();
            assert_eq!(backslashes % 2, 1, "markup in {text:?}");
        }
    }
}

#[test]
fn discord() {
    cases(1 << 32, |random| {
        let (message, total) = random.message();
        let (payload, png) = discord::payload(&message, total);
        check_discord(&payload, total > message.sections.len() as u64 && !message.sections.is_empty());
        assert_eq!(png.is_some(), message.png.is_some());
        assert_eq!(serde_json::from_str::<Value>(&payload.to_string()).unwrap(), payload);
    });
}

fn check_slack(payload: &Value, hidden: bool) {
    use slack::limits;
    assert_eq!(payload["link_names"], false);
    let blocks = payload["blocks"].as_array().unwrap();
    assert!((1..=limits::BLOCKS).contains(&blocks.len()));
    let mut total = 0;
    for block in blocks {
        let (text, fields) = (&block["text"]["text"], block["fields"].as_array().cloned().unwrap_or_default());
        let max = match block["type"].as_str().unwrap() {
            "header" => limits::HEADER,
            "section" => limits::SECTION,
            "context" => limits::CONTEXT,
            other => panic!("{other}"),
        };
        let elements = block["elements"].as_array().cloned().unwrap_or_default();
        assert!(fields.len() <= limits::FIELDS && elements.len() <= 10);
        let all = fields.iter().map(|field| (&field["text"], limits::FIELD));
        let all: Vec<_> =
            all.chain(elements.iter().map(|e| (&e["text"], max))).chain(text.is_string().then_some((text, max))).collect();
        assert!(!all.is_empty(), "{block}");
        for (text, max) in all {
            let text = text.as_str().unwrap();
            assert!((1..=max).contains(&units(text)) && !text.trim().is_empty(), "{text:?}");
            total += units(text);
        }
    }
    assert!(total + units(payload["text"].as_str().unwrap()) <= limits::TOTAL, "{total}");
    let mut found = Vec::new();
    texts(payload, "", &mut found);
    assert!(!hidden || found.iter().any(|(_, text)| text.starts_with("… and ")));
    for (_, text) in found {
        check_clean(text, '\u{200b}');
        assert!(!text.contains(['<', '>']), "{text:?}");
        let is_escape = |(at, _): (usize, &str)| ["&amp;", "&lt;", "&gt;"].iter().any(|escape| text[at..].starts_with(escape));
        assert!(text.match_indices('&').all(is_escape), "{text:?}");
    }
}

#[test]
fn slack() {
    cases(2 << 32, |random| {
        let (message, total) = random.message();
        let payload = slack::payload(&message, total);
        check_slack(&payload, total > message.sections.len() as u64 && !message.sections.is_empty());
        assert_eq!(serde_json::from_str::<Value>(&payload.to_string()).unwrap(), payload);
    });
}

/// What is shown of Telegram's HTML; it must be well formed.
fn shown(html: &str) -> String {
    let (mut out, mut open, mut entities, mut rest) = (String::new(), None, 0, html);
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\"")];
        if let Some((escape, plain)) = known.iter().find(|(escape, _)| rest.starts_with(escape)) {
            out.push_str(plain);
            rest = &rest[escape.len()..];
            continue;
        }
        let tag = ["<b>", "<i>", "</b>", "</i>"].into_iter().find(|tag| rest.starts_with(tag)).expect("no other tag");
        match (open, tag.strip_prefix("</")) {
            (None, None) => open = Some(&tag[1..]),
            (Some(name), Some(end)) if name == end => (open, entities) = (None, entities + 1),
            _ => panic!("{tag} in {html:?}"),
        }
        rest = &rest[tag.len()..];
    }
    assert!(open.is_none() && entities <= telegram::limits::ENTITIES, "{html:?}");
    out + rest
}

#[test]
fn telegram() {
    cases(3 << 32, |random| {
        let (message, total) = random.message();
        let text = shown(&telegram::text(&message, total));
        let hidden = total > message.sections.len() as u64 && !message.sections.is_empty();
        assert!(!hidden || text.contains("… and "));
        assert!((1..=telegram::limits::TEXT).contains(&units(&text)) && !text.trim().is_empty());
        check_clean(&text, '\u{2060}');
    });
}

fn hostile_notice(random: &mut Random) -> Notice {
    use NoticeKind::{Digest, Drill, Escalation, LateDigest, News, Reminder, Trouble};
    let is_large = random.below(200) == 0;
    let alerts: Vec<_> = (0..random.below(if is_large { NAMED_MAX + 1 } else { 3 }))
        .map(|_| {
            let mut alert = alert();
            for text in [&mut alert.event.title, &mut alert.event.description, &mut alert.event.symbol, &mut alert.event.venue] {
                *text = random.text(is_large);
            }
            alert.event.source = random.text(is_large).into();
            alert.event.timestamp = random.at_ms();
            alert.event.data.insert(random.text(is_large), random.text(is_large).into());
            alert.rules = (0..random.below(4)).map(|_| random.text(is_large)).collect();
            alert.labels.insert(random.text(is_large), random.text(is_large));
            alert
        })
        .collect();
    let mut counts = count(&alerts);
    if let (Some(first), 0) = (counts.first_mut(), random.below(2)) {
        first.count += random.below(10_000) as u64;
    }
    Notice {
        id: random.text(is_large),
        channel: "ops".into(),
        kind: [News, Reminder, Escalation, Digest, LateDigest, Drill, Trouble][random.below(7)],
        is_urgent: false,
        group: random.text(is_large),
        counts,
        alerts,
        remark: random.text(is_large),
        decided_at: random.at_ms(),
    }
}

#[test]
fn webhook() {
    cases(4 << 32, |random| {
        let notice = hostile_notice(random);
        for format in [webhook::Format::Standard, webhook::Format::CloudEvents] {
            let text = webhook::body(&notice, format);
            assert!(text.len() <= webhook::BODY_BYTES_MAX, "{} bytes", text.len());
            let body: Value = serde_json::from_str(&text).unwrap();
            let body = if format == webhook::Format::CloudEvents { &body["data"] } else { &body };
            if let Some(title) = body["title"].as_str() {
                assert!(units(title) <= 256 && units(body["description"].as_str().unwrap()) <= 4_096);
                assert!(notice.kind == NoticeKind::News || body["notice"]["kind"].is_string(), "{body}");
            } else {
                let data = &body["data"];
                let events = data["events"].as_array().unwrap().len() as u64;
                assert_eq!(data["total"], notice.total());
                assert_eq!(data["events_omitted"].as_u64().unwrap() + events, notice.total());
                assert!(body["type"].is_string() && body["timestamp"].is_string());
            }
        }
    });
}

/// A terminal is no place for control characters.
#[test]
fn stdout() {
    use alerts::channels::{Channel as _, Stdout, stdout::Form};
    let channels = [Form::Text, Form::JsonLines].map(|form| Stdout::new("ops", form, Box::new(std::io::sink())));
    for seed in 0..2_000 {
        let notice = hostile_notice(&mut Random((5 << 32) + seed));
        let [text, json] = [&channels[0], &channels[1]].map(|channel| channel.preview(&notice, NOW_MS));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "seed {seed}: {text:?}");
        assert!(json.lines().count() == 1 && serde_json::from_str::<Value>(&json).is_ok(), "seed {seed}: {json:?}");
        assert!(!json.chars().any(|c| c != '\n' && c.is_ascii_control()), "seed {seed}: {json:?}");
    }
}
