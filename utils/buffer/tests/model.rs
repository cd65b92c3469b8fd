//! The pool against a model: vectors, and two counters.
#![cfg(not(loom))]

use buffer::{Buffer, Pool, SizeError};
use proptest::prelude::*;

/// Slots of the pool under test, so many that they fill more than one word of its free list.
const SLOTS: usize = 70;
const SLOT_LEN: usize = 64;

#[derive(Clone, Debug)]
enum Step {
    Copy(Vec<u8>),
    Zeroed(usize),
    /// Fills the buffer with a byte.
    Write(usize, u8),
    Truncate(usize, usize),
    Drop(usize),
    /// Takes so many at once.
    Burst(usize),
    IntoVec(usize),
    CloneHandle,
    DropHandle,
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<usize>;
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..SLOT_LEN + 3).prop_map(Step::Copy),
        (0..SLOT_LEN + 3).prop_map(Step::Zeroed),
        (at(), any::<u8>()).prop_map(|(at, byte)| Step::Write(at, byte)),
        (at(), 0..SLOT_LEN + 3).prop_map(|(at, len)| Step::Truncate(at, len)),
        at().prop_map(Step::Drop),
        (0..SLOTS).prop_map(Step::Burst),
        at().prop_map(Step::IntoVec),
        Just(Step::CloneHandle),
        Just(Step::DropHandle),
    ]
}

#[derive(Default)]
struct Model {
    held: Vec<(Buffer, Vec<u8>, bool)>,
    exhausted: usize,
    too_long: usize,
}

impl Model {
    fn in_use(&self) -> usize {
        self.held.iter().filter(|(.., pooled)| *pooled).count()
    }

    /// Books a buffer that should hold `bytes`, and says whether it comes from where it should.
    fn took(&mut self, buffer: Buffer, bytes: Vec<u8>) -> bool {
        let pooled = bytes.len() <= SLOT_LEN && self.in_use() < SLOTS;
        if bytes.len() > SLOT_LEN {
            self.too_long += 1;
        } else if !pooled {
            self.exhausted += 1;
        }
        let as_expected = buffer.is_pooled() == pooled;
        self.held.push((buffer, bytes, pooled));
        as_expected
    }

    fn pick(&self, at: usize) -> Option<usize> {
        at.checked_rem(self.held.len())
    }
}

fn apply(step: Step, handles: &mut Vec<Pool>, model: &mut Model) -> Result<(), TestCaseError> {
    let pool = handles.last();
    match step {
        Step::Copy(bytes) => {
            if let Some(pool) = pool {
                prop_assert!(model.took(pool.copy_of(&bytes), bytes));
            }
        }
        Step::Zeroed(len) => {
            if let Some(pool) = pool {
                prop_assert!(model.took(pool.zeroed(len), vec![0; len]));
            }
        }
        Step::Burst(count) => {
            for byte in 0..count {
                if let Some(pool) = pool {
                    prop_assert!(model.took(pool.copy_of(&[byte as u8; 9]), vec![byte as u8; 9]));
                }
            }
        }
        Step::Write(at, byte) => {
            if let Some(at) = model.pick(at) {
                model.held[at].0.fill(byte);
                model.held[at].1.fill(byte);
            }
        }
        Step::Truncate(at, len) => {
            if let Some(at) = model.pick(at) {
                model.held[at].0.truncate(len);
                model.held[at].1.truncate(len);
            }
        }
        Step::Drop(at) => {
            if let Some(at) = model.pick(at) {
                model.held.swap_remove(at);
            }
        }
        Step::IntoVec(at) => {
            if let Some(at) = model.pick(at) {
                let (buffer, bytes, _) = model.held.swap_remove(at);
                prop_assert_eq!(buffer.into_vec(), bytes);
            }
        }
        Step::CloneHandle => handles.extend(pool.cloned()),
        Step::DropHandle => drop(handles.pop()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn buffers_are_vectors(steps in proptest::collection::vec(step(), 0..60)) {
        let mut handles = vec![Pool::new(SLOTS, SLOT_LEN).unwrap()];
        let mut model = Model::default();
        for step in steps {
            apply(step, &mut handles, &mut model)?;
            for (buffer, bytes, _) in &model.held {
                prop_assert_eq!(&**buffer, &**bytes);
            }
            if let Some(pool) = handles.last() {
                let stats = pool.stats();
                prop_assert_eq!(stats.in_use, model.in_use());
                prop_assert_eq!((stats.exhausted, stats.too_long), (model.exhausted, model.too_long));
            }
        }
    }
}

#[test]
fn measures_are_checked() {
    for (slots, slot_len) in [(0, 1), (1, 0), (buffer::MAX_SLOTS + 1, 1), (1, buffer::MAX_SLOT_LEN + 1)] {
        assert_eq!(Pool::new(slots, slot_len).err(), Some(SizeError { slots, slot_len }));
    }
    let stats = Pool::new(3, 100).unwrap().stats();
    assert_eq!((stats.slots, stats.slot_len), (3, 128));
}

#[test]
fn a_buffer_outlives_its_pool() {
    let pool = Pool::new(2, 8).unwrap();
    let (a, b) = (pool.copy_of(b"first"), pool.copy_of(b"second"));
    drop(pool);
    assert_eq!((&*a, &*b), (&b"first"[..], &b"second"[..]));
    drop(a);
    assert_eq!(&*b, b"second");
}

#[test]
fn a_slot_shows_nothing_of_what_it_held() {
    let pool = Pool::new(1, 64).unwrap();
    drop(pool.copy_of(b"a secret"));
    assert_eq!(&*pool.zeroed(8), [0; 8]);
    assert_eq!(format!("{:?}", pool.copy_of(b"key")), "Buffer { len: 3, is_pooled: true }");
}
