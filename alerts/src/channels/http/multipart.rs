//! `multipart/form-data` (RFC 7578) for a few parts in memory.
//!
//! The boundary is a hash of the parts: the same message has the same bytes, and no part can contain its own boundary.

use sha2::{Digest, Sha256};

/// A part of a form.
pub(crate) struct Part<'a> {
    /// The field's name; ours, without quotes or line breaks. So is the file's.
    pub(crate) name: &'a str,
    pub(crate) file_name: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// The content type and the body.
pub(crate) fn form(parts: &[Part<'_>]) -> (String, Vec<u8>) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.body.len() as u64).to_le_bytes());
        hash.update(part.body);
    }
    let boundary = hash.finalize()[..16].iter().fold("regimeflow-".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.body.len() + 256).sum());
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", part.name).as_bytes());
        if let Some(file_name) = part.file_name {
            body.extend_from_slice(format!("; filename=\"{file_name}\"").as_bytes());
        }
        if let Some(content_type) = part.content_type {
            body.extend_from_slice(format!("\r\nContent-Type: {content_type}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(part.body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_as_it_is_sent() {
        let parts = [
            Part { name: "payload_json", file_name: None, content_type: Some("application/json"), body: b"{}" },
            Part { name: "files[0]", file_name: Some("chart.png"), content_type: Some("image/png"), body: b"\x89PNG" },
        ];
        let (content_type, body) = form(&parts);
        let boundary = content_type.trim_start_matches("multipart/form-data; boundary=");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\
                        --B\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"chart.png\"\r\nContent-Type: image/png\r\n\r\n\
                        ?PNG\r\n--B--\r\n";
        assert_eq!(String::from_utf8_lossy(&body).replace(boundary, "B").replace('\u{fffd}', "?"), expected);
        assert_eq!(form(&parts), form(&parts));
        assert_ne!(form(&parts[..1]).0, content_type);
    }
}
