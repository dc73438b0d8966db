//! What an attempt would send, for people: the request with everything secret masked.

use std::fmt::Write as _;

use serde_json::Value;

use super::fit::grouped;
use super::http::{Post, origin};

/// `png` is its length in bytes.
pub(super) fn preview(post: &Post, body: &Value, png: Option<usize>) -> String {
    let mut text = format!("POST {}\n", origin(&post.url));
    // Writing into a string can't fail.
    let content_type = post.content_type.split(';').next().unwrap_or_default();
    let _ = writeln!(text, "content-type: {content_type}");
    for (name, value) in &post.headers {
        let value = if *name == "webhook-signature" { "v1,…" } else { value };
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "\n{body:#}");
    if let Some(bytes) = png {
        let _ = writeln!(text, "\n<png {} bytes>", grouped(bytes as u64));
    }
    text
}
