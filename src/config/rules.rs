//! What one key demands of another, and what a type can't say: addresses, names of streams, order of bounds.

use std::collections::HashMap;

use dataflows::model;

use super::document::{Places, suggestion};
use crate::training::BARS_PER_PARAMETER;

use super::{Config, Correlation, Feed, Funding, Store, Views, Volatility, Webhook, redact};

const BINANCE_STREAMS: [&str; 6] = ["trades", "aggTrades", "klines", "mark", "liquidations", "open_interest"];
const BYBIT_STREAMS: [&str; 6] = ["trades", "klines", "tickers", "mark", "open_interest", "liquidations"];

/// A venue's feed, as far as its configuration goes.
struct FeedRules {
    key: &'static str,
    streams: &'static [&'static str],
    /// Whether a name is the venue's own for a stream.
    own: fn(&str) -> bool,
}

const BINANCE: FeedRules = FeedRules { key: "feeds.binance_usdm", streams: &BINANCE_STREAMS, own: |name| name.starts_with('@') };
const BYBIT: FeedRules = FeedRules { key: "feeds.bybit_linear", streams: &BYBIT_STREAMS, own: |name| name.contains('.') };

/// Reports what is wrong or doubtful.
pub fn check(config: &Config, places: &mut Places) {
    time(config, places);
    boundaries(config.views.volatility.boundaries, config.views.volatility.hysteresis, places);
    history(&config.views.volatility, places);
    funding(&config.views.funding, places);
    correlation(&config.views.correlation, places);
    if 60_000 % config.views.lead_lag.bucket_ms.max(1) != 0 {
        let message = format!("{} does not divide a minute", config.views.lead_lag.bucket_ms);
        places.error("views.lead_lag.bucket_ms", message, "windows end with full minutes: take 50, 100, 200, 500, 1000");
    }
    duplicates("views.lead_lag.symbols", &config.views.lead_lag.symbols, places);
    regimes(&config.views, places);
    training(config, places);
    store(&config.store, places);
    webhooks(&config.webhooks, places);
    super::alerts::check(config, places);
    let feeds = [(BINANCE, &config.feeds.binance_usdm), (BYBIT, &config.feeds.bybit_linear)];
    for (rules, feed) in feeds.into_iter().filter_map(|(rules, feed)| Some((rules, feed.as_ref()?))) {
        rules.check(feed, places);
    }
}

fn time(config: &Config, places: &mut Places) {
    let time = &config.time;
    if time.correction_horizon_ms < time.lateness_ms {
        let message = format!("{} is below lateness_ms, {}", time.correction_horizon_ms, time.lateness_ms);
        places.error("time.correction_horizon_ms", message, "an event that is not late yet must still be applied: raise it");
    }
    if time.skew_ms_max > 0 && time.skew_ms_max < time.lateness_ms {
        let message = format!("{} is below lateness_ms, {}", time.skew_ms_max, time.lateness_ms);
        places.error("time.skew_ms_max", message, "events that are only late would be refused: raise it, or 0 for no check");
    }
}

fn boundaries(bounds: [f64; 3], hysteresis: f64, places: &mut Places) {
    const KEY: &str = "views.volatility.boundaries";
    if !bounds.windows(2).all(|w| w[0] < w[1]) {
        places.error(KEY, format!("{bounds:?} does not rise"), "give the upper bounds of STABLE, HIGH_VOL, EXPLOSIVE in order");
    } else if bounds.windows(2).any(|w| w[0] * (1.0 + hysteresis) >= w[1] * (1.0 - hysteresis)) {
        let message = format!("the bands of {bounds:?} overlap at a hysteresis of {hysteresis}");
        places.warning(KEY, message, "a regime between them is hard to enter: spread them or lower the hysteresis");
    }
}

fn history(volatility: &Volatility, places: &mut Places) {
    let Volatility { quantiles, history_days, history_days_min, .. } = volatility;
    if !quantiles.windows(2).all(|w| w[0] < w[1]) {
        let hint = "give the shares below the upper bounds of STABLE, HIGH_VOL, EXPLOSIVE in order";
        places.error("views.volatility.quantiles", format!("{quantiles:?} does not rise"), hint);
    }
    if history_days_min > history_days {
        let message = format!("{history_days_min} is above history_days, {history_days}");
        places.error("views.volatility.history_days_min", message, "more days than are remembered can't be there: lower it");
    }
}

fn funding(funding: &Funding, places: &mut Places) {
    for (key, limit) in [("anomaly_z", funding.anomaly_z), ("deviation_z", funding.deviation_z)] {
        if funding.clear_z > limit {
            let message = format!("{} is above {key}, {limit}", funding.clear_z);
            places.error("views.funding.clear_z", message, "what has begun would be over at once: lower it");
        }
    }
}

