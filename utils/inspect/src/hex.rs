//! Hexadecimal text as bytes.

use std::io::{self, BufRead, Read};

/// Reads the bytes that hexadecimal text stands for. White space and colons between digits are skipped.
///
/// Anything else is an [`io::ErrorKind::InvalidData`] with its offset in the text.
#[derive(Debug)]
pub struct HexReader<R> {
    text: R,
    offset: u64,
}

impl<R: BufRead> HexReader<R> {
    /// Reads from `text`.
    pub fn new(text: R) -> Self {
        Self { text, offset: 0 }
    }

    /// The next digit's value, or `None` at the end.
    fn digit(&mut self) -> io::Result<Option<u8>> {
        loop {
            let mut next = [0];
            if self.text.read(&mut next)? == 0 {
                return Ok(None);
            }
            let [next] = next;
            self.offset += 1;
            match char::from(next).to_digit(16) {
                Some(value) => return Ok(Some(value as u8)),
                None if next.is_ascii_whitespace() || next == b':' => {}
                None => {
                    let shown = next.escape_ascii();
                    return Err(self.invalid(format!("expected a hexadecimal digit, got `{shown}`")));
                }
            }
        }
    }

    fn invalid(&self, what: String) -> io::Error {
        let offset = self.offset.saturating_sub(1);
        io::Error::new(io::ErrorKind::InvalidData, format!("hexadecimal text, offset {offset}: {what}"))
    }
}

impl<R: BufRead> Read for HexReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for byte in out {
            let Some(high) = self.digit()? else { break };
            let low = self.digit()?.ok_or_else(|| self.invalid("expected another digit, got the end".to_owned()))?;
            *byte = high << 4 | low;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, String> {
        let mut bytes = vec![];
        HexReader::new(text.as_bytes()).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn text_with_spaces_is_read() {
        assert_eq!(read(" 00ff\n7:F 1 0").unwrap(), [0, 0xff, 0x7f, 0x10]);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn other_text_is_an_error_with_its_place() {
        assert_eq!(read("00zz").unwrap_err(), "hexadecimal text, offset 2: expected a hexadecimal digit, got `z`");
        assert_eq!(read("abc").unwrap_err(), "hexadecimal text, offset 2: expected another digit, got the end");
    }

    proptest! {
        #[test]
        fn every_byte_string_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
            prop_assert_eq!(read(&text).unwrap(), bytes);
        }
    }
}
