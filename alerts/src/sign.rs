//! Standard Webhooks 1.0.0: a message's id, the time of the attempt and its body, signed with HMAC-SHA256.
//!
//! While a secret is being replaced there are two: both sign, the signatures stand side by side, and a receiver accepts
//! the message if it knows either. A [`Secret`] can't be printed; that it is wiped from memory is not promised.

use std::fmt;
use std::path::Path;

use standardwebhooks::Webhook as Signer;

/// Longest secret file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// A signing secret.
pub struct Secret(Signer);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Why a secret can't be used. No variant holds the secret.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SecretError {
    #[error("read the signing secret from {path}: {source}; check the path and its permissions")]
    File { path: String, source: std::io::Error },
    #[error("read the signing secret from {path}: more than {FILE_BYTES_MAX} bytes; the file holds one secret and nothing else")]
    FileTooLong { path: String },
    #[error("read the signing secret from the environment variable {name}: it is not set; set it or use secret_file")]
    Unset { name: String },
    #[error("read the signing secret: it is not `whsec_` and base64; make one with `echo whsec_$(openssl rand -base64 32)`")]
    NotBase64,
    #[error("read the signing secret: its key has {bytes} bytes; it must have 24 to 64")]
    Length { bytes: usize },
}

impl Secret {
    /// Reads `whsec_` and base64 of 24 to 64 bytes. The prefix may be absent; space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        use base64::Engine as _;
        let text = text.trim();
        let key = base64::engine::general_purpose::STANDARD
            .decode(text.strip_prefix("whsec_").unwrap_or(text))
            .map_err(|_| SecretError::NotBase64)?;
        if !(24..=64).contains(&key.len()) {
            return Err(SecretError::Length { bytes: key.len() });
        }
        Ok(Self(Signer::from_bytes(key).map_err(|_| SecretError::NotBase64)?))
    }

    /// Reads a file that holds one secret.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        use std::io::Read as _;
        let failed = |source| SecretError::File { path: path.display().to_string(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(SecretError::FileTooLong { path: path.display().to_string() });
        }
        Self::parse(&text)
    }

    /// Reads an environment variable.
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Unset { name: name.to_owned() })?;
        Self::parse(&text)
    }
}

/// The value of `webhook-signature`: one `v1,…` for each secret, newest first as given, separated by spaces.
///
/// `id` must not contain a dot; the ids that this crate makes don't. Without secrets the result is empty.
#[must_use]
pub fn signature(secrets: &[Secret], id: &str, timestamp_secs: i64, body: &str) -> String {
    debug_assert!(!id.contains('.'), "a dot in the id would make the signed content ambiguous");
    // `sign` fails only on a body that is not UTF-8.
    let signatures = secrets.iter().filter_map(|s| s.0.sign(id, timestamp_secs, body.as_bytes()).ok());
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|s| Secret::parse(s).unwrap()).collect();
        signature(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_test_vector_of_the_specification() {
        assert_eq!(sign(&[SECRET]), SIGNED);
        assert_eq!(sign(&[&format!(" {}\n", SECRET.trim_start_matches("whsec_"))]), SIGNED);
    }

    #[test]
    fn every_secret_signs_while_one_is_being_replaced() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let both = sign(&[other, SECRET]);
        assert_eq!(both, format!("{} {SIGNED}", sign(&[other])));
        assert_ne!(sign(&[other]), SIGNED);
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::parse(SECRET).unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(redacted) Some(Secret(redacted))");
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_told() {
        let check = |text: &str, message: &str| {
            let error = Secret::parse(text).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains(message), "{told}");
            assert!(text.is_empty() || !told.contains(text.trim_start_matches("whsec_")), "{told}");
        };
        check("", "0 bytes");
        check("whsec_c2hvcnQ=", "5 bytes");
        check("whsec_not base64!", "not `whsec_` and base64");
        check(&format!("whsec_{}", "QUFB".repeat(22)), "66 bytes");
    }

    #[test]
    fn a_secret_comes_from_a_file_or_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{SECRET}\n")).unwrap();
        assert_eq!(
            signature(&[Secret::from_file(&path).unwrap()], "a", 1, "b"),
            signature(&[Secret::parse(SECRET).unwrap()], "a", 1, "b")
        );
        std::fs::write(&path, "A".repeat(5_000)).unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::FileTooLong { .. })));
        assert!(Secret::from_file(&dir.path().join("absent")).unwrap_err().to_string().contains("absent"));
        assert!(matches!(Secret::from_env("REGIMEFLOW_NO_SUCH_SECRET"), Err(SecretError::Unset { .. })));
    }
}
