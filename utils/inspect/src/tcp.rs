//! One direction of a TCP connection: segments in any order to bytes in order.

use std::collections::BTreeMap;

/// Bytes that may wait for a missing segment, per direction: the window of a fast connection.
pub(crate) const MAX_WAITING: usize = 4 << 20;

/// Bytes that are missing, where the capture went on without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub missing: u64,
}

/// Puts segments in order; what was seen already is dropped.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// The sequence number that comes next, once a segment was seen.
    next: Option<u32>,
    /// Bytes in order so far.
    position: u64,
    /// Segments that came too early, by their position in the stream.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    /// Length of the stream, once its end was seen.
    end: Option<u64>,
}

impl Assembler {
    /// Takes a segment and appends to `out` what is now in order.
    ///
    /// A stream whose beginning was not captured starts with its first segment that was. Fails when more bytes wait than
    /// [`MAX_WAITING`]: what they wait for was not captured.
    pub(crate) fn push(&mut self, sequence: u32, syn: bool, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Gap> {
        // A SYN takes a sequence number of its own.
        let sequence = if syn { sequence.wrapping_add(1) } else { sequence };
        let next = *self.next.get_or_insert(sequence);
        // Sequence numbers wrap; what is more than half of their range ahead is behind.
        let ahead = i64::from(sequence.wrapping_sub(next) as i32);
        let Some(start) = self.position.checked_add_signed(ahead) else { return Ok(()) };
        self.keep(start, payload, out);
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= self.position) {
            let start = *entry.key();
            let early = entry.remove();
            self.waiting_bytes -= early.len();
            self.keep(start, &early, out);
        }
        if self.waiting_bytes > MAX_WAITING { Err(self.gap().unwrap_or(Gap { missing: 0 })) } else { Ok(()) }
    }

    /// Takes what is next, keeps what is early, drops what was taken before.
    fn keep(&mut self, start: u64, payload: &[u8], out: &mut Vec<u8>) {
        if start > self.position {
            let longer = self.waiting.get(&start).is_none_or(|known| known.len() < payload.len());
            if longer && !payload.is_empty() {
                let replaced = self.waiting.insert(start, payload.to_vec()).map_or(0, |known| known.len());
                self.waiting_bytes = self.waiting_bytes + payload.len() - replaced;
            }
            return;
        }
        let seen = usize::try_from(self.position - start).unwrap_or(usize::MAX);
        let new = payload.get(seen..).unwrap_or_default();
        out.extend_from_slice(new);
        self.position += new.len() as u64;
        self.next = self.next.map(|next| next.wrapping_add(new.len() as u32));
    }

    /// The stream ends before this sequence number, that of a FIN.
    pub(crate) fn end_at(&mut self, sequence: u32) {
        let ahead = self.next.map_or(0, |next| i64::from(sequence.wrapping_sub(next) as i32));
        self.end = self.position.checked_add_signed(ahead);
    }

    /// Whether the end was seen, and all before it.
    pub(crate) fn is_complete(&self) -> bool {
        self.end == Some(self.position)
    }

    /// What is missing in front of the segments that wait, or of the end.
    pub(crate) fn gap(&self) -> Option<Gap> {
        let next = self.waiting.first_key_value().map(|(start, _)| *start).or(self.end);
        let missing = next.and_then(|next| next.checked_sub(self.position)).filter(|missing| *missing > 0);
        missing.map(|missing| Gap { missing })
    }

    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assemble(first: u32, segments: &[(u32, &[u8])]) -> (Vec<u8>, Assembler) {
        let (mut assembler, mut out) = (Assembler::default(), vec![]);
        assembler.push(first.wrapping_sub(1), true, &[], &mut out).unwrap();
        for (offset, payload) in segments {
            assembler.push(first.wrapping_add(*offset), false, payload, &mut out).unwrap();
        }
        (out, assembler)
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let segments: [(u32, &[u8]); 5] = [(3, b"def"), (0, b"abc"), (1, b"bcde"), (0, b"abc"), (6, b"ghi")];
        for first in [0, 77, u32::MAX - 4] {
            let (out, assembler) = assemble(first, &segments);
            assert_eq!((out.as_slice(), assembler.gap(), assembler.waiting_bytes()), (&b"abcdefghi"[..], None, 0));
        }
    }

    #[test]
    fn a_stream_without_a_beginning_starts_where_it_is_seen() {
        let (mut assembler, mut out) = (Assembler::default(), vec![]);
        for (sequence, payload) in [(100, &b"ab"[..]), (90, b"earlier"), (102, b"cd")] {
            assembler.push(sequence, false, payload, &mut out).unwrap();
        }
        assert_eq!(out, b"abcd");
    }

    #[test]
    fn a_gap_is_reported() {
        let (out, assembler) = assemble(5, &[(0, b"a"), (4, b"e"), (4, b"ef")]);
        assert_eq!((out.as_slice(), assembler.gap()), (&b"a"[..], Some(Gap { missing: 3 })));
        assert_eq!(assembler.waiting_bytes(), 2);
    }

    #[test]
    fn the_end_counts_only_with_all_before_it() {
        let (_, mut assembler) = assemble(u32::MAX, &[(0, b"ab")]);
        let end = u32::MAX.wrapping_add(5);
        assembler.end_at(end);
        assert_eq!((assembler.is_complete(), assembler.gap()), (false, Some(Gap { missing: 3 })));
        assembler.push(u32::MAX.wrapping_add(2), false, b"cde", &mut vec![]).unwrap();
        assert_eq!((assembler.is_complete(), assembler.gap()), (true, None));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut assembler, mut out) = (Assembler::default(), vec![]);
        assembler.push(0, true, &[], &mut out).unwrap();
        let block = vec![0; 1 << 16];
        let pushes = (0..).take_while(|i| assembler.push(10 + (i << 16), false, &block, &mut out).is_ok()).count();
        assert_eq!(pushes, MAX_WAITING >> 16);
        assert_eq!(assembler.gap(), Some(Gap { missing: 9 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_cuts_in_any_order_give_the_stream(
            length in 1usize..200,
            cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 1usize..60), 0..30),
            first: u32,
        ) {
            let stream: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let (mut assembler, mut out) = (Assembler::default(), vec![]);
            assembler.push(first.wrapping_sub(1), true, &[], &mut out).unwrap();
            let whole = (0, length);
            let pieces = cuts.iter().map(|(at, length)| (at.index(stream.len()), *length)).chain([whole]);
            for (at, length) in pieces {
                let piece = &stream[at..stream.len().min(at + length)];
                assembler.push(first.wrapping_add(at as u32), false, piece, &mut out).unwrap();
                prop_assert_eq!(&out[..], &stream[..out.len()]);
            }
            prop_assert_eq!(out, stream);
            prop_assert_eq!((assembler.gap(), assembler.waiting_bytes()), (None, 0));
        }
    }
}
