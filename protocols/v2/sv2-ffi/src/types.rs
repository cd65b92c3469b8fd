//! Data types of the protocol in their C form (sv2-spec §3.1), and lists.

use core::ffi::{CStr, c_char};

use crate::{
    border::{Result, border, bytes, check_out, exclusive, put, shared},
    status::Sv2Status::{self, SV2_END, SV2_ERROR_BUFFER_TOO_SMALL, SV2_ERROR_LENGTH, SV2_ERROR_VALUE_TOO_LONG},
};
use binary_sv2::{B0_16M, B0_32, Bytes, Decodable, Element, Encodable, LenPrefix, Reader, Seq, Str0_255, U256, Writer};

/// Bytes that lie somewhere else: in the payload that was decoded, or wherever you have them when you encode.
///
/// Text is not terminated by a zero. `data` may be NULL when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// A number of 256 bits, least significant byte first. A hash has the order in which SHA-256 puts it out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2U256 {
    /// Least significant first.
    pub bytes: [u8; 32],
}

/// Up to 32 bytes, held in place.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2B032 {
    /// How many of `bytes` count, at most 32.
    pub len: u8,
    /// The content; the rest is zero.
    pub bytes: [u8; 32],
}

/// A number that may be missing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OptionU32 {
    /// 0 when there is no value, else 1.
    pub is_some: u8,
    /// The value; 0 when there is none.
    pub value: u32,
}

/// A list, as its encoded elements. It lies in the payload that was decoded, or in a buffer of yours.
///
/// Read one with the `sv2_seq_next_` functions on a copy, build one with the `sv2_seq_add_` functions. All zero is the
/// empty list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Seq {
    /// The elements one after the other, as on the wire.
    pub data: *const u8,
    /// Bytes they take.
    pub len: usize,
    /// Number of elements.
    pub count: u32,
}

impl From<&[u8]> for Sv2Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

impl Sv2Bytes {
    /// # Safety
    /// `data` is NULL, or points to `len` bytes that nobody changes during `'a`.
    pub(crate) unsafe fn get<'a>(&self) -> Result<&'a [u8]> {
        // SAFETY: by this function's contract.
        unsafe { bytes(self.data, self.len) }
    }
}

/// A type with a C form.
pub(crate) trait Field<'a>: Sized {
    /// The C form; it may point into what this value borrows.
    type C: Copy;

    /// The C form of a value. Where that was decoded, pointers go into the payload.
    fn lend(&self) -> Self::C;

    /// The value of a C form.
    ///
    /// # Safety
    /// Pointers in `c` are NULL, or valid with their lengths and left alone during `'a`.
    unsafe fn borrow(c: &Self::C) -> Result<Self>;
}

macro_rules! same_in_c {
    ($($number:ty)+) => {$(
        impl Field<'_> for $number {
            type C = Self;

            fn lend(&self) -> Self {
                *self
            }

            unsafe fn borrow(c: &Self) -> Result<Self> {
                Ok(*c)
            }
        }
    )+};
}

same_in_c!(u8 u16 u32 u64 f32);

/// C's own type is not used: it has invalid values.
impl Field<'_> for bool {
    type C = u8;

    fn lend(&self) -> u8 {
        u8::from(*self)
    }

    unsafe fn borrow(c: &u8) -> Result<Self> {
        Ok(*c != 0)
    }
}

impl Field<'_> for U256 {
    type C = Sv2U256;

    fn lend(&self) -> Sv2U256 {
        Sv2U256 { bytes: self.to_le_bytes() }
    }

    unsafe fn borrow(c: &Sv2U256) -> Result<Self> {
        Ok(Self::from_le_bytes(c.bytes))
    }
}

impl Field<'_> for B0_32 {
    type C = Sv2B032;

    fn lend(&self) -> Sv2B032 {
        let mut bytes = [0; 32];
        let content = self.as_bytes();
        bytes.iter_mut().zip(content).for_each(|(to, from)| *to = *from);
        Sv2B032 { len: content.len() as u8, bytes }
    }

    unsafe fn borrow(c: &Sv2B032) -> Result<Self> {
        let content = c.bytes.get(..usize::from(c.len)).ok_or(SV2_ERROR_VALUE_TOO_LONG)?;
        Ok(Self::try_from(content)?)
    }
}

impl Field<'_> for Option<u32> {
    type C = Sv2OptionU32;

    fn lend(&self) -> Sv2OptionU32 {
        Sv2OptionU32 { is_some: u8::from(self.is_some()), value: self.unwrap_or_default() }
    }

    unsafe fn borrow(c: &Sv2OptionU32) -> Result<Self> {
        Ok((c.is_some != 0).then_some(c.value))
    }
}

impl<'a> Field<'a> for Str0_255<'a> {
    type C = Sv2Bytes;

    fn lend(&self) -> Sv2Bytes {
        self.as_bytes().into()
    }

    unsafe fn borrow(c: &Sv2Bytes) -> Result<Self> {
        // SAFETY: by this function's contract.
        Ok(Self::try_from(unsafe { c.get() }?)?)
    }
}

impl<'a, L: LenPrefix> Field<'a> for Bytes<'a, L> {
    type C = Sv2Bytes;

    fn lend(&self) -> Sv2Bytes {
        self.as_bytes().into()
    }

    unsafe fn borrow(c: &Sv2Bytes) -> Result<Self> {
        // SAFETY: by this function's contract.
        let content: &'a [u8] = unsafe { c.get() }?;
        Ok(Self::try_from(content)?)
    }
}

impl<'a, L: LenPrefix, T: Element + 'a> Field<'a> for Seq<'a, L, T> {
    type C = Sv2Seq;

