//! A recorded REST answer: the URL, a space, the body.

/// What was asked, and the answer.
pub(super) struct Answer<'a> {
    /// `/fapi/v1/klines`; empty where the recorder did not keep the URL.
    pub path: &'a str,
    query: &'a str,
    pub body: &'a str,
}

/// Splits a payload.
pub(super) fn answer(payload: &str) -> Answer<'_> {
    if payload.starts_with(['{', '[']) {
        return Answer { path: "", query: "", body: payload };
    }
    let (url, body) = payload.split_once(' ').unwrap_or((payload, ""));
    let after_host = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    let (path, query) = after_host.split_once('?').unwrap_or((after_host, ""));
    Answer { path, query, body }
}

impl Answer<'_> {
    /// A parameter of the URL, percent-decoded.
    pub fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        let value = self.query.split('&').find_map(|p| p.split_once('=').filter(|(n, _)| *n == name))?.1;
        let mut bytes = Vec::with_capacity(value.len());
        let mut rest = value.as_bytes();
        while let [first, after @ ..] = rest {
            let decoded = match (first, after) {
                (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| h * 16 + l),
                _ => None,
            };
            bytes.push(decoded.unwrap_or(*first));
            rest = if decoded.is_some() { &after[2..] } else { after };
        }
        Some(bytes)
    }
}

/// One hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}
