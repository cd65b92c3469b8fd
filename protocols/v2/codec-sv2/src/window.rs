//! The receive buffer both decoders share.

use alloc::vec::Vec;

/// What the buffer grows by at the least, in bytes: some dozens of shares, and small enough to keep for each of 10,000 connections.
const MIN_ROOM: usize = 2 * 1024;
/// With less room than this, in bytes, pending bytes are moved to the front.
const LOW_ROOM: usize = 512;
/// Room offered at the most beyond what has arrived, in bytes, however long a frame claims to be.
const MAX_ROOM: usize = 64 * 1024;
/// Buffer kept when all has been consumed, in bytes. What a long message needed beyond that is given back.
const KEEP: usize = 64 * 1024;

/// Received bytes that are not consumed yet, with room behind them.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// `start..end` is received and pending; from `end` on it is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    /// Room to read into: some of the `missing` bytes or more. Invalidates what [`take`](Self::take) returned.
    pub(crate) fn writable(&mut self, missing: usize) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > KEEP {
                self.bytes.truncate(KEEP);
                self.bytes.shrink_to(KEEP);
            }
        }
        let needed = missing.clamp(LOW_ROOM, MAX_ROOM);
        if self.bytes.len() - self.end < needed {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < needed {
            self.bytes.resize(self.end + needed.max(MIN_ROOM), 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `count` bytes of the room now hold received bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// Received bytes that were not taken yet.
    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `count` pending bytes, or how many are missing.
    #[cfg(any(feature = "with_noise", test))]
    pub(crate) fn front_mut(&mut self, count: usize) -> Result<&mut [u8], usize> {
        let missing = count.saturating_sub(self.end - self.start);
        self.bytes.get_mut(self.start..self.end).and_then(|pending| pending.get_mut(..count)).ok_or(missing)
    }

    /// Takes up to `count` pending bytes. They stay readable until the next [`writable`](Self::writable).
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start = from.saturating_add(count).min(self.end);
        self.bytes.get(from..self.start).unwrap_or_default()
    }

    /// Goes on in `buffer`, with what is pending at its front.
    pub(crate) fn borrow(&mut self, buffer: &mut Vec<u8>) {
        let pending = self.end - self.start;
        if buffer.len() < pending {
            buffer.resize(pending, 0);
        }
        for (to, from) in buffer.iter_mut().zip(self.pending()) {
            *to = *from;
        }
        core::mem::swap(&mut self.bytes, buffer);
        (self.start, self.end) = (0, pending);
        // What is left is the window's own, for `give_back` to use again.
        buffer.clear();
    }

    /// Gives up the buffer of [`borrow`](Self::borrow); what is pending is kept in one of its size.
    pub(crate) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        core::mem::swap(&mut self.bytes, buffer);
        let pending = buffer.get(self.start..self.end).unwrap_or_default();
        if pending.is_empty() {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(pending);
        }
        (self.start, self.end) = (0, self.bytes.len());
        if buffer.len() > KEEP {
            buffer.truncate(KEEP);
            buffer.shrink_to(KEEP);
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(window: &mut Window, mut count: usize) {
        while count > 0 {
            let room = window.writable(count).len().min(count);
            window.advance(room);
            count -= room;
        }
    }

    #[test]
    fn room_is_bounded_whatever_is_missing() {
        let mut window = Window::default();
        assert_eq!(window.writable(1).len(), MIN_ROOM);
        assert_eq!(window.writable(usize::MAX).len(), MAX_ROOM);
        window.advance(10);
        assert_eq!(window.capacity(), MAX_ROOM);
    }

    #[test]
    fn small_messages_reuse_the_buffer() {
        let mut window = Window::default();
        feed(&mut window, 100);
        let before = window.capacity();
        for _ in 0..10_000 {
            window.take(93);
            feed(&mut window, 93);
        }
        assert_eq!((window.capacity(), window.pending().len()), (before, 100));
    }

    #[test]
    fn a_long_message_is_given_back() {
        let mut window = Window::default();
        feed(&mut window, 1_000_000);
        assert_eq!(window.front_mut(1_000_001).map(|b| b.len()), Err(1));
        assert_eq!(window.take(1_000_000).len(), 1_000_000);
        window.writable(6);
        assert_eq!(window.capacity(), KEEP);
    }

    #[test]
    fn a_lent_buffer_comes_back_and_only_pending_bytes_stay() {
        let (mut window, mut buffer) = (Window::default(), alloc::vec![0; MAX_ROOM]);
        for round in 0..3u8 {
            window.borrow(&mut buffer);
            let room = window.writable(1);
            assert!(room.len() >= MAX_ROOM - 6, "{}", room.len());
            room[..3].copy_from_slice(&[round; 3]);
            window.advance(3);
            window.give_back(&mut buffer);
            assert!(window.capacity() <= 18, "{}", window.capacity());
            assert_eq!(buffer.len(), MAX_ROOM);
        }
        assert_eq!(window.pending(), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
        window.borrow(&mut buffer);
        window.take(9);
        window.give_back(&mut buffer);
        assert_eq!((window.capacity(), window.pending().len()), (0, 0));
        window.borrow(&mut buffer);
        feed(&mut window, 200_000);
        window.take(199_999);
        window.give_back(&mut buffer);
        assert_eq!((window.pending().len(), buffer.capacity()), (1, KEEP));
    }

    #[test]
    fn pending_bytes_survive_moving() {
        let mut window = Window::default();
        window.writable(1)[..3].copy_from_slice(&[1, 2, 3]);
        window.advance(3);
        assert_eq!(window.take(1), [1]);
        window.writable(MAX_ROOM);
        assert_eq!(window.pending(), [2, 3]);
        window.advance(usize::MAX);
        assert_eq!(window.pending().len(), 2 + MAX_ROOM);
    }
}
