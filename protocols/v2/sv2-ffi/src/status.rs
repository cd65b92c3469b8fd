//! What every function answers.

use core::ffi::{c_char, c_int};

/// Result of a function. `SV2_OK` is 0; the first three are no errors.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are C's")]
pub enum Sv2Status {
    /// Done.
    SV2_OK = 0,
    /// No whole frame is there yet: read more from the socket and ask again.
    SV2_MISSING_BYTES = 1,
    /// There is nothing more: the last element, the last field, no work.
    SV2_END = 2,
    /// A pointer is NULL that must not be.
    SV2_ERROR_NULL = 10,
    /// A length, a count or a number is not one that can be.
    SV2_ERROR_LENGTH = 11,
    /// The output does not fit; the length that is needed was written where the function says.
    SV2_ERROR_BUFFER_TOO_SMALL = 12,
    /// No message of this kind, or not in this build of the library.
    SV2_ERROR_UNKNOWN_MESSAGE = 13,
    /// Bytes that are not what the message, the list or the field demands.
    SV2_ERROR_MALFORMED = 14,
    /// A field is longer than its type can be.
    SV2_ERROR_VALUE_TOO_LONG = 15,
    /// A frame announces more than the limit of the decoder, or a message is over 2^24 - 1 bytes. Drop the connection.
    SV2_ERROR_PAYLOAD_TOO_LONG = 16,
    /// The handle was used up by an earlier call.
    SV2_ERROR_STATE = 17,
    /// The peer's bytes do not authenticate. Drop the connection.
    SV2_ERROR_DECRYPT = 18,
    /// The connection has used up its nonces. Make a new one.
    SV2_ERROR_NONCES_USED_UP = 19,
    /// The certificate has a format that is not known.
    SV2_ERROR_CERTIFICATE_VERSION = 20,
    /// The certificate is not valid yet; is the clock right?
    SV2_ERROR_CERTIFICATE_NOT_YET_VALID = 21,
    /// The certificate is no longer valid; is the clock right?
    SV2_ERROR_CERTIFICATE_EXPIRED = 22,
    /// The certificate is not signed by the authority.
    SV2_ERROR_CERTIFICATE_SIGNATURE = 23,
    /// The random bytes make no key, or the system has none to give.
    SV2_ERROR_RANDOMNESS = 24,
    /// The text or the bytes are no key.
    SV2_ERROR_KEY = 25,
    /// The text is no `stratum2+tcp://` URL.
    SV2_ERROR_URL = 26,
    /// The message is not for this channel, or not one that a channel takes.
    SV2_ERROR_NOT_FOR_CHANNEL = 27,
    /// The server's message breaks the protocol. The channel is as before.
    SV2_ERROR_PROTOCOL = 28,
    /// A defect of this library.
    SV2_ERROR_INTERNAL = 99,
}

use Sv2Status::*;

const ALL: [Sv2Status; 23] = [
    SV2_OK,
    SV2_MISSING_BYTES,
    SV2_END,
    SV2_ERROR_NULL,
    SV2_ERROR_LENGTH,
    SV2_ERROR_BUFFER_TOO_SMALL,
    SV2_ERROR_UNKNOWN_MESSAGE,
    SV2_ERROR_MALFORMED,
    SV2_ERROR_VALUE_TOO_LONG,
    SV2_ERROR_PAYLOAD_TOO_LONG,
    SV2_ERROR_STATE,
    SV2_ERROR_DECRYPT,
    SV2_ERROR_NONCES_USED_UP,
    SV2_ERROR_CERTIFICATE_VERSION,
    SV2_ERROR_CERTIFICATE_NOT_YET_VALID,
    SV2_ERROR_CERTIFICATE_EXPIRED,
    SV2_ERROR_CERTIFICATE_SIGNATURE,
    SV2_ERROR_RANDOMNESS,
    SV2_ERROR_KEY,
    SV2_ERROR_URL,
    SV2_ERROR_NOT_FOR_CHANNEL,
    SV2_ERROR_PROTOCOL,
    SV2_ERROR_INTERNAL,
];

impl Sv2Status {
    fn text(self) -> &'static core::ffi::CStr {
        match self {
            SV2_OK => c"done",
            SV2_MISSING_BYTES => c"more bytes are needed",
            SV2_END => c"there is nothing more",
            SV2_ERROR_NULL => c"expected a pointer, got NULL",
            SV2_ERROR_LENGTH => c"a length, count or number is out of range",
            SV2_ERROR_BUFFER_TOO_SMALL => c"the output buffer is too small",
            SV2_ERROR_UNKNOWN_MESSAGE => c"no message of this kind in this library",
            SV2_ERROR_MALFORMED => c"the bytes are not what was expected",
            SV2_ERROR_VALUE_TOO_LONG => c"a field is longer than its type",
            SV2_ERROR_PAYLOAD_TOO_LONG => c"the payload is over the limit",
            SV2_ERROR_STATE => c"the handle was used up by an earlier call",
            SV2_ERROR_DECRYPT => c"the peer's bytes do not authenticate",
            SV2_ERROR_NONCES_USED_UP => c"the connection has used up its nonces",
            SV2_ERROR_CERTIFICATE_VERSION => c"the certificate has an unknown format",
            SV2_ERROR_CERTIFICATE_NOT_YET_VALID => c"the certificate is not valid yet; is the clock right?",
            SV2_ERROR_CERTIFICATE_EXPIRED => c"the certificate has expired; is the clock right?",
            SV2_ERROR_CERTIFICATE_SIGNATURE => c"the certificate is not signed by the authority",
            SV2_ERROR_RANDOMNESS => c"no usable randomness",
            SV2_ERROR_KEY => c"expected a key, got something else",
            SV2_ERROR_URL => c"expected stratum2+tcp://host:port/key",
            SV2_ERROR_NOT_FOR_CHANNEL => c"the message is not for this channel",
            SV2_ERROR_PROTOCOL => c"the server's message breaks the protocol",
            SV2_ERROR_INTERNAL => c"a defect of the sv2 library",
        }
    }
}

