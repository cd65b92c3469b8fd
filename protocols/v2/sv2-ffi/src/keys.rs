//! Authority keys, certificates and URLs (sv2-spec §4.5.3, §4.7).

use core::{ffi::c_char, str};

use noise_sv2::{AuthorityPublicKey, AuthoritySecretKey, Certificate, StaticPublicKey, url::EndpointUrl};

use crate::{
    border::{Result, border, check_out, fill, put, shared},
    status::Sv2Status::{self, SV2_ERROR_INTERNAL, SV2_ERROR_KEY, SV2_ERROR_URL},
    types::Sv2Bytes,
};

/// A key: the x coordinate of a public one or a secret one, big-endian. Wipe secret ones yourself.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Key {
    /// Most significant byte first.
    pub bytes: [u8; 32],
}

/// A server's certificate in its wire form.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Certificate {
    /// Version, validity, signature.
    pub bytes: [u8; 74],
}

/// A server's address from its URL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Url {
    /// Host name, IPv4 address, or IPv6 address without brackets; ends with a zero.
    pub host: [c_char; 256],
    /// Port, never 0.
    pub port: u16,
    /// 1 when the URL names the authority's key, else 0.
    pub has_authority: u8,
    /// The authority's public key; zero when there is none.
    pub authority: Sv2Key,
}

/// Reads a URL of the form `stratum2+tcp://host:port/key`, where the key may be missing.
///
/// `SV2_ERROR_KEY` when only the key is wrong: most often it was not copied whole.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_url_parse(text: Sv2Bytes, url: *mut Sv2Url) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let text = str::from_utf8(unsafe { text.get() }?).map_err(|_| SV2_ERROR_URL)?;
        let parsed: EndpointUrl = text.parse().map_err(|error| match error {
            noise_sv2::UrlError::Key(_) => SV2_ERROR_KEY,
            _ => SV2_ERROR_URL,
        })?;
        let mut host = [0; 256];
        if parsed.host().len() >= host.len() {
            return Err(SV2_ERROR_INTERNAL); // a host has at most 253 bytes
        }
        host.iter_mut().zip(parsed.host().bytes()).for_each(|(to, from)| *to = from as c_char);
        let authority = parsed.authority().map(|key| key.to_bytes());
        let result = Sv2Url {
            host,
            port: parsed.port(),
            has_authority: u8::from(authority.is_some()),
            authority: Sv2Key { bytes: authority.unwrap_or_default() },
        };
        // SAFETY: as above.
        unsafe { put(url, result) }
    })
}

/// Reads an authority's public key from its text, as servers' operators publish it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_public_key_parse(text: Sv2Bytes, key: *mut Sv2Key) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let parsed: AuthorityPublicKey = unsafe { as_text(text) }?.parse()?;
        // SAFETY: as above.
        unsafe { put(key, Sv2Key { bytes: parsed.to_bytes() }) }
    })
}

/// Writes the text of an authority's public key, without a terminating zero, and its length to `*len`; 64 is enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_public_key_text(
    key: *const Sv2Key,
    text: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let key = unsafe { public_key(key) }?;
        // SAFETY: as above.
        unsafe { fill(key.to_string().as_bytes(), text.cast(), capacity, len) }
    })
}

/// The public key of an authority's secret key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_public_key_of(secret: *const Sv2Key, key: *mut Sv2Key) -> Sv2Status {
    border(|| {
        check_out(key)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let secret = unsafe { secret_key(secret) }?;
        // SAFETY: as above.
        unsafe { put(key, Sv2Key { bytes: secret.public_key().to_bytes() }) }
    })
}

/// Reads an authority's secret key from the text that configuration files have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_secret_key_parse(text: Sv2Bytes, key: *mut Sv2Key) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let parsed: AuthoritySecretKey = unsafe { as_text(text) }?.parse()?;
        // SAFETY: as above.
        unsafe { put(key, Sv2Key { bytes: *parsed.secret_bytes() }) }
    })
}

/// Checks a certificate for a server's static key: its version, its validity at `now` (unix seconds), its signature.
///
/// The handshake does this by itself; this is for certificates that came in another way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_certificate_verify(
    certificate: *const Sv2Certificate,
    server_key: *const Sv2Key,
    authority: *const Sv2Key,
    now: u32,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (certificate, server, authority) =
            unsafe { (shared(certificate)?, shared(server_key)?, public_key(authority)?) };
        let certificate = Certificate::from_bytes(&certificate.bytes);
        certificate
            .verify(&StaticPublicKey::from_bytes(server.bytes), &authority, now)
            .map_err(|error| noise_sv2::Error::from(error).into())
    })
}

unsafe fn as_text<'a>(text: Sv2Bytes) -> Result<&'a str> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    str::from_utf8(unsafe { text.get() }?).map_err(|_| SV2_ERROR_KEY)
}

pub(crate) unsafe fn public_key(key: *const Sv2Key) -> Result<AuthorityPublicKey> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    Ok(AuthorityPublicKey::from_bytes(&unsafe { shared(key) }?.bytes)?)
}

pub(crate) unsafe fn secret_key(key: *const Sv2Key) -> Result<AuthoritySecretKey> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    Ok(AuthoritySecretKey::from_bytes(&unsafe { shared(key) }?.bytes)?)
}
