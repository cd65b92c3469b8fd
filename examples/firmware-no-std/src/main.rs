//! A mining client that links without std, and measures the stack and the heap it needs.
//!
//! The client (`client`) is what a firmware would have. The pool it talks to (`server`) is a script; `host` and `arena`
//! stand for the device. No crate here may need std: the panic handler would exist twice, and the program would not build.
#![no_std]
#![no_main]

extern crate alloc;

mod arena;
mod client;
mod host;
mod server;

use alloc::vec::Vec;
use core::{
    ffi::c_int,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use client::{Client, Failure, Kind, Link};
use rand_core::{CryptoRng, RngCore};
use server::{NOW, SHARES, Script};

#[global_allocator]
static MEMORY: arena::Arenas = arena::Arenas::new();

/// The extended channel rolls so many bytes.
const EXTENDED: Kind = Kind::Extended(4);
/// More stack than this, in bytes, and the program fails: what the README states has to stay true.
const STACK_LIMIT: usize = 16 * 1024;
/// The same for the heap.
const HEAP_LIMIT: usize = 8 * 1024;

/// Where C begins.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> c_int {
    // Protocols that a miner does not speak link without std as well.
    assert!(job_declaration_sv2::JobDeclaration::decode(0xff, &[]).is_err());
    assert!(template_distribution_sv2::TemplateDistribution::decode(0xff, &[]).is_err());
    assert!(extensions_sv2::tlv::check_order(&[]).is_ok());

    println!("bytes                           stack   heap held   heap peak   heap extent   allocations");
    host::on_watched_stack(|| run(Kind::Standard));
    host::on_watched_stack(|| run(EXTENDED));
    let (stack, heap) = (WORST_STACK.load(Ordering::SeqCst), WORST_HEAP.load(Ordering::SeqCst));
    println!("a client with one channel needs {stack} bytes of stack and {heap} of heap");
    if stack > STACK_LIMIT || heap > HEAP_LIMIT {
        println!("expected at most {STACK_LIMIT} and {HEAP_LIMIT}");
        return 1;
    }
    0
}

static WORST_STACK: AtomicUsize = AtomicUsize::new(0);
static WORST_HEAP: AtomicUsize = AtomicUsize::new(0);

/// One connection from beginning to end.
fn run(kind: Kind) {
    let script = server::script(kind);
    // Room for all the client says, so that it never grows while measured.
    let wire = Wire { incoming: &script.bytes, heard: Vec::with_capacity(4_096) };
    host::stack_since_last();
    MEMORY.measure(true);
    let result = client(wire, &script, kind);
    MEMORY.measure(false);
    let heard = result.unwrap_or_else(|failure| panic!("the client failed: {failure:?}"));
    MEMORY.reset();
    assert_eq!(script.accepted(&heard), SHARES, "the pool does not take the shares");
}

fn client<'a>(wire: Wire<'a>, script: &Script, kind: Kind) -> Result<Vec<u8>, Failure> {
    let name = if kind == Kind::Standard { "standard" } else { "extended" };
    let now = Duration::from_secs(NOW.into());
    let mut client = Client::connect(wire, script.authority, &mut Counter::new(0), NOW)?;
    stage(name, "handshake");
    let mut channel = client.open(kind)?;
    stage(name, "channel");
    client.take_jobs(&mut channel, now)?;
    stage(name, "jobs");
    client.mine(&mut channel, SHARES)?;
    client.wait_for_success(SHARES)?;
    stage(name, "shares");
    Ok(client.into_link().heard)
}

/// Prints what was needed since the last stage.
fn stage(channel: &str, name: &str) {
    let (stack, heap) = (host::stack_since_last(), MEMORY.usage());
    println!(
        "{channel} channel, {name:<10} {stack:>7}  {:>10}  {:>10}  {:>12}  {:>12}",
        heap.held, heap.peak, heap.extent, heap.allocations
    );
    WORST_STACK.fetch_max(stack, Ordering::SeqCst);
    WORST_HEAP.fetch_max(heap.extent, Ordering::SeqCst);
}

/// A connection whose other end has already spoken.
struct Wire<'a> {
    incoming: &'a [u8],
    heard: Vec<u8>,
}

/// Bytes that arrive at once: the payload of a small TCP segment.
const SEGMENT: usize = 536;

impl Link for Wire<'_> {
    fn send(&mut self, bytes: &[u8]) {
        assert!(self.heard.capacity() - self.heard.len() >= bytes.len(), "more was said than there is room for");
        self.heard.extend_from_slice(bytes);
    }

    fn receive(&mut self, room: &mut [u8]) -> usize {
        let count = room.len().min(self.incoming.len()).min(SEGMENT);
        let (now, later) = self.incoming.split_at(count);
        room[..count].copy_from_slice(now);
        self.incoming = later;
        count
    }
}

/// "Random" numbers that count up. A device has a generator of its own; here the script has to know what comes.
struct Counter(u64);

impl Counter {
    fn new(first: u64) -> Self {
        Self(first)
    }
}

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let value = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Counter {}
