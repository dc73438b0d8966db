//! The configuration as it may be shown: without what lets a reader post or log in.
//!
//! A webhook's URL is often the whole secret, so only its origin is shown. Secrets themselves never enter the
//! configuration, only the names of the files and variables that hold them.

use super::Config;

/// The same configuration, fit to be printed.
#[must_use]
pub fn redacted(config: &Config) -> Config {
    let mut shown = config.clone();
    shown.store.location = location(&shown.store.location);
    for webhook in &mut shown.webhooks {
        webhook.url = url(&webhook.url);
    }
    if let Some(heartbeat) = &mut shown.alerts.heartbeat {
        heartbeat.url = heartbeat.url.as_deref().map(url);
    }
    for channel in &mut shown.alerts.channels {
        channel.url = channel.url.as_deref().map(url);
        channel.api_url = channel.api_url.as_deref().map(url);
    }
    for feed in [&mut shown.feeds.binance_usdm, &mut shown.feeds.bybit_linear].into_iter().flatten() {
        feed.ws_url = feed.ws_url.as_deref().map(location);
        feed.rest_url = feed.rest_url.as_deref().map(location);
    }
    shown
}

/// A URL's origin: `https://hooks.example.com/…`.
#[must_use]
pub fn url(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(url) if url.has_host() => format!("{}://{}{}/…", url.scheme(), url.host_str().unwrap_or_default(), port(&url)),
        _ => "…".to_owned(),
    }
}

/// A directory as it is; a URL without user, password and query.
#[must_use]
pub fn location(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    match url::Url::parse(text) {
        Ok(url) if url.username().is_empty() && url.password().is_none() && url.query().is_none() => text.to_owned(),
        Ok(url) => format!("{}://{}{}{}", url.scheme(), url.host_str().unwrap_or_default(), port(&url), url.path()),
        Err(_) => "…".to_owned(),
    }
}

fn port(url: &url::Url) -> String {
    url.port().map(|port| format!(":{port}")).unwrap_or_default()
}
