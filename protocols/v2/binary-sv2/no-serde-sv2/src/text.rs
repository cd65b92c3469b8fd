//! STR0_255.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use const_sv2::limits::B0_255_MAX;

use crate::primitives::serde_as_itself;
use crate::{B0_255, Decodable, Element, Encodable, Error, IntoOwned, Reader, Writer};

/// STR0_255: up to 255 bytes meant as text.
///
/// The specification allows any bytes (identities are "unconstrained"), so decoding does not ask
/// for UTF-8. `Display` is safe for logs: bytes that are not UTF-8, control characters and
/// characters that change the writing direction come out escaped.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Str0_255<'a>(B0_255<'a>);

impl<'a> Str0_255<'a> {
    /// No text.
    pub const EMPTY: Self = Self(B0_255::EMPTY);

    /// Keeps as many of the first characters as fit 255 bytes.
    #[must_use]
    pub fn from_truncated(text: &'a str) -> Self {
        let mut end = text.len().min(B0_255_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(B0_255::from_truncated(text.as_bytes().get(..end).unwrap_or_default()))
    }

    /// The bytes as they are on the wire.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text; [`Error::NotUtf8`] when it is none.
    pub fn as_utf8(&self) -> Result<&str, Error> {
        core::str::from_utf8(self.as_bytes()).map_err(|e| Error::NotUtf8 { offset: e.valid_up_to() })
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second value that borrows from this one.
    #[inline]
    #[must_use]
    pub fn reborrow(&self) -> Str0_255<'_> {
        Str0_255(self.0.reborrow())
    }
}

impl<'a> TryFrom<&'a [u8]> for Str0_255<'a> {
    type Error = Error;

    fn try_from(bytes: &'a [u8]) -> Result<Self, Error> {
        check(bytes.len())?;
        B0_255::try_from(bytes).map(Self)
    }
}

impl<'a> TryFrom<&'a str> for Str0_255<'a> {
    type Error = Error;

    fn try_from(text: &'a str) -> Result<Self, Error> {
        Self::try_from(text.as_bytes())
    }
}

impl TryFrom<Vec<u8>> for Str0_255<'_> {
    type Error = Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Error> {
        check(bytes.len())?;
        B0_255::try_from(bytes).map(Self)
    }
}

impl TryFrom<String> for Str0_255<'_> {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::try_from(text.into_bytes())
    }
}

fn check(got: usize) -> Result<(), Error> {
    if got > B0_255_MAX {
        return Err(Error::ValueTooLong { data_type: "STR0_255", max: B0_255_MAX, got });
    }
    Ok(())
}

impl AsRef<[u8]> for Str0_255<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<str> for Str0_255<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Str0_255<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Str0_255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || turns_direction(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

/// Unicode marks that reorder or break the text around them, which would let a peer forge log lines.
const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Str0_255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Encodable for Str0_255<'_> {
    #[inline]
    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        self.0.encode(out)
    }
    serde_as_itself!(encode);
}

impl<'a> Decodable<'a> for Str0_255<'a> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        B0_255::decode(r).map(Self)
    }
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::serde_support::deserialize_bytes("STR0_255", deserializer)?;
        crate::serde_support::checked(bytes).map(Self)
    }
}

impl IntoOwned for Str0_255<'_> {
    type Owned = Str0_255<'static>;

    fn into_owned(self) -> Str0_255<'static> {
        Str0_255(self.0.into_owned())
    }
}

impl Element for Str0_255<'_> {
    type At<'b> = Str0_255<'b>;
    const FIXED_LEN: Option<usize> = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};
    use alloc::string::ToString;

    #[test]
    fn any_bytes_decode_and_print_without_breaking_the_line() {
        let wire = [9, b'a', b'\n', 0xff, b'b', 0x1b, 0xe2, 0x80, 0xae, b'c'];
        let text: Str0_255<'_> = from_bytes(&wire).unwrap();
        assert_eq!(text.to_string(), r"a\n\xffb\u{1b}\u{202e}c");
        assert_eq!(text.as_utf8(), Err(Error::NotUtf8 { offset: 2 }));
        assert_eq!(to_bytes(&text).unwrap(), wire);
    }

    #[test]
    fn truncation_keeps_whole_characters() {
        let long = "é".repeat(200);
        let text = Str0_255::from_truncated(&long);
        assert_eq!((text.len(), text.as_utf8().map(|t| t.chars().count())), (254, Ok(127)));
        let long_error = Error::ValueTooLong { data_type: "STR0_255", max: 255, got: 400 };
        assert_eq!(Str0_255::try_from(&long[..]), Err(long_error));
    }

    #[test]
    fn compares_with_text() {
        assert_eq!(Str0_255::from_truncated("stale-share"), "stale-share");
    }
}
