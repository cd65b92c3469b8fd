//! TLV fields of extensions: order, and the `user_identity` of extension 0x0002.
//!
//! Written as the specification's example has it, with a big-endian header; read also with the
//! little-endian header that the reference implementation writes.
//!
//! ```
//! use extensions_sv2::tlv::{append_user_identity, user_identity};
//!
//! let mut payload = vec![]; // after an encoded SubmitSharesExtended
//! append_user_identity(&mut payload, b"Worker_001")?;
//! assert_eq!(payload[..5], [0x00, 0x02, 0x01, 0x00, 0x0a]);
//! assert_eq!(user_identity(&payload)?, Some(&b"Worker_001"[..]));
//! # Ok::<(), extensions_sv2::tlv::TlvError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

pub use binary_sv2::tlv::{Tlv, Tlvs, is_well_formed};
use binary_sv2::{Error, Writer};
use const_sv2::extension::{TLV_FIELD_USER_IDENTITY, WORKER_HASHRATE_TRACKING};
use const_sv2::limits::TLV_USER_IDENTITY_MAX;

/// Why the bytes behind a message are not acceptable TLV fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlvError {
    /// A field ends early, or a value is too long to write.
    Malformed(Error),
    /// A field's extension is lower than that of the field before (sv2-spec §3.4.3).
    OutOfOrder {
        /// Extension of the field before.
        after: u16,
        /// Extension that came.
        got: u16,
    },
    /// A value is longer than its extension allows; the message must be rejected.
    ValueTooLong {
        /// Extension of the field.
        extension_type: u16,
        /// Number of the field.
        field_type: u8,
        /// Most bytes allowed.
        max: usize,
        /// Bytes that came.
        got: usize,
    },
    /// A field that may stand once stands twice.
    Repeated {
        /// Extension of the field.
        extension_type: u16,
        /// Number of the field.
        field_type: u8,
    },
}

impl fmt::Display for TlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "TLV field: {error}"),
            Self::OutOfOrder { after, got } => {
                write!(f, "TLV field of extension {got:#06x} behind one of {after:#06x}: expected ascending order")
            }
            Self::ValueTooLong { extension_type, field_type, max, got } => {
                write!(f, "TLV field {extension_type:#06x}|{field_type:#04x}: expected at most {max} bytes, got {got}")
            }
            Self::Repeated { extension_type, field_type } => {
                write!(f, "TLV field {extension_type:#06x}|{field_type:#04x} came twice, expected it once")
            }
        }
    }
}

// No `source`: `Display` already tells the whole story.
impl core::error::Error for TlvError {}