/// What a status means, in English. A string that lives for ever, also for numbers that are no status.
#[unsafe(no_mangle)]
pub extern "C" fn sv2_error_string(status: c_int) -> *const c_char {
    let known = ALL.into_iter().find(|known| *known as c_int == status);
    known.map_or(c"not a status of this library", Sv2Status::text).as_ptr()
}

impl From<binary_sv2::Error> for Sv2Status {
    fn from(error: binary_sv2::Error) -> Self {
        match error {
            binary_sv2::Error::ValueTooLong { .. } => SV2_ERROR_VALUE_TOO_LONG,
            binary_sv2::Error::BufferTooSmall { .. } => SV2_ERROR_BUFFER_TOO_SMALL,
            _ => SV2_ERROR_MALFORMED,
        }
    }
}

impl From<binary_sv2::DecodeError> for Sv2Status {
    fn from(error: binary_sv2::DecodeError) -> Self {
        match error {
            binary_sv2::DecodeError::UnknownMessageType(_) => SV2_ERROR_UNKNOWN_MESSAGE,
            _ => SV2_ERROR_MALFORMED,
        }
    }
}

impl From<framing_sv2::Error> for Sv2Status {
    fn from(error: framing_sv2::Error) -> Self {
        match error {
            framing_sv2::Error::MissingBytes(_) => SV2_MISSING_BYTES,
            framing_sv2::Error::PayloadTooLong { .. } => SV2_ERROR_PAYLOAD_TOO_LONG,
            framing_sv2::Error::Message(error) => error.into(),
            _ => SV2_ERROR_LENGTH,
        }
    }
}

impl From<codec_sv2::Error> for Sv2Status {
    fn from(error: codec_sv2::Error) -> Self {
        match error {
            codec_sv2::Error::MissingBytes(_) => SV2_MISSING_BYTES,
            codec_sv2::Error::PayloadTooLong { .. } => SV2_ERROR_PAYLOAD_TOO_LONG,
            codec_sv2::Error::Frame(error) => error.into(),
            #[cfg(feature = "full")]
            codec_sv2::Error::Noise(error) => error.into(),
            #[allow(unreachable_patterns, reason = "the enum may grow")]
            _ => SV2_ERROR_INTERNAL,
        }
    }
}

#[cfg(feature = "full")]
impl From<noise_sv2::Error> for Sv2Status {
    fn from(error: noise_sv2::Error) -> Self {
        use noise_sv2::{CertificateError, Error};
        match error {
            Error::Decrypt(_) => SV2_ERROR_DECRYPT,
            Error::CiphertextTooShort(_) | Error::MessageTooLong { .. } => SV2_ERROR_LENGTH,
            Error::NonceExhausted => SV2_ERROR_NONCES_USED_UP,
            Error::Certificate(CertificateError::Version(_)) => SV2_ERROR_CERTIFICATE_VERSION,
            Error::Certificate(CertificateError::NotYetValid { .. }) => SV2_ERROR_CERTIFICATE_NOT_YET_VALID,
            Error::Certificate(CertificateError::Expired { .. }) => SV2_ERROR_CERTIFICATE_EXPIRED,
            Error::Certificate(_) => SV2_ERROR_CERTIFICATE_SIGNATURE,
            Error::BadRandomness => SV2_ERROR_RANDOMNESS,
            _ => SV2_ERROR_INTERNAL,
        }
    }
}

#[cfg(feature = "full")]
impl From<noise_sv2::KeyError> for Sv2Status {
    fn from(_: noise_sv2::KeyError) -> Self {
        SV2_ERROR_KEY
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ffi::CStr};

    use super::*;

    #[test]
    fn every_status_has_a_text_of_its_own() {
        let texts: BTreeSet<_> = ALL.into_iter().map(Sv2Status::text).collect();
        assert_eq!(texts.len(), ALL.len());
        for status in ALL {
            // SAFETY: the function returns a string of static life.
            let text = unsafe { CStr::from_ptr(sv2_error_string(status as c_int)) };
            assert_eq!(text, status.text());
        }
        for other in [-1, 3, 9, 100, c_int::MAX, c_int::MIN] {
            // SAFETY: as above.
            let text = unsafe { CStr::from_ptr(sv2_error_string(other)) };
            assert_eq!(text, c"not a status of this library");
        }
    }
}