fn correlation(correlation: &Correlation, places: &mut Places) {
    let Correlation { long, short, breaks, baseline_days, baseline_days_min, .. } = correlation;
    if long.window_minutes == short.window_minutes {
        let message = format!("both horizons are {} minutes long", long.window_minutes);
        places.error("views.correlation.short.window_minutes", message, "rows are told apart by it: choose another");
    }
    if baseline_days_min > baseline_days {
        let message = format!("{baseline_days_min} is above baseline_days, {baseline_days}");
        places.error("views.correlation.baseline_days_min", message, "no pair would ever have a baseline: lower it");
    }
    if breaks.clear_sd > breaks.fall_sd {
        let message = format!("{} is above fall_sd, {}", breaks.clear_sd, breaks.fall_sd);
        places.error("views.correlation.breaks.clear_sd", message, "a break would be over before it began: lower it");
    }
}

fn regimes(views: &Views, places: &mut Places) {
    let regimes = &views.regimes;
    if let Some(frame) = regimes.timeframes.iter().find(|frame| !views.features_timeframes.contains(frame)) {
        let message = format!("`{}` is not in features_timeframes", model::Timeframe::from(*frame).as_str());
        places.error("views.regimes.timeframes", message, "models read features: add it there, or leave it out here");
    }
    for (frame, weight) in &regimes.confirmation_weights {
        if model::Timeframe::from_name(frame).is_none() {
            let message = format!("`{frame}` is not a time frame");
            places.error("views.regimes.confirmation_weights", message, "write 1m, 5m, 15m, 1h, 4h, 1d or 1w");
        }
        if !(weight.is_finite() && *weight > 0.0) {
            let message = format!("the weight of `{frame}` is {weight}");
            places.error("views.regimes.confirmation_weights", message, "give a number above 0, or leave it out");
        }
    }
    let bounds = [
        ("views.regimes.leave", regimes.leave, "enter", regimes.enter),
        ("views.regimes.confirmation_leave", regimes.confirmation_leave, "confirmation_enter", regimes.confirmation_enter),
    ];
    for (key, leave, name, enter) in bounds {
        if leave > enter {
            places.error(key, format!("{leave} is above {name}, {enter}"), "what has begun would be over at once: lower it");
        }
    }
}

fn training(config: &Config, places: &mut Places) {
    let (training, regimes) = (&config.training, &config.views.regimes);
    if let Some(frame) = training.timeframes.iter().find(|frame| !regimes.timeframes.contains(frame)) {
        let message = format!("`{}` is not in views.regimes.timeframes", model::Timeframe::from(*frame).as_str());
        places.error("training.timeframes", message, "its models would never speak: add it there, or leave it out here");
    }
    match training.settings(regimes.enter, regimes.leave) {
        Err(error) => places.error("training.features", error.to_string(), ""),
        Ok(settings) => {
            let needed = BARS_PER_PARAMETER * settings.parameters();
            if training.bars_max < needed {
                let message =
                    format!("{} is below the {needed} that {} parameters need", training.bars_max, settings.parameters());
                places.error("training.bars_max", message, "raise it, or take fewer states or features");
            }
        }
    }
    if training.enabled && config.store.location == "none" {
        places.error("training.enabled", "there is no store to read features from".into(), "name a store, or turn it off");
    }
}

fn store(store: &Store, places: &mut Places) {
    let shown = redact::location(&store.location);
    let server = store.location.contains("://");
    if server {
        address("store.location", &store.location, ["http", "https"], places);
        let url = url::Url::parse(&store.location).ok();
        if url.is_some_and(|url| url.password().is_some()) {
            let hint = "a configuration file is no place for it: use user and password_file";
            places.error("store.location", format!("{shown} has its password inside"), hint);
        }
    }
    for (name, set) in [("user", store.user.is_some()), ("password_file", store.password_file.is_some())] {
        if set && !server {
            let message = format!("has no effect: {shown} is not a server");
            places.warning(&format!("store.{name}"), message, "leave it out, or set location to http://host:8123");
        }
    }
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !store.database.starts_with(first) || !store.database.chars().all(|c| first(c) || c.is_ascii_digit()) {
        places.error("store.database", format!("{:?} is not a database's name", store.database), "use letters, digits and _");
    }
}

