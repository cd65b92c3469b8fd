//! TLV fields behind a message (sv2-spec §3.4.3).

use binary_sv2::{
    Reader, Writer,
    tlv::{Tlv, is_well_formed},
};

use crate::{
    border::{Result, border, check_out, exclusive, put, shared},
    status::Sv2Status::{self, SV2_END, SV2_ERROR_BUFFER_TOO_SMALL, SV2_ERROR_LENGTH},
    types::Sv2Bytes,
};

/// A TLV field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Tlv {
    /// The extension that defines the field.
    pub extension_type: u16,
    /// Number of the field within its extension.
    pub field_type: u8,
    /// Content, up to 65,535 bytes.
    pub value: Sv2Bytes,
}

/// Takes the first field off `rest`, which begins as a message's `tlv_fields`. `SV2_END` when there is none.
///
/// Reads the headers big-endian, as the specification's example has them. `out->value` points into the payload.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_tlv_next(rest: *mut Sv2Bytes, out: *mut Sv2Tlv) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (rest, bytes) = unsafe {
            let rest = exclusive(rest)?;
            let bytes = rest.get()?;
            (rest, bytes)
        };
        if bytes.is_empty() {
            return Err(SV2_END);
        }
        let mut reader = Reader::new(bytes);
        let Tlv { extension_type, field_type, value } = Tlv::decode(&mut reader)?;
        // SAFETY: as above.
        unsafe { put(out, Sv2Tlv { extension_type, field_type, value: value.into() }) }?;
        *rest = reader.rest().into();
        Ok(())
    })
}

/// Appends a field to the `*len` bytes that are in `buffer` already, and adds its length to `*len`.
///
/// Fields go in ascending order of their extension. `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is too small; a field
/// takes 5 bytes and its content.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_tlv_append(
    buffer: *mut u8,
    capacity: usize,
    len: *mut usize,
    field: *const Sv2Tlv,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (len, field) = unsafe { (exclusive(len)?, to_rust(shared(field)?)?) };
        let end = len.checked_add(field.encoded_len()).filter(|end| isize::try_from(*end).is_ok());
        let end = end.ok_or(SV2_ERROR_LENGTH)?;
        if end > capacity {
            return Err(SV2_ERROR_BUFFER_TOO_SMALL);
        }
        check_out(buffer)?;
        // SAFETY: the caller promises room for `capacity` bytes. Only the free part is borrowed, and it is zeroed first,
        // as C need not have written to it.
        let room = unsafe {
            let free = buffer.add(*len);
            free.write_bytes(0, field.encoded_len());
            core::slice::from_raw_parts_mut(free, field.encoded_len())
        };
        field.encode(&mut Writer::new(room))?;
        *len = end;
        Ok(())
    })
}

unsafe fn to_rust<'a>(field: &Sv2Tlv) -> Result<Tlv<'a>> {
    let Sv2Tlv { extension_type, field_type, value } = *field;
    // SAFETY: the caller keeps the crate's rules on pointers.
    Ok(Tlv { extension_type, field_type, value: unsafe { value.get() }? })
}

/// Whether what is to stand behind a message may.
pub(crate) fn check(fields: &[u8]) -> Result<()> {
    if is_well_formed(fields) { Ok(()) } else { Err(Sv2Status::SV2_ERROR_MALFORMED) }
}

/// Finds the worker's name of extension 0x0002 in the `tlv_fields` of a `SubmitSharesExtended`. Full library only.
///
/// `SV2_END` when there is none, `SV2_ERROR_MALFORMED` for a malformed field, a name over 32 bytes, or two names. Takes
/// the reference implementation's byte order too. `*out` points into the payload.
#[cfg(feature = "full")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_tlv_user_identity(fields: Sv2Bytes, out: *mut Sv2Bytes) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let name = extensions_sv2::tlv::user_identity(unsafe { fields.get() }?);
        let name = name.map_err(|_| Sv2Status::SV2_ERROR_MALFORMED)?.ok_or(SV2_END)?;
        // SAFETY: as above.
        unsafe { put(out, name.into()) }
    })
}
