//! Runs one timeline: see `tests/policy.rs` for its form.

use std::collections::{BTreeMap, BTreeSet};

use alerts::policy::{AckTarget, Matcher, Policy, PolicyConfig, Silence, StateKey, When};
use alerts::{Alert, Event, EventType, Notice, NoticeKind, Severity, Status};
use chrono::DateTime;

/// How a timeline is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Plain,
    /// With a restart after every line.
    Restarts,
    /// What fires is pushed again after every line, as after a restart of the source.
    Repeats,
}

struct Runner {
    policy: Policy,
    config: PolicyConfig,
    stored: BTreeMap<StateKey, String>,
    alerts: BTreeMap<String, Alert>,
    zero: i64,
    /// What was told and not yet wanted, in words.
    told: Vec<(i64, String)>,
    /// Channel and id of every notice: a receiver drops what it has seen.
    ids: BTreeSet<(String, String)>,
}

/// Runs it; the fault names its line.
pub fn run(text: &str, mode: Mode) -> Result<(), String> {
    let (config, rest) = text.split_once("---\n").ok_or("no line `---` after the configuration")?;
    let first = config.lines().count() + 2;
    let config: PolicyConfig = toml::from_str(config).map_err(|e| e.to_string())?;
    let policy = Policy::new(config.clone()).map_err(|e| e.to_string())?;
    let zero = DateTime::parse_from_rfc3339("2026-06-01T00:00:00Z").unwrap().timestamp_millis();
    let (stored, alerts, ids) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut runner = Runner { policy, config, stored, alerts, zero, told: Vec::new(), ids };
    let mut lines = rest.lines().enumerate().map(|(i, line)| (first + i, line.split('#').next().unwrap_or_default().trim()));
    let mut last = None;
    while let Some((number, line)) = lines.next() {
        let fault = |fault: String| format!("line {number}: {fault}");
        let Some((at, words)) = line.split_once(' ') else {
            if line.is_empty() { continue } else { return Err(fault(format!("`{line}`"))) }
        };
        if at == "start" {
            runner.zero = DateTime::parse_from_rfc3339(words).map_err(|e| fault(e.to_string()))?.timestamp_millis();
            continue;
        }
        let now = runner.time(at).map_err(fault)?;
        assert!(last.is_none_or(|last| last <= now), "line {number}: goes back in time");
        last = Some(now);
        let block: String = if words == "config" {
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "---").map(|line| format!("{line}\n")).collect()
        } else {
            String::new()
        };
        runner.step(now, words.trim(), &block).map_err(fault)?;
        match mode {
            Mode::Plain => {}
            Mode::Restarts => runner.restart(now),
            Mode::Repeats => runner.repeat(now),
        }
    }
    match runner.told.first() {
        Some((at, told)) => Err(format!("line {}: at {} told and not wanted: {told}", text.lines().count(), runner.clock(*at))),
        None => Ok(()),
    }
}

impl Runner {
    fn step(&mut self, now: i64, words: &str, block: &str) -> Result<(), String> {
        while let Some(due) = self.policy.next_due().filter(|due| *due < now) {
            let due = due.max(self.zero);
            let notices = self.policy.due(due);
            self.note(notices)?;
        }
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        if let Some((at, told)) = self.told.iter().find(|(at, _)| *at < now) {
            return Err(format!("at {} told and not wanted: {told}", self.clock(*at)));
        }
        let notices = match verb {
            "want" => return self.want(now, rest),
            "nothing" => {
                let notices = self.policy.due(now);
                self.note(notices)?;
                let told = self.told.first().map(|(at, told)| format!("at {} told and not wanted: {told}", self.clock(*at)));
                return told.map_or(Ok(()), Err);
            }
            "fire" => {
                let alert = self.fire(rest, now)?;
                self.policy.push(alert, now)
            }
            "burst" => self.burst(rest, now)?,
            "push" => {
                let alerts = rest.split(", ").map(|alert| self.fire(alert, now)).collect::<Result<Vec<_>, _>>()?;
                self.policy.push_all(alerts, now)
            }
            "resolve" => {
                let alert = self.resolve(rest, now)?;
                self.policy.push(alert, now)
            }
            "silence" => {
                let silence = self.read_silence(rest, now)?;
                self.policy.silence(silence, now).map_err(|e| e.to_string())?
            }
            "unsilence" => self.policy.unsilence(rest, now).ok_or("no such silence")?,
            "ack" | "unack" => self.ack(verb, rest, now)?,
            "config" => {
                self.config = toml::from_str(block).map_err(|e| e.to_string())?;
                self.policy.configure(self.config.clone(), now).map_err(|e| e.to_string())?
            }
            "restart" => {
                self.restart(now);
                Vec::new()
            }
            "explain" => return self.explain(rest, now),
            _ => return Err(format!("`{verb}`: no such verb")),
        };
        self.note(notices)
    }

