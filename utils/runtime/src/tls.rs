//! The certificate of listeners that take Stratum V1 inside TLS (`stratum+ssl`).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use crate::files::exposed_mode;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads from it to its authority, in PEM.
    pub certificates: PathBuf,
    /// The secret key of the first certificate, in PEM; only its owner may read the file.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read, or is no PEM.
    #[error("tls: {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the key.
        reason: String,
    },
    /// Others may read the key.
    #[error("tls: {path}: others may read it (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Certificate and key do not belong together, or are of no kind that is known.
    #[error("tls: {path}: {reason}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Certificate and key for connections to come; both can be [exchanged](Self::reload).
pub struct TlsIdentity {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsIdentity {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, current })
    }

    /// Reads the files again. Connections that are open stay as they are.
    ///
    /// # Errors
    /// What is wrong with the files; then nothing changes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let changed = Arc::new(read(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }

    /// For the next connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(TlsFiles { certificates, key }: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let file = |path: &Path, reason: &dyn std::fmt::Display| TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    if let Some(mode) = exposed_mode(key).map_err(|error| file(key, &error))? {
        return Err(TlsError::Exposed { path: key.clone(), mode });
    }
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| file(certificates, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, &error))?;
    let unusable = |error: rustls::Error| TlsError::Unusable { path: certificates.clone(), reason: error.to_string() };
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::files::{Access, write_durably};

    /// Writes a certificate for `localhost` with its key, and returns the certificate.
    pub(crate) fn write_identity(folder: &Path) -> (TlsFiles, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = TlsFiles { certificates: folder.join("cert.pem"), key: folder.join("key.pem") };
        write_durably(&files.certificates, made.cert.pem().as_bytes(), Access::Public).unwrap();
        write_durably(&files.key, made.signing_key.serialize_pem().as_bytes(), Access::Secret).unwrap();
        (files, made.cert.der().clone())
    }

    #[test]
    fn each_fault_of_the_files_is_named_and_a_bad_reload_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = write_identity(folder.path());
        let identity = TlsIdentity::load(files.clone()).unwrap();
        let before = identity.current();
        identity.reload().unwrap();
        let reloaded = identity.current();
        assert!(!Arc::ptr_eq(&before, &reloaded));

        let key = fs::read(&files.key).unwrap();
        let error = |path: &Path, contents: &[u8], access| {
            let good = fs::read(path).unwrap();
            write_durably(path, contents, access).unwrap();
            let error = identity.reload().unwrap_err().to_string();
            write_durably(path, &good, Access::Secret).unwrap();
            error
        };
        let nothing = error(&files.certificates, b"", Access::Public);
        assert!(nothing.contains("cert.pem: no items found"), "{nothing}");
        let garbage = error(&files.key, b"-----BEGIN PRIVATE KEY-----\nAAAA", Access::Secret);
        assert!(garbage.contains("key.pem") && !garbage.contains("AAAA"), "{garbage}");
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let mismatch = error(&files.key, other.signing_key.serialize_pem().as_bytes(), Access::Secret);
        assert!(mismatch.contains("cert.pem"), "{mismatch}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
            let exposed = identity.reload().unwrap_err().to_string();
            assert!(exposed.contains("chmod 600"), "{exposed}");
        }
        assert!(Arc::ptr_eq(&identity.current(), &reloaded));
        assert_eq!(fs::read(&files.key).unwrap(), key);
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(TlsIdentity::load(files), Err(TlsError::File { .. })));
    }
}
