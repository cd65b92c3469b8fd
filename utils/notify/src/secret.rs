//! The key that a webhook is signed with.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

/// Longest secret file, in bytes.
pub const MAX_SECRET_FILE: u64 = 1024;

/// Shortest secret, in bytes; a shorter one could be guessed.
pub const MIN_SECRET: usize = 16;

/// What stands before a secret in base64, as libraries for Standard Webhooks write it.
const PREFIX: &str = "whsec_";

/// A file with a secret can not be used. What is in it is not shown.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadSecretFile {
    path: PathBuf,
    problem: String,
}

/// Signs what is sent, by the rules of Standard Webhooks.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(hidden)")
    }
}

impl SigningKey {
    /// Reads `whsec_` and base64, or any other text of one line, whose bytes are the key then.
    ///
    /// # Errors
    /// When the file can not be read, others may read it, or what it holds is too short, too long or no base64.
    pub fn load(path: &Path) -> Result<Self, BadSecretFile> {
        let bad = |problem: String| BadSecretFile { path: path.to_owned(), problem };
        let system = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => bad("expected text".to_owned()),
            _ => bad(error.to_string()),
        };
        let file = fs::File::open(path).map_err(system)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().map_err(system)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let path = path.display();
                return Err(bad(format!("others may read it (mode {mode:o}); run `chmod 600 {path}`")));
            }
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text).map_err(system)?;
        if text.len() as u64 > MAX_SECRET_FILE {
            return Err(bad(format!("it has over {MAX_SECRET_FILE} bytes")));
        }
        Self::parse(text.trim()).map_err(|problem| bad(problem.to_owned()))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let secret = match text.strip_prefix(PREFIX) {
            Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| "expected base64 after whsec_")?,
            None => text.as_bytes().to_vec(),
        };
        let secret = Zeroizing::new(secret);
        if secret.len() < MIN_SECRET {
            return Err("the secret is too short: expected at least 16 bytes");
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The value of the header `webhook-signature`: HMAC-SHA256 over `id.seconds.body`, in base64.
    pub fn sign(&self, id: &str, at: Duration, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{}.", at.as_secs()).as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(contents: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", Duration::from_secs(1_614_265_330), body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_text_or_base64() {
        let (_folder, raw) = file(b"correct horse battery staple\n", 0o600);
        let (_other, encoded) = file(b"whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==", 0o400);
        let sign = |path: &Path| SigningKey::load(path).unwrap().sign("a", Duration::ZERO, b"b");
        assert_eq!(sign(&raw), sign(&encoded));
        assert!(!format!("{:?}", SigningKey::load(&raw).unwrap()).contains("horse"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_and_what_is_in_it_is_not() {
        let most = usize::try_from(MAX_SECRET_FILE).unwrap();
        let (_folder, path) = file(&vec![b'x'; most], 0o600);
        assert!(SigningKey::load(&path).is_ok());
        let (_folder, path) = file(&[b'x'; MIN_SECRET], 0o600);
        assert!(SigningKey::load(&path).is_ok());
        for (contents, mode, problem) in [
            (vec![b'x'; most + 1], 0o600, "over 1024"),
            (vec![b'x'; MIN_SECRET - 1], 0o600, "too short"),
            (vec![], 0o600, "too short"),
            (b"whsec_xxxxxxxxxxxxxxxxxxxxxxx*".to_vec(), 0o600, "base64"),
            (vec![0xff; 20], 0o600, "text"),
            (vec![b'x'; 32], 0o640, "chmod 600"),
        ] {
            let (_folder, path) = file(&contents, mode);
            let error = SigningKey::load(&path).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("xxx"), "{error}");
        }
    }
}
