//! The way over the border: raw pointers to references, results to statuses, panics to a status.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::status::Sv2Status::{
    self, SV2_ERROR_BUFFER_TOO_SMALL, SV2_ERROR_INTERNAL, SV2_ERROR_LENGTH, SV2_ERROR_NULL, SV2_OK,
};

/// What goes on inside a function of the library.
pub(crate) type Result<T> = core::result::Result<T, Sv2Status>;

/// Runs the inside of an exported function. Nothing in it is meant to panic; should it, C sees a status.
pub(crate) fn border(inside: impl FnOnce() -> Result<()>) -> Sv2Status {
    match catch_unwind(AssertUnwindSafe(inside)) {
        Ok(Ok(())) => SV2_OK,
        Ok(Err(status)) => status,
        Err(_) => SV2_ERROR_INTERNAL,
    }
}

/// Drops a handle; nothing for NULL.
///
/// # Safety
/// `handle` is NULL, or came from [`Box::into_raw`] and is not used again.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by this function's contract.
        let handle = unsafe { Box::from_raw(handle) };
        // A panic here would be a defect of a destructor; C must not see it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }
}

/// A reference to what C points at.
///
/// # Safety
/// `pointer` is NULL, or points to an initialised `T` that nobody changes during `'a`.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T) -> Result<&'a T> {
    // SAFETY: by this function's contract.
    unsafe { pointer.as_ref() }.ok_or(SV2_ERROR_NULL)
}

/// A reference to what C points at, to change it.
///
/// # Safety
/// `pointer` is NULL, or points to an initialised `T` that nobody else uses during `'a`.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T) -> Result<&'a mut T> {
    // SAFETY: by this function's contract.
    unsafe { pointer.as_mut() }.ok_or(SV2_ERROR_NULL)
}

/// Writes a result where C wants it; what was there before is not looked at.
///
/// # Safety
/// `out` is NULL or points to room for a `T`.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
    if out.is_null() {
        return Err(SV2_ERROR_NULL);
    }
    // SAFETY: by this function's contract.
    unsafe { out.write(value) };
    Ok(())
}

/// Refuses NULL before work is done whose result could not be handed over.
pub(crate) fn check_out<T>(out: *mut T) -> Result<()> {
    if out.is_null() { Err(SV2_ERROR_NULL) } else { Ok(()) }
}

/// Bytes that C points at. No bytes need no pointer.
///
/// # Safety
/// `data` is NULL, or points to `len` initialised bytes that nobody changes during `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(SV2_ERROR_NULL);
    }
    if isize::try_from(len).is_err() {
        return Err(SV2_ERROR_LENGTH);
    }
    // SAFETY: by this function's contract, and the length was checked.
    Ok(unsafe { core::slice::from_raw_parts(data, len) })
}

/// Copies `content` to a buffer of C's and its length to `*len`. A buffer that is too small is left alone, but the length
/// is written.
///
/// # Safety
/// `out` is NULL or has room for `capacity` bytes, `len` is NULL or points to room for a number.
pub(crate) unsafe fn fill(content: &[u8], out: *mut u8, capacity: usize, len: *mut usize) -> Result<()> {
    let fits = content.len() <= capacity;
    if fits && !content.is_empty() {
        check_out(out)?;
    }
    // SAFETY: by this function's contract.
    unsafe { put(len, content.len()) }?;
    if !fits {
        return Err(SV2_ERROR_BUFFER_TOO_SMALL);
    }
    if !content.is_empty() {
        // SAFETY: `out` was checked and has room for `capacity` bytes, which are enough; memory of C's does not overlap ours.
        unsafe { core::ptr::copy_nonoverlapping(content.as_ptr(), out, content.len()) };
    }
    Ok(())
}