    fn note(&mut self, notices: Vec<Notice>) -> Result<(), String> {
        for notice in notices {
            let words = self.words(&notice);
            if !self.ids.insert((notice.channel.clone(), notice.id.clone())) {
                return Err(format!("the id of `{words}` was used before: {}", notice.id));
            }
            if notice.id.contains('.') {
                return Err(format!("the id of `{words}` has a dot: {}", notice.id));
            }
            self.told.push((notice.decided_at, words));
        }
        for (key, row) in self.policy.take_changes() {
            match row {
                Some(row) => self.stored.insert(key, row),
                None => self.stored.remove(&key),
            };
        }
        Ok(())
    }

    /// `discord news! +A -B ~12`
    fn words(&self, notice: &Notice) -> String {
        let kind = match notice.kind {
            NoticeKind::News => "news",
            NoticeKind::Reminder => "reminder",
            NoticeKind::Escalation => "escalation",
            NoticeKind::Digest => "digest",
            kind => return format!("{kind:?}"),
        };
        let mut alerts: Vec<String> =
            notice.alerts.iter().map(|a| format!("{}{}", if a.is_firing() { '+' } else { '-' }, a.id())).collect();
        alerts.sort_by_key(|alert| alert[1..].to_owned());
        let rest = notice.total() - notice.alerts.len() as u64;
        if rest > 0 {
            alerts = vec![format!("~{}", notice.total())];
        }
        format!("{} {kind}{} {}", notice.channel, if notice.is_urgent { "!" } else { "" }, alerts.join(" "))
    }

    fn want(&mut self, now: i64, words: &str) -> Result<(), String> {
        let notices = self.policy.due(now);
        self.note(notices)?;
        match self.told.iter().position(|(at, told)| *at == now && told == words) {
            Some(index) => _ = self.told.remove(index),
            None => {
                let told: Vec<&str> = self.told.iter().map(|(_, told)| told.as_str()).collect();
                return Err(format!("wanted and not told: {words} (told: {})", told.join("; ")));
            }
        }
        Ok(())
    }

    fn fire(&mut self, words: &str, now: i64) -> Result<Alert, String> {
        let mut words = words.split(' ');
        let id = words.next().unwrap_or_default().to_owned();
        let event_type = words.next().and_then(EventType::from_name).ok_or("no such type")?;
        let symbol = words.next().ok_or("no symbol")?;
        let severity = words.next().and_then(severity).ok_or("no severity")?;
        let mut alert = alert(&id, event_type, symbol, severity, now);
        for word in words {
            match word.split_once('=') {
                Some(("venue", venue)) => alert.event.venue = venue.to_owned(),
                Some(("rule", rules)) => alert.rules = rules.split('+').map(str::to_owned).collect(),
                Some((label, value)) => {
                    let name = label.strip_prefix("label.").ok_or_else(|| format!("`{word}`"))?;
                    alert.labels.insert(name.to_owned(), value.to_owned());
                }
                None if word == "correction" => alert.is_correction = true,
                None => return Err(format!("`{word}`")),
            }
        }
        self.alerts.insert(id, alert.clone());
        Ok(alert)
    }

    /// `300 LIQUIDATION_CASCADE warning`: so many alerts of as many symbols, one by one.
    fn burst(&mut self, words: &str, now: i64) -> Result<Vec<Notice>, String> {
        let words: Vec<&str> = words.split(' ').collect();
        let [n, what, how] = words.as_slice() else { return Err("burst N TYPE SEVERITY".into()) };
        let mut notices = Vec::new();
        for i in 0..n.parse::<usize>().map_err(|e| e.to_string())? {
            let alert = self.fire(&format!("b{i} {what} S{i}-USDT-PERP {how}"), now)?;
            notices.extend(self.policy.push(alert, now));
        }
        Ok(notices)
    }

    fn resolve(&mut self, words: &str, now: i64) -> Result<Alert, String> {
        let (id, is_correction) = words.strip_suffix(" correction").map_or((words, false), |id| (id, true));
        let fallback = || alert(id, EventType::LiquidationCascade, "BTC-USDT-PERP", Severity::Warning, now);
        let mut alert = self.alerts.remove(id).unwrap_or_else(fallback);
        alert.event = alert.event.resolved(now, now);
        alert.is_correction = is_correction;
        Ok(alert)
    }

    fn read_silence(&self, words: &str, now: i64) -> Result<Silence, String> {
        let (id, rest) = words.split_once(' ').ok_or("silence ID for …")?;
        let mut silence = Silence {
            id: id.into(),
            matcher: Matcher::default(),
            from: now,
            until: 0,
            author: "anna".into(),
            comment: String::new(),
        };
        let mut words = rest.split(' ');
        while let Some(word) = words.next() {
            match word.split_once('=') {
                None if word == "for" => silence.until = silence.from + length(words.next().unwrap_or_default())?,
                None if word == "from" => silence.from = self.time(words.next().unwrap_or_default())?,
                _ => set(&mut silence.matcher, word)?,
            }
        }
        Ok(silence)
    }

