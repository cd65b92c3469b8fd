//! The secret that changes of state need.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use rand_core::{OsRng, RngCore};
use subtle::ConstantTimeEq;

use super::ApiError;
use crate::files::{Access, create_durably};

/// Random bytes of a new token; it is written as twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// Shortest token that is taken from a file, in characters.
const MIN_CHARACTERS: usize = 16;
/// Longest one; a longer file is surely not a token.
const MAX_CHARACTERS: usize = 512;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can not be read or made.
    #[error("the token file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("the token file {path} can be read by others (mode {mode:o}); run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is in it is no token.
    #[error(
        "the token file {0} holds no token: expected {MIN_CHARACTERS} to {MAX_CHARACTERS} visible ASCII characters; remove it to get a new one"
    )]
    Content(PathBuf),
}

/// A bearer token. It is never shown: not by `Debug`, not in an answer.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token in this file; a new one, for the owner alone, if there is no such file.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        let file = |source| TokenError::File { path: path.to_owned(), source };
        let mut bytes = [0; TOKEN_BYTES];
        OsRng.try_fill_bytes(&mut bytes).map_err(|error| file(io::Error::other(error.to_string())))?;
        let new: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match create_durably(path, format!("{new}\n").as_bytes(), Access::Secret) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "made a token for the HTTP API");
                return Ok(Self(new));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(file(error)),
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).map_err(file)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(TokenError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
            }
        }
        let length = fs::metadata(path).map_err(file)?.len();
        let text =
            if length > MAX_CHARACTERS as u64 + 2 { String::new() } else { fs::read_to_string(path).map_err(file)? };
        let text = text.trim();
        let fits =
            (MIN_CHARACTERS..=MAX_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(TokenError::Content(path.to_owned())) }
    }

    /// Whether this is it. Takes as long for a wrong one as for the right one.
    pub fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

/// That a request came with the token; an argument of handlers that change something.
#[derive(Clone, Copy, Debug)]
pub struct Authorized(());

impl<S: Send + Sync> FromRequestParts<S> for Authorized
where
    Token: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer") && Token::from_ref(state).is(token.trim()) =>
            {
                Ok(Self(()))
            }
            _ => Err(ApiError::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_for_its_owner_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.token");
        let token = Token::load_or_create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(token.is(text.trim()) && text.trim().len() == 64);
        assert!(!token.is("") && !token.is(&text.trim()[1..]));
        assert!(!format!("{token:?}").contains(&text[..8]));
        let again = Token::load_or_create(&path).unwrap();
        assert!(again.is(text.trim()), "kept");
    }

    #[test]
    fn a_file_that_is_open_to_others_or_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.token");
        create_durably(&path, b"0123456789abcdef\n", Access::Secret).unwrap();
        assert!(Token::load_or_create(&path).unwrap().is("0123456789abcdef"), "the shortest one");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Token::load_or_create(&path), Err(TokenError::Exposed { mode: 0o640, .. })));
        for content in ["0123456789abcde", "hunter2 hunter2 hunter2", &"x".repeat(513), &"x".repeat(1 << 20)] {
            fs::remove_file(&path).unwrap();
            create_durably(&path, content.as_bytes(), Access::Secret).unwrap();
            let error = Token::load_or_create(&path).unwrap_err();
            assert!(matches!(error, TokenError::Content(_)) && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
