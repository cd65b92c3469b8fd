//! Any sequence of uses of a buffer pool, under AddressSanitizer: buffers keep their bytes, whatever is dropped when.
//!
//! Input: slots, bytes per slot, then steps of two bytes: what to do, and with what.
#![no_main]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use buffer::{Buffer, Pool};
use fuzz::Input;
use libfuzzer_sys::fuzz_target;

type Held = (Buffer, Vec<u8>);

thread_local! {
    /// Another thread, which checks what it gets and drops it.
    static OTHER: (SyncSender<Vec<Held>>, Receiver<()>) = {
        let (to, from) = sync_channel::<Vec<Held>>(1);
        let (back, done) = sync_channel(1);
        std::thread::spawn(move || {
            for held in from {
                held.iter().for_each(check);
                drop(held);
                if back.send(()).is_err() {
                    break;
                }
            }
        });
        (to, done)
    };
}

fn check((buffer, bytes): &Held) {
    assert_eq!(**buffer, **bytes);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (slots, slot_len) = (usize::from(input.byte()) + 1, usize::from(input.byte()) + 1);
    let mut handles = vec![Pool::new(slots, slot_len).expect("sensible measures")];
    let mut held: Vec<Held> = vec![];
    let mut away = false;
    while !input.is_empty() {
        let (what, with) = (input.byte(), input.byte());
        let len = usize::from(with) * 2;
        let at = usize::from(with).checked_rem(held.len());
        match (what % 9, handles.last(), at) {
            (0, Some(pool), _) => held.push((pool.copy_of(&vec![with; len]), vec![with; len])),
            (1, Some(pool), _) => held.push((pool.zeroed(len), vec![0; len])),
            (2, _, Some(at)) => drop(held.swap_remove(at)),
            (3, _, Some(at)) => {
                held[at].0.fill(what);
                held[at].1.fill(what);
            }
            (4, _, Some(at)) => {
                held[at].0.truncate(len / 3);
                held[at].1.truncate(len / 3);
            }
            (5, _, Some(at)) => {
                let (buffer, bytes) = held.swap_remove(at);
                assert_eq!(buffer.into_vec(), bytes);
            }
            (6, Some(pool), _) => handles.push(pool.clone()),
            (7, _, _) => drop(handles.pop()),
            (8, _, Some(at)) => OTHER.with(|(to, done)| {
                if std::mem::replace(&mut away, true) {
                    done.recv().expect("the other thread checks");
                }
                to.send(held.split_off(at)).expect("the other thread runs");
            }),
            _ => {}
        }
        held.iter().for_each(check);
    }
    let in_use = held.iter().filter(|(buffer, _)| buffer.is_pooled()).count();
    if away {
        OTHER.with(|(_, done)| done.recv().expect("the other thread checks"));
    }
    if let Some(pool) = handles.last() {
        assert_eq!(pool.stats().in_use, in_use);
    }
});