    fn ack(&mut self, verb: &str, words: &str, now: i64) -> Result<Vec<Notice>, String> {
        let (words, until) = match words.split_once(" for ") {
            Some((words, span)) => (words, Some(now + length(span)?)),
            None => (words, None),
        };
        let (target, by) = words.split_once(" by ").unwrap_or((words, "anna"));
        let target = match target.split_once(' ') {
            None => AckTarget::Alert(target.into()),
            Some(("group", name)) => AckTarget::Group(name.into()),
            Some(("matching", what)) => {
                let mut matcher = Matcher::default();
                what.split(' ').try_for_each(|word| set(&mut matcher, word))?;
                AckTarget::Matching(matcher)
            }
            _ => return Err(format!("`{target}`")),
        };
        let (ids, notices) = match verb {
            "ack" => self.policy.ack(&target, by, until, now),
            _ => self.policy.unack(&target, now),
        };
        if ids.is_empty() { Err("nothing was meant".into()) } else { Ok(notices) }
    }

    fn explain(&mut self, words: &str, now: i64) -> Result<(), String> {
        let (alert, want) = words.split_once(": ").ok_or("explain ALERT: …")?;
        let known = self.alerts.clone();
        let alert = self.fire(alert, now)?;
        self.alerts = known;
        let route = self.policy.explain(&alert, now).routes.swap_remove(0);
        let is = match route.when {
            When::Now => format!("now to {}", route.channels.join(", ")),
            When::At(at) => format!("at {} to {}", self.clock(at), route.channels.join(", ")),
            When::Held(until) => format!("held until {}", self.clock(until)),
            When::Muted(by) => format!("muted by {by}"),
            When::Never(why) => format!("never, {why}"),
        };
        if is == want { Ok(()) } else { Err(format!("explained as: {is}")) }
    }

    fn restart(&mut self, now: i64) {
        let rows = self.stored.clone().into_iter();
        self.policy = Policy::restore(self.config.clone(), rows).unwrap();
        let notices = self.policy.due(now);
        assert!(notices.is_empty(), "told by a restart: {notices:?}");
    }

    fn repeat(&mut self, now: i64) {
        let notices = self.policy.push_all(self.alerts.values().cloned().collect::<Vec<_>>(), now);
        self.note(notices).unwrap();
    }

    fn time(&self, text: &str) -> Result<i64, String> {
        match DateTime::parse_from_rfc3339(text) {
            Ok(at) => Ok(at.timestamp_millis()),
            Err(_) => Ok(self.zero + length(text)?),
        }
    }

    fn clock(&self, at: i64) -> String {
        let s = (at - self.zero) / 1_000;
        let ms = (at - self.zero) % 1_000;
        let ms = if ms == 0 { String::new() } else { format!(".{ms:03}") };
        format!("{:02}:{:02}:{:02}{ms}", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// An alert as rules make it.
pub fn alert(id: &str, event_type: EventType, symbol: &str, severity: Severity, at: i64) -> Alert {
    let event = Event {
        id: id.into(),
        event_type,
        status: Status::Firing,
        timestamp: at,
        known_at: at,
        symbol: symbol.into(),
        venue: "binance-usdm".into(),
        severity,
        title: format!("{} {symbol}", event_type.as_str()),
        description: String::new(),
        source: "cascades".into(),
        data: serde_json::Map::from_iter([("velocity".to_owned(), serde_json::json!(0.1 + 0.2))]),
    };
    Alert { event, rules: vec!["default".into()], labels: BTreeMap::new(), chart: None, is_correction: false }
}

fn severity(text: &str) -> Option<Severity> {
    [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|s| s.as_str().eq_ignore_ascii_case(text))
}

fn set(matcher: &mut Matcher, word: &str) -> Result<(), String> {
    let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}`"))?;
    match name {
        "symbols" => matcher.symbols = vec![value.into()],
        "venues" => matcher.venues = vec![value.into()],
        "rules" => matcher.rules = vec![value.into()],
        "types" => matcher.event_types = vec![EventType::from_name(value).ok_or("no such type")?],
        "severity_min" => matcher.severity_min = severity(value),
        _ => return Err(format!("`{word}`")),
    }
    Ok(())
}

/// `01:02:03` or `01:02:03.250`
fn length(text: &str) -> Result<i64, String> {
    let (clock, ms) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<i64> =
        clock.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| format!("`{text}` is no time"))?;
    let [h, m, s] = parts.as_slice() else { return Err(format!("`{text}` is no time")) };
    Ok(((h * 60 + m) * 60 + s) * 1_000 + ms.parse::<i64>().map_err(|e| e.to_string())?)
}