fn webhooks(webhooks: &[Webhook], places: &mut Places) {
    let mut names = HashMap::new();
    for (n, webhook) in webhooks.iter().enumerate() {
        let key = format!("webhooks[{n}]");
        address(&format!("{key}.url"), &webhook.url, ["http", "https"], places);
        if let Some(first) = names.insert(webhook.name.as_str(), n) {
            let message = format!("{:?} is the name of webhooks[{first}] too", webhook.name);
            places.error(&format!("{key}.name"), message, "each needs its own");
        }
        if webhook.secret_file.is_none() && webhook.secret_env.is_none() {
            let message = format!("{:?} has no secret: its messages are not signed", webhook.name);
            places.warning(&key, message, "set secret_file or secret_env");
        }
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(name) = webhook.secret_env.as_deref().filter(|name| name.is_empty() || !name.chars().all(in_name)) {
            // Somebody may have put the secret itself here: it is not repeated.
            let message = format!("its {} characters are not a variable's name", name.chars().count());
            places.error(&format!("{key}.secret_env"), message, "name the environment variable that holds the secret");
        }
        duplicates(&format!("{key}.event_types"), &webhook.event_types, places);
    }
}

impl FeedRules {
    fn check(&self, feed: &Feed, places: &mut Places) {
        let key = self.key;
        if feed.symbols.is_empty() {
            places.error(&format!("{key}.symbols"), "names no symbol".into(), r#"name at least one: symbols = ["BTCUSDT"]"#);
        }
        for (n, symbol) in feed.symbols.iter().enumerate() {
            Self::symbol(&format!("{key}.symbols[{n}]"), symbol, places);
        }
        duplicates(&format!("{key}.symbols"), &feed.symbols, places);
        for symbol in feed.weights.keys().filter(|symbol| !feed.symbols.contains(symbol)) {
            let message = format!("{symbol} is not among symbols");
            places.error(&format!("{key}.weights.{symbol}"), message, "give weights to symbols that are listened to");
        }
        for (n, name) in feed.streams.iter().enumerate() {
            self.stream(&format!("{key}.streams[{n}]"), name, places);
        }
        duplicates(&format!("{key}.streams"), &feed.streams, places);
        for name in feed.silence_ms.keys() {
            self.stream(&format!("{key}.silence_ms.{name}"), name, places);
        }
        if let Some(url) = &feed.ws_url {
            address(&format!("{key}.ws_url"), url, ["ws", "wss"], places);
        }
        if let Some(url) = &feed.rest_url {
            address(&format!("{key}.rest_url"), url, ["http", "https"], places);
        }
        if feed.backoff_ms_min > feed.backoff_ms_max {
            let message = format!("{} is above backoff_ms_max, {}", feed.backoff_ms_min, feed.backoff_ms_max);
            places.error(&format!("{key}.backoff_ms_min"), message, "the first pause can't be longer than the longest");
        }
        if feed.rotate_overlap_ms >= feed.rotate_after_ms {
            let message = format!("{} is not below rotate_after_ms, {}", feed.rotate_overlap_ms, feed.rotate_after_ms);
            places.error(&format!("{key}.rotate_overlap_ms"), message, "a connection must live longer than it overlaps the next");
        }
    }

    fn symbol(key: &str, symbol: &str, places: &mut Places) {
        let usual = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if symbol.chars().all(usual) && !symbol.contains(|c: char| c.is_ascii_lowercase()) {
            return;
        }
        let upper: String = symbol.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_uppercase();
        let hint =
            if upper.is_empty() { "write it as the venue does: `BTCUSDT`".into() } else { format!("did you mean `{upper}`?") };
        places.error(key, format!("{symbol:?} is not how the venue writes a symbol"), &hint);
    }

    fn stream(&self, key: &str, name: &str, places: &mut Places) {
        if !self.streams.contains(&name) && !(self.own)(name) {
            places.error(key, format!("there is no stream {name:?} here"), &suggestion(name, self.streams));
        }
    }
}

pub(super) fn address(key: &str, text: &str, schemes: [&str; 2], places: &mut Places) {
    let wanted = format!("write {}://host/…", schemes[1]);
    match url::Url::parse(text) {
        Ok(url) if !schemes.contains(&url.scheme()) => {
            let message = format!("is an address of kind `{}`, must be {} or {}", url.scheme(), schemes[0], schemes[1]);
            places.error(key, message, &wanted);
        }
        Ok(_) => {}
        Err(e) => places.error(key, format!("is not an address ({e})"), &wanted),
    }
}

pub(super) fn duplicates(key: &str, names: &[String], places: &mut Places) {
    let mut seen = HashMap::new();
    for (n, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name.as_str(), n) {
            places.error(&format!("{key}[{n}]"), format!("{name:?} is there already, at {first}"), "leave one of them out");
        }
    }
}
