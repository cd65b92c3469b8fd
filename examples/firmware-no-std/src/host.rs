//! What the host lends the program in place of a device: a way to print, an end, and a thread with a stack that is watched.

use alloc::boxed::Box;
use core::{
    ffi::{c_int, c_void},
    fmt,
    ptr::null_mut,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Bytes of the watched stack.
const STACK: usize = 128 * 1024;
/// What untouched stack is filled with.
const PAINT: u64 = 0x5afe_57ac_0dd5_10ff;
/// Stack right below a running function that is left alone when painting: its own callees, and the red zone.
const MARGIN: usize = 512;

#[link(name = "c")]
unsafe extern "C" {
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn abort() -> !;
    fn pthread_attr_init(attributes: *mut Attributes) -> c_int;
    fn pthread_attr_setstack(attributes: *mut Attributes, stack: *mut c_void, size: usize) -> c_int;
    fn pthread_create(
        thread: *mut usize,
        attributes: *const Attributes,
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_join(thread: usize, result: *mut *mut c_void) -> c_int;
}

/// Room for a `pthread_attr_t`, which is 56 bytes on 64-bit Linux.
#[repr(C, align(16))]
struct Attributes([u64; 16]);

/// Standard output.
pub struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the pointer and the length are the text's.
        let written = unsafe { write(1, text.as_ptr().cast(), text.len()) };
        if usize::try_from(written) == Ok(text.len()) { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::host::Output, $($arguments)*);
    }};
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    // SAFETY: it takes nothing and does not return.
    unsafe { abort() }
}

/// The precompiled `alloc` names the function that unwinding would call. Nothing unwinds here: a panic ends the program.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The watched stack, and where its user began.
#[repr(C, align(4096))]
struct Watched([u64; STACK / 8]);

static mut WATCHED: Watched = Watched([0; STACK / 8]);
static TOP: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` on a stack of [`STACK`] bytes, whose use [`stack_since_last`] tells.
pub fn on_watched_stack(work: fn()) {
    extern "C" fn start(argument: *mut c_void) -> *mut c_void {
        let here = 0u8;
        TOP.store(&raw const here as usize, Ordering::SeqCst);
        paint();
        // SAFETY: the argument is the box made below.
        let work = unsafe { Box::from_raw(argument.cast::<fn()>()) };
        work();
        null_mut()
    }
    let argument = Box::into_raw(Box::new(work));
    let mut attributes = Attributes([0; 16]);
    let mut thread = 0;
    // SAFETY: the pointers are to live values of the types that POSIX names; the stack is used by this one thread, which ends
    // before the call does.
    let errors = unsafe {
        pthread_attr_init(&raw mut attributes)
            | pthread_attr_setstack(&raw mut attributes, (&raw mut WATCHED).cast(), STACK)
            | pthread_create(&raw mut thread, &raw const attributes, start, argument.cast())
            | pthread_join(thread, null_mut())
    };
    assert_eq!(errors, 0, "the host gives no thread");
}

/// Fills the watched stack below the caller.
#[inline(never)]
fn paint() {
    let here = 0u8;
    let words = ((&raw const here as usize).saturating_sub(MARGIN + bottom() as usize)) / 8;
    for word in 0..words {
        // SAFETY: these words are of the watched stack and below everything in use on it.
        unsafe { bottom().add(word).write_volatile(PAINT) };
    }
}

/// The most bytes of stack in use since the last call, or since the beginning.
#[inline(never)]
pub fn stack_since_last() -> usize {
    // SAFETY: the words are of the watched stack.
    let untouched = (0..STACK / 8).find(|word| unsafe { bottom().add(*word).read_volatile() } != PAINT);
    let untouched = untouched.unwrap_or(STACK / 8);
    assert!(untouched > 0, "the stack has overflowed");
    let used = TOP.load(Ordering::SeqCst) - (bottom() as usize + untouched * 8);
    paint();
    used
}

fn bottom() -> *mut u64 {
    (&raw mut WATCHED).cast()
}