    fn lend(&self) -> Sv2Seq {
        let Sv2Bytes { data, len } = self.as_encoded_bytes().into();
        Sv2Seq { data, len, count: self.len() as u32 }
    }

    /// Copies the elements, checking each.
    unsafe fn borrow(c: &Sv2Seq) -> Result<Self> {
        if c.count as usize > L::MAX {
            return Err(SV2_ERROR_VALUE_TOO_LONG);
        }
        // SAFETY: by this function's contract.
        let mut reader = Reader::new(unsafe { bytes(c.data, c.len) }?);
        let mut failed = None;
        let elements = (0..c.count).map_while(|_| T::At::<'a>::decode(&mut reader).map_err(|e| failed = Some(e)).ok());
        let seq = Self::try_from_iter(elements)?;
        failed.map_or(Ok(()), Err)?;
        reader.finish()?;
        Ok(seq)
    }
}

/// `text` without its terminating zero; no bytes for NULL. Valid as long as `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_text(text: *const c_char) -> Sv2Bytes {
    if text.is_null() {
        return Sv2Bytes { data: core::ptr::null(), len: 0 };
    }
    // SAFETY: the caller passes a terminated string.
    unsafe { CStr::from_ptr(text) }.to_bytes().into()
}

/// Takes the first element of `rest`.
///
/// # Safety
/// See the crate's rules on pointers.
unsafe fn next<T: Field<'static> + Decodable<'static>>(rest: *mut Sv2Seq, out: *mut T::C) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let rest = unsafe { exclusive(rest) }?;
        let count = rest.count.checked_sub(1).ok_or(SV2_END)?;
        // SAFETY: as above. No reference into the list leaves this function.
        let mut reader = Reader::new(unsafe { bytes(rest.data, rest.len) }?);
        let element = T::decode(&mut reader)?;
        // SAFETY: as above.
        unsafe { put(out, element.lend()) }?;
        let Sv2Bytes { data, len } = reader.rest().into();
        *rest = Sv2Seq { data, len, count };
        Ok(())
    })
}

/// Takes the first element off a list of U16, such as extension numbers: `rest` then begins behind it.
///
/// `SV2_END` when `rest` is empty. Work on a copy of the list to keep the message as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_next_u16(rest: *mut Sv2Seq, out: *mut u16) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { next::<u16>(rest, out) }
}

/// As `sv2_seq_next_u16`, for a list of U32, such as channel ids.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_next_u32(rest: *mut Sv2Seq, out: *mut u32) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { next::<u32>(rest, out) }
}

/// As `sv2_seq_next_u16`, for a list of U256, such as a merkle path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_next_u256(rest: *mut Sv2Seq, out: *mut Sv2U256) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { next::<U256>(rest, out) }
}

/// As `sv2_seq_next_u16`, for a list of B0_16M, such as transactions. `out` points into the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_next_bytes(rest: *mut Sv2Seq, out: *mut Sv2Bytes) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { next::<B0_16M<'static>>(rest, out) }
}

/// Appends an element.
///
/// # Safety
/// See the crate's rules on pointers.
unsafe fn add(seq: *mut Sv2Seq, storage: *mut u8, capacity: usize, element: &dyn Encodable) -> Result<()> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    let seq = unsafe { exclusive(seq) }?;
    let count = seq.count.checked_add(1).ok_or(SV2_ERROR_LENGTH)?;
    let len = seq.len.checked_add(element.encoded_len()).filter(|len| isize::try_from(*len).is_ok());
    let len = len.ok_or(SV2_ERROR_LENGTH)?;
    if len > capacity {
        return Err(SV2_ERROR_BUFFER_TOO_SMALL);
    }
    check_out(storage)?;
    // SAFETY: the caller promises room for `capacity` bytes at `storage`. Only the free part is borrowed, and it is
    // zeroed first, as C need not have written to it.
    let room = unsafe {
        let free = storage.add(seq.len);
        free.write_bytes(0, element.encoded_len());
        core::slice::from_raw_parts_mut(free, element.encoded_len())
    };
    element.encode(&mut Writer::new(room))?;
    *seq = Sv2Seq { data: storage, len, count };
    Ok(())
}

/// Adds an element to a list of U16 that is built in `storage`, which has room for `capacity` bytes.
///
/// Begin with a list that is all zero. Pass the same storage each time and keep it until the message is encoded.
/// Fails with `SV2_ERROR_BUFFER_TOO_SMALL` when it is full; an element takes 2 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_add_u16(
    seq: *mut Sv2Seq,
    storage: *mut u8,
    capacity: usize,
    element: u16,
) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    border(|| unsafe { add(seq, storage, capacity, &element) })
}

/// As `sv2_seq_add_u16`, for a list of U32; an element takes 4 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_add_u32(
    seq: *mut Sv2Seq,
    storage: *mut u8,
    capacity: usize,
    element: u32,
) -> Sv2Status {
    // SAFETY: the caller keeps the crate's rules on pointers.
    border(|| unsafe { add(seq, storage, capacity, &element) })
}

/// As `sv2_seq_add_u16`, for a list of U256; an element takes 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_add_u256(
    seq: *mut Sv2Seq,
    storage: *mut u8,
    capacity: usize,
    element: *const Sv2U256,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let element = unsafe { U256::borrow(shared(element)?) }?;
        // SAFETY: as above.
        unsafe { add(seq, storage, capacity, &element) }
    })
}

/// As `sv2_seq_add_u16`, for a list of B0_16M; an element takes 3 bytes and its content, which must not be in `storage`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_seq_add_bytes(
    seq: *mut Sv2Seq,
    storage: *mut u8,
    capacity: usize,
    element: Sv2Bytes,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let element = unsafe { B0_16M::borrow(&element) }?;
        // SAFETY: as above.
        unsafe { add(seq, storage, capacity, &element) }
    })
}
