//! TLV fields behind a message (sv2-spec §3.4.3).
//!
//! The header of a field is big-endian, unlike everything else on the wire: the specification
//! says so by its example only (`00 02 01 00 0A …`). The reference implementation writes it
//! little-endian (`02 00 01 0A 00 …`), so receivers need both: see [`Tlvs::little_endian`].

use crate::{Error, Reader, Writer};

/// One TLV field, borrowing its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tlv<'a> {
    /// Extension that defines the field, big-endian on the wire.
    pub extension_type: u16,
    /// Number of the field within its extension.
    pub field_type: u8,
    /// Content; its length is a big-endian U16 on the wire.
    pub value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Bytes the field takes, header included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        const_sv2::limits::TLV_HEADER_LEN + self.value.len()
    }

    /// Writes the field; [`Error::ValueTooLong`] for a value over 65,535 bytes.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let Ok(len) = u16::try_from(self.value.len()) else {
            let (max, got) = (usize::from(u16::MAX), self.value.len());
            return Err(Error::ValueTooLong { data_type: "TLV", max, got });
        };
        let [e0, e1] = self.extension_type.to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        out.put_array(&[e0, e1, self.field_type, l0, l1])?;
        out.put(self.value)
    }

    /// Reads one field.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        Self::decode_header(r, u16::from_be_bytes)
    }

    fn decode_header(r: &mut Reader<'a>, number: fn([u8; 2]) -> u16) -> Result<Self, Error> {
        let [e0, e1, field_type, l0, l1] = *r.take_array()?;
        let value = r.take(usize::from(number([l0, l1])))?;
        Ok(Self { extension_type: number([e0, e1]), field_type, value })
    }
}

/// Iterator over the TLV fields in the rest of a payload; ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    reader: Reader<'a>,
    number: fn([u8; 2]) -> u16,
    failed: bool,
}

impl<'a> Tlvs<'a> {
    /// Starts at the first byte behind the message; offsets in errors count from there.
    #[must_use]
    pub const fn new(rest: &'a [u8]) -> Self {
        Self { reader: Reader::new(rest), number: u16::from_be_bytes, failed: false }
    }

    /// Reads headers as the reference implementation writes them, against the specification's example.
    #[must_use]
    pub const fn little_endian(rest: &'a [u8]) -> Self {
        Self { reader: Reader::new(rest), number: u16::from_le_bytes, failed: false }
    }
}

/// Whether the bytes behind a message are whole TLV fields, in either byte order, or nothing.
#[must_use]
pub fn is_well_formed(rest: &[u8]) -> bool {
    Tlvs::new(rest).all(|field| field.is_ok()) || Tlvs::little_endian(rest).all(|field| field.is_ok())
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.rest().is_empty() {
            return None;
        }
        let field = Tlv::decode_header(&mut self.reader, self.number);
        self.failed = field.is_err();
        Some(field)
    }
}