impl From<Error> for TlvError {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

/// Appends a field to a payload; on error the payload is as before.
///
/// Fields go in ascending order of `extension_type`: the caller appends them so.
pub fn append(payload: &mut Vec<u8>, field: &Tlv<'_>) -> Result<(), TlvError> {
    let start = payload.len();
    payload.resize(start + field.encoded_len(), 0);
    let room = payload.get_mut(start..).unwrap_or_default();
    field.encode(&mut Writer::new(room)).map_err(|error| {
        payload.truncate(start);
        TlvError::Malformed(error)
    })
}

/// Checks that the bytes behind a message are whole TLV fields in ascending order of extension.
///
/// For senders' tests and strict receivers; extension 0x0002 tells receivers not to rely on order.
pub fn check_order(rest: &[u8]) -> Result<(), TlvError> {
    let mut after = 0;
    for field in Tlvs::new(rest) {
        let got = field?.extension_type;
        if got < after {
            return Err(TlvError::OutOfOrder { after, got });
        }
        after = got;
    }
    Ok(())
}

/// Appends the worker's name to an encoded `SubmitSharesExtended` (ext-0x0002 §1.1).
///
/// [`TlvError::ValueTooLong`] over 32 bytes. UTF-8 is asked of the value; this does not check it.
pub fn append_user_identity(payload: &mut Vec<u8>, value: &[u8]) -> Result<(), TlvError> {
    check_user_identity(value)?;
    let field = Tlv { extension_type: WORKER_HASHRATE_TRACKING, field_type: TLV_FIELD_USER_IDENTITY, value };
    append(payload, &field)
}

/// Finds the worker's name among the fields behind a `SubmitSharesExtended` (ext-0x0002 §1.1).
///
/// Scans all fields and skips unknown ones, whatever their order. `None` when there is none;
/// errors for a malformed field, a name over 32 bytes, or two names.
///
/// Fields whose headers make sense in little-endian order only are read so. The two do not mix up:
/// read in the wrong order the field would be of extension 0x0200, which is not allocated, and at
/// least 256 bytes long or empty.
pub fn user_identity(rest: &[u8]) -> Result<Option<&[u8]>, TlvError> {
    let found = find_user_identity(Tlvs::new(rest));
    if !rest.is_empty() && matches!(found, Ok(None) | Err(TlvError::Malformed(_))) {
        match find_user_identity(Tlvs::little_endian(rest)) {
            Ok(None) | Err(TlvError::Malformed(_)) => {}
            in_little_endian => return in_little_endian,
        }
    }
    found
}

fn find_user_identity(fields: Tlvs<'_>) -> Result<Option<&[u8]>, TlvError> {
    let mut found = None;
    for field in fields {
        let Tlv { extension_type, field_type, value } = field?;
        if (extension_type, field_type) != (WORKER_HASHRATE_TRACKING, TLV_FIELD_USER_IDENTITY) {
            continue;
        }
        check_user_identity(value)?;
        if found.replace(value).is_some() {
            return Err(TlvError::Repeated { extension_type, field_type });
        }
    }
    Ok(found)
}

fn check_user_identity(value: &[u8]) -> Result<(), TlvError> {
    if value.len() > TLV_USER_IDENTITY_MAX {
        return Err(TlvError::ValueTooLong {
            extension_type: WORKER_HASHRATE_TRACKING,
            field_type: TLV_FIELD_USER_IDENTITY,
            max: TLV_USER_IDENTITY_MAX,
            got: value.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// The example of sv2-spec §3.4.3 and ext-0x0002 §2.
    const EXAMPLE: [u8; 15] =
        [0x00, 0x02, 0x01, 0x00, 0x0A, 0x57, 0x6F, 0x72, 0x6B, 0x65, 0x72, 0x5F, 0x30, 0x30, 0x31];

    fn field(extension_type: u16, field_type: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        append(&mut out, &Tlv { extension_type, field_type, value }).unwrap();
        out
    }

    #[test]
    fn the_specifications_example_both_ways() {
        let mut payload = vec![0xaa];
        append_user_identity(&mut payload, b"Worker_001").unwrap();
        assert_eq!(payload[1..], EXAMPLE);
        assert_eq!(user_identity(&EXAMPLE), Ok(Some(&b"Worker_001"[..])));
    }

    #[test]
    fn every_strict_prefix_of_a_field_is_an_error() {
        for end in 1..EXAMPLE.len() {
            let got = user_identity(&EXAMPLE[..end]);
            assert!(matches!(got, Err(TlvError::Malformed(Error::UnexpectedEnd { .. }))), "{end}: {got:?}");
        }
        assert_eq!(user_identity(&[]), Ok(None));
    }

    #[test]
    fn thirty_two_bytes_are_the_most() {
        let mut payload = vec![];
        let long = TlvError::ValueTooLong { extension_type: 2, field_type: 1, max: 32, got: 33 };
        assert_eq!(append_user_identity(&mut payload, &[b'a'; 33]), Err(long));
        assert!(payload.is_empty());
        assert_eq!(user_identity(&field(2, 1, &[b'a'; 33])), Err(long));
        assert_eq!(user_identity(&field(2, 1, &[b'a'; 32])), Ok(Some(&[b'a'; 32][..])));
        assert_eq!(user_identity(&field(2, 1, &[])), Ok(Some(&[][..])));
    }

    #[test]
    fn unknown_fields_are_skipped_in_any_order() {
        let rest = [field(0x4001, 9, b"later"), EXAMPLE.to_vec(), field(2, 2, b"other")].concat();
        assert_eq!(user_identity(&rest), Ok(Some(&b"Worker_001"[..])));
        assert_eq!(check_order(&rest), Err(TlvError::OutOfOrder { after: 0x4001, got: 2 }));
        let sorted = [EXAMPLE.to_vec(), field(2, 2, b"other"), field(0x4001, 9, b"later")].concat();
        assert_eq!(check_order(&sorted), Ok(()));
    }

    /// As the reference implementation writes the same name.
    const LITTLE_ENDIAN: [u8; 15] =
        [0x02, 0x00, 0x01, 0x0A, 0x00, 0x57, 0x6F, 0x72, 0x6B, 0x65, 0x72, 0x5F, 0x30, 0x30, 0x31];

    #[test]
    fn little_endian_headers_are_read_too() {
        assert_eq!(user_identity(&LITTLE_ENDIAN), Ok(Some(&b"Worker_001"[..])));
        assert_eq!(user_identity(&[2, 0, 1, 0, 0]), Ok(Some(&[][..])));
        assert!(is_well_formed(&LITTLE_ENDIAN) && is_well_formed(&EXAMPLE));
        for end in 1..LITTLE_ENDIAN.len() {
            let got = user_identity(&LITTLE_ENDIAN[..end]);
            assert!(matches!(got, Err(TlvError::Malformed(_))), "{end}: {got:?}");
            assert!(!is_well_formed(&LITTLE_ENDIAN[..end]));
        }
        let mut long = vec![2, 0, 1, 33, 0];
        long.extend([b'a'; 33]);
        assert!(matches!(user_identity(&long), Err(TlvError::ValueTooLong { got: 33, .. })));
    }

    #[test]
    fn two_names_are_an_error() {
        let twice = [EXAMPLE, EXAMPLE].concat();
        assert_eq!(user_identity(&twice), Err(TlvError::Repeated { extension_type: 2, field_type: 1 }));
    }

    #[test]
    fn a_value_over_a_u16_cannot_be_written() {
        let mut payload = vec![1];
        let field = Tlv { extension_type: 3, field_type: 0, value: &[0; 65_536] };
        assert!(matches!(append(&mut payload, &field), Err(TlvError::Malformed(Error::ValueTooLong { .. }))));
        assert_eq!(payload, [1]);
    }
}
