//! What people read, by golden files in `golden/messages`: one for each type of event, firing and resolved, and one for each kind
//! of notice. `UPDATE=1` rewrites them.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use alerts::message::{Message, Section};
use alerts::notice::{Notice, NoticeKind, count, news_id, notice_id};
use alerts::{Alert, Event, EventType, Severity, Status};
use proptest::prelude::*;
use serde_json::{Value, json};

mod samples;
use samples::*;

/// As a plain channel would print it.
fn printed(message: &Message) -> String {
    let Message { title, lead, sections, footer, severity, status, at_ms, png } = message;
    let mut text = format!("title: {title}\n{} {}, decided at {at_ms}\n", severity.as_str(), status.as_str());
    for line in lead.lines() {
        writeln!(text, "lead: {line}").unwrap();
    }
    for Section { title, text: words, fields, severity, status, at_ms } in sections {
        write!(text, "\nsection: {title}\n{} {}, at {at_ms}\n", severity.as_str(), status.as_str()).unwrap();
        if !words.is_empty() {
            writeln!(text, "text: {words}").unwrap();
        }
        for field in fields {
            writeln!(text, "  {}: {}", field.name, field.value).unwrap();
        }
    }
    assert_eq!(*png, None, "a chart was not asked for");
    write!(text, "\nfooter: {footer}\n").unwrap();
    text
}

fn check(name: &str, notice: &Notice) {
    let text = printed(&Message::of(notice));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/messages").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{name}.txt differs; UPDATE=1 rewrites it");
}

#[test]
fn every_type_has_its_words_firing_and_resolved() {
    let mut seen = Vec::new();
    for (firing, resolved) in events() {
        assert_eq!((firing.status, resolved.status), (Status::Firing, Status::Resolved));
        assert_eq!(firing.id, resolved.id);
        let name = firing.event_type.as_str().to_lowercase();
        seen.push(firing.event_type);
        for (event, how) in [(firing, "firing"), (resolved, "resolved")] {
            let alert = alert(event);
            let id = news_id(&alert, false);
            check(&format!("{name}.{how}"), &notice(NoticeKind::News, id, vec![alert]));
        }
    }
    seen.sort_unstable();
    let mut all = EventType::ALL.to_vec();
    all.sort_unstable();
    assert_eq!(seen, all, "a type has no sample");
}

#[test]
fn every_kind_has_its_words() {
    let firing = || alert(Event::cascade(cascade()));
    let other = || alert(Event::funding(funding()));
    let over = || alert(Event::oi_shock(alerts::OiShockFacts { ended_at_ms: Some(T0 + 900_000), ..oi_shock() }));
    let of = |kind, alerts: Vec<Alert>| notice(kind, notice_id(kind, &["desk"], DECIDED), alerts);
    let with = |remark: &str, notice: Notice| Notice { remark: remark.into(), ..notice };

    check("news.grouped", &Notice { group: "BTC-USDT-PERP".into(), ..of(NoticeKind::News, vec![firing(), other(), over()]) });
    let corrected = Alert { is_correction: true, ..over() };
    check("news.correction", &of(NoticeKind::News, vec![corrected]));
    check("reminder", &with("Told 2 times before.", of(NoticeKind::Reminder, vec![firing()])));
    check("escalation", &with("Escalated from desk to oncall.", of(NoticeKind::Escalation, vec![firing()])));
    check("drill", &with("Sent by hand.", of(NoticeKind::Drill, vec![firing()])));
    let trouble =
        with("Channel `desk` answers 404 since 2024-08-08T01:00:00Z and was disabled.", of(NoticeKind::Trouble, vec![]));
    check("trouble", &trouble);

    let storm: Vec<Alert> = (0..40).map(|n| alert(Event::cascade(storm_cascade(n)))).chain([other(), over()]).collect();
    let counts = count(&storm);
    let named: Vec<Alert> = storm.into_iter().rev().take(5).collect();
    let digest = |kind| Notice { counts: counts.clone(), ..of(kind, named.clone()) };
    check("digest", &with("More than 5 alerts wait for this channel.", digest(NoticeKind::Digest)));
    check("late_digest", &with("The channel was down.", digest(NoticeKind::LateDigest)));
}

#[test]
fn words_come_also_out_of_data_that_is_not_ours() {
    let bare = |data: Value| {
        for (event_type, status) in EventType::ALL.into_iter().flat_map(|t| [(t, Status::Firing), (t, Status::Resolved)]) {
            let data = data.as_object().unwrap().clone();
            let event = Event { event_type, status, data, ..Event::cascade(cascade()) };
            let message = Message::of(&notice(NoticeKind::News, "x".into(), vec![alert(event)]));
            assert!(!message.title.is_empty() && !message.sections[0].text.contains("  "), "{message:?}");
        }
    };
    bare(json!({}));
    bare(
        json!({ "onset": null, "severity": "x", "change_5m": [], "assets": 3, "price_low": -1, "price_high": 0, "strength": {} }),
    );
    bare(json!({ "onset": "never", "price_low": 1e300, "price_high": 1e-300, "funding_rate": 1e308, "severity": 1e308 }));
}

proptest! {
    #[test]
    fn titles_names_and_values_are_one_line(
        text in ".*|\\PC*[\r\n\t\u{2028}]\\PC*", kind in 0usize..7, number in any::<f64>(), times in (any::<i64>(), any::<i64>()),
    ) {
        use NoticeKind::*;
        let kind = [News, Reminder, Escalation, Digest, LateDigest, Drill, Trouble][kind];
        for event_type in EventType::ALL {
            let mut event = Event { event_type, symbol: text.clone(), venue: text.clone(), title: text.clone(), ..Event::cascade(cascade()) };
            (event.timestamp, event.known_at) = times;
            for (index, value) in event.data.values_mut().enumerate() {
                if index % 2 == 0 { *value = json!(text) } else if value.is_number() { *value = json!(number) }
            }
            let mut alert = alert(event);
            alert.rules.push(text.clone());
            let mut notice = notice(kind, "id".into(), vec![alert]);
            notice.remark = text.clone();
            notice.group = text.clone();
            notice.decided_at = times.1;
            let message = Message::of(&notice);
            let mut lines = vec![&message.title, &message.footer];
            for section in &message.sections {
                lines.push(&section.title);
                lines.extend(section.fields.iter().flat_map(|field| [&field.name, &field.value]));
            }
            for line in lines {
                prop_assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
            }
        }
    }
}

#[test]
fn the_gravest_counts() {
    let mut warning = alert(Event::funding(funding()));
    warning.event.severity = Severity::Warning;
    let both = notice(NoticeKind::News, "x".into(), vec![warning, alert(Event::cascade(cascade()))]);
    assert_eq!(Message::of(&both).severity, Severity::Critical);
    assert_eq!(Message::of(&notice(NoticeKind::Trouble, "x".into(), vec![])).severity, Severity::Warning);
}
