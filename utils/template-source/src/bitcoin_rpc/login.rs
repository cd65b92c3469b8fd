//! How to log in at a node. No secret leaves this file but in the header of a request.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// Longest cookie or password file, in bytes. Bitcoin Core's cookie has 75.
pub const MAX_SECRET_FILE: u64 = 1024;

/// A text that nobody is to see; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// The error does not show what was there instead of text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer) {
            Ok(secret) => Ok(Self::new(secret)),
            Err(_) => Err(serde::de::Error::custom("expected the secret as text, in quotes")),
        }
    }
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The file that the node writes anew at each start, by default `.cookie` in the folder of its chain.
    CookieFile(PathBuf),
    /// `-rpcuser` and `-rpcpassword`, or what `-rpcauth` was made of.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// The same, with the password in a file, where a line end at its end does not count.
    PasswordFile {
        /// The name.
        user: String,
        /// The file.
        file: PathBuf,
    },
}

/// A file with a secret can not be used. What is in it is not shown.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadSecretFile {
    path: PathBuf,
    problem: String,
}

impl Login {
    /// The value of the header `Authorization` (RFC 7617). Reads the file, where there is one.
    pub(super) fn header(&self) -> Result<HeaderValue, BadSecretFile> {
        let login = match self {
            Self::CookieFile(path) => {
                let cookie = read(path, "is the node running, and is this its cookie file?")?;
                Zeroizing::new(cookie.trim_end_matches(['\r', '\n']).to_owned())
            }
            Self::Password { user, password } => Zeroizing::new(format!("{user}:{}", *password.0)),
            Self::PasswordFile { user, file } => {
                let password = read(file, "it must hold the password alone")?;
                Zeroizing::new(format!("{user}:{}", password.trim_end_matches(['\r', '\n'])))
            }
        };
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(login.as_bytes())));
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| BadSecretFile { path: PathBuf::from("login"), problem: "can not be sent".to_owned() })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn read(path: &Path, hint: &str) -> Result<Zeroizing<String>, BadSecretFile> {
    let bad = |problem: String| BadSecretFile { path: path.to_owned(), problem };
    let mut text = Zeroizing::new(String::new());
    let mut file = fs::File::open(path).map_err(|error| bad(format!("{error}; {hint}")))?.take(MAX_SECRET_FILE + 1);
    let read = file.read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => bad(format!("it is no text; {hint}")),
        _ => bad(format!("{error}; {hint}")),
    })?;
    if read as u64 > MAX_SECRET_FILE {
        return Err(bad(format!("it has over {MAX_SECRET_FILE} bytes; {hint}")));
    }
    if text.trim().is_empty() {
        return Err(bad(format!("it is empty; {hint}")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(login: &Login) -> String {
        login.header().unwrap().to_str().unwrap().to_owned()
    }

    fn file(contents: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cookie");
        fs::write(&path, contents).unwrap();
        (folder, path)
    }

    #[test]
    fn each_way_makes_the_same_header() {
        const HEADER: &str = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        let login = Login::Password { user: "Aladdin".into(), password: Secret::new("open sesame") };
        assert_eq!(text(&login), HEADER);
        let (_folder, path) = file(b"Aladdin:open sesame");
        assert_eq!(text(&Login::CookieFile(path)), HEADER);
        let (_folder, path) = file(b"open sesame\r\n");
        assert_eq!(text(&Login::PasswordFile { user: "Aladdin".into(), file: path }), HEADER);
    }

    #[test]
    fn secrets_do_not_show() {
        let login = Login::Password { user: "alice".into(), password: Secret::new("hunter2") };
        assert!(format!("{login:?}").contains("alice"));
        assert!(!format!("{login:?}").contains("hunter2"));
        assert!(!format!("{:?}", login.header().unwrap()).contains("Basic"));
        let error = serde_json::from_str::<Secret>("4711").unwrap_err().to_string();
        assert!(error.contains("in quotes") && !error.contains("4711"), "{error}");
    }

    #[test]
    fn files_have_a_bound_and_errors_say_nothing_of_them() {
        let most = usize::try_from(MAX_SECRET_FILE).unwrap();
        let (_folder, path) = file(&vec![b'x'; most]);
        assert!(Login::CookieFile(path).header().is_ok());
        for contents in [vec![b'x'; most + 1], vec![], b"\n".to_vec(), vec![0xff, b'x', b'x']] {
            let (_folder, path) = file(&contents);
            let error = Login::CookieFile(path).header().unwrap_err().to_string();
            assert!(error.contains(".cookie") && !error.contains("xx"), "{error}");
        }
        let error = Login::CookieFile("missing/.cookie".into()).header().unwrap_err().to_string();
        assert!(error.contains("is the node running"), "{error}");
    }
}
