//! A server's identity: the authority's key file, and certificates that renew themselves.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use noise_sv2::{AuthorityPublicKey, AuthoritySecretKey, ServerIdentity, Validity};
use rand_core::OsRng;

use crate::{
    files::{Access, create_durably, exposed_mode},
    key_log::KeyLog,
};

/// Certificates begin this long before they are made, for clients whose clock is late.
pub const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Why there is no authority key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file can not be read or made.
    #[error("authority key {path}: {source}; make one with `stratum keygen --out {path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("authority key {path}: expected the text that `stratum keygen` wrote: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the key.
        reason: String,
    },
    /// Others may read the key.
    #[error("authority key {path}: others may read it (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Reads the secret authority key. A file that others may read is refused.
///
/// # Errors
/// See [`KeyFileError`]; the key itself is in none of them.
pub fn load_authority_key(path: &Path) -> Result<AuthoritySecretKey, KeyFileError> {
    let file = |source| KeyFileError::File { path: path.to_owned(), source };
    if let Some(mode) = exposed_mode(path).map_err(file)? {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(file)?;
    text.trim()
        .parse()
        .map_err(|e: noise_sv2::KeyError| KeyFileError::Content { path: path.to_owned(), reason: e.to_string() })
}

/// Makes a new authority key in a new file that only its owner may read, and returns the public half.
///
/// # Errors
/// [`KeyFileError::File`], also when the file exists: no key is ever overwritten.
pub fn create_authority_key(path: &Path) -> Result<AuthorityPublicKey, KeyFileError> {
    let file = |source| KeyFileError::File { path: path.to_owned(), source };
    let key = AuthoritySecretKey::generate(&mut OsRng).map_err(|e| file(io::Error::other(e.to_string())))?;
    let text = key.to_base58();
    create_durably(path, text.as_bytes(), Access::Secret).map_err(file)?;
    Ok(key.public_key())
}

/// Makes certificates and renews them at half of their validity.
#[derive(Debug)]
pub struct Identity {
    authority: AuthoritySecretKey,
    validity: Duration,
    current: Mutex<Option<(Duration, Arc<ServerIdentity>)>>,
    key_log: Option<Arc<KeyLog>>,
}

impl Identity {
    /// An identity under this authority, with certificates that are valid so long.
    pub fn new(authority: AuthoritySecretKey, validity: Duration) -> Self {
        Self { authority, validity, current: Mutex::new(None), key_log: None }
    }

    /// For debugging: the secret keys of connections under this identity go to `key_log`, if there is one.
    #[must_use]
    pub fn with_key_log(self, key_log: Option<Arc<KeyLog>>) -> Self {
        Self { key_log, ..self }
    }

    /// Where connections' keys go when something is to be debugged.
    pub fn key_log(&self) -> Option<&KeyLog> {
        self.key_log.as_deref()
    }

    /// What clients verify certificates with.
    pub fn public_key(&self) -> AuthorityPublicKey {
        self.authority.public_key()
    }

    /// The certificate in use at `now`, time since the unix epoch; a new one when the last is past half of its validity.
    ///
    /// # Errors
    /// When the system gives no randomness, or the time does not fit a certificate (after 2106).
    pub fn current(&self, now: Duration) -> Result<Arc<ServerIdentity>, noise_sv2::Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((renew_at, identity)) = &*current
            && now < *renew_at
        {
            return Ok(identity.clone());
        }
        let seconds = |at: Duration| u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        let validity = Validity { from: seconds(now.saturating_sub(CLOCK_SLACK)), until: seconds(now + self.validity) };
        let identity = Arc::new(ServerIdentity::issue(&self.authority, validity, &mut OsRng)?);
        *current = Some((now + self.validity / 2, identity.clone()));
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.key");
        let public = create_authority_key(&path).unwrap();
        assert_eq!(load_authority_key(&path).unwrap().public_key(), public);
        assert!(matches!(create_authority_key(&path), Err(KeyFileError::File { .. })), "never overwritten");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let error = load_authority_key(&path).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_wrong_file_is_not_echoed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.key");
        create_durably(&path, b"hunter2hunter2", Access::Secret).unwrap();
        let error = load_authority_key(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Content { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn certificates_renew_at_half_of_their_validity() {
        let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
        let identity = Identity::new(authority, Duration::from_secs(1000));
        let start = Duration::from_secs(1_800_000_000);
        let first = identity.current(start).unwrap();
        assert_eq!(first.validity().until, 1_800_001_000);
        let still = identity.current(start + Duration::from_secs(499)).unwrap();
        assert!(Arc::ptr_eq(&first, &still));
        let second = identity.current(start + Duration::from_secs(500)).unwrap();
        assert_eq!(second.validity().until, 1_800_001_500);
    }
}
