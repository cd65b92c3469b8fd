//! Lines out of a byte stream: JSON objects, each ended by a newline.

use alloc::vec::Vec;
use core::fmt;

/// Longest line that a server takes from a miner, in bytes: the longest honest one, an authorize with a user name and a
/// password of 255 escaped bytes each, is well under 4 KiB.
pub const MAX_LINE_FROM_MINER: usize = 16 * 1024;

/// Longest line that a client takes from a pool, in bytes: a notify with a coinbase of 64 KiB in hexadecimal.
pub const MAX_LINE_FROM_POOL: usize = 256 * 1024;

/// Buffer that a decoder keeps while no line is begun, in bytes; more was needed by a burst and is given back.
const KEEP: usize = 1024;

/// A line is longer than it may be; the stream can not be followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// Most bytes.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a line of at most {} bytes, got a longer one", self.limit)
    }
}

impl core::error::Error for LineTooLong {}

/// Cuts a stream into lines. Holds at most one line's limit of bytes besides what it was given last.
///
/// ```
/// use stratum_v1::line::LineDecoder;
/// let mut decoder = LineDecoder::new(100);
/// decoder.extend(b"{\"id\":1}\r\n\n{\"id\"");
/// assert_eq!(decoder.next_line()?, Some(&b"{\"id\":1}"[..]));
/// assert_eq!(decoder.next_line()?, None);
/// decoder.extend(b":2}\n");
/// assert_eq!(decoder.next_line()?, Some(&b"{\"id\":2}"[..]));
/// # Ok::<(), stratum_v1::line::LineTooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct LineDecoder {
    limit: usize,
    bytes: Vec<u8>,
    /// Where the first line that was not handed out begins.
    start: usize,
    /// Up to where there is no newline.
    searched: usize,
}

impl LineDecoder {
    /// Takes lines of at most `limit` bytes, the newline not counted.
    pub const fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), start: 0, searched: 0 }
    }

    /// Adds what was read. Give it portions of some KiB, and take all lines out before the next.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its end and surrounding white space; empty lines are passed over.
    ///
    /// # Errors
    /// When a line, whole or not, is over the limit.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        loop {
            let Some(length) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                if self.start == self.bytes.len() {
                    self.bytes.clear();
                    self.bytes.shrink_to(KEEP);
                    (self.start, self.searched) = (0, 0);
                }
                return if self.searched - self.start > self.limit { Err(self.too_long()) } else { Ok(None) };
            };
            let (from, to) = (self.start, self.searched + length);
            if to - from > self.limit {
                return Err(self.too_long());
            }
            (self.start, self.searched) = (to + 1, to + 1);
            if !self.bytes[from..to].trim_ascii().is_empty() {
                return Ok(Some(self.bytes[from..to].trim_ascii()));
            }
        }
    }

    /// Bytes that wait for their line's end.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    const fn too_long(&self) -> LineTooLong {
        LineTooLong { limit: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_limit_is_exact() {
        let mut decoder = LineDecoder::new(3);
        decoder.extend(b"abc\n");
        assert_eq!(decoder.next_line(), Ok(Some(&b"abc"[..])));
        decoder.extend(b"abcd\n");
        assert_eq!(decoder.next_line(), Err(LineTooLong { limit: 3 }));
        let mut decoder = LineDecoder::new(3);
        decoder.extend(b"abc");
        assert_eq!(decoder.next_line(), Ok(None));
        decoder.extend(b"d");
        assert_eq!(decoder.next_line(), Err(LineTooLong { limit: 3 }), "without waiting for its end");
    }

    #[test]
    fn a_burst_gives_its_room_back() {
        let mut decoder = LineDecoder::new(10);
        decoder.extend(&b"line\n".repeat(10_000));
        while decoder.next_line().unwrap().is_some() {}
        assert!(decoder.bytes.capacity() <= KEEP && decoder.pending() == 0);
        decoder.extend(b"ab\n");
        assert_eq!(decoder.next_line(), Ok(Some(&b"ab"[..])));
    }

    #[test]
    fn lines_come_whole_however_the_stream_is_cut() {
        let stream = b"one\ntwo\r\n\n  three  \nfour";
        for size in 1..stream.len() {
            let mut decoder = LineDecoder::new(100);
            let mut lines = vec![];
            for part in stream.chunks(size) {
                decoder.extend(part);
                while let Some(line) = decoder.next_line().unwrap() {
                    lines.push(line.to_vec());
                }
            }
            assert_eq!(lines, [&b"one"[..], b"two", b"three"], "in portions of {size}");
            assert_eq!(decoder.pending(), 4);
        }
    }
}
