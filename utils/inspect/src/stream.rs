//! A plain byte stream to text.

use std::io::{self, Read, Write};

use codec_sv2::{Error, StandardSv2Decoder};

use crate::{Printer, Summary};

/// Prints the frames of a plain byte stream, and what is wrong with it.
///
/// Holds one frame at a time, 16 MiB at most, however long the stream and whatever its headers announce.
///
/// # Errors
/// Those of reading and writing; see [`Summary::errors`] for those of the stream.
pub fn decode_stream<W: Write>(mut input: impl Read, printer: &mut Printer<W>) -> io::Result<Summary> {
    let mut decoder = StandardSv2Decoder::new();
    let mut offset = 0;
    loop {
        while let Ok(frame) = decoder.next_frame() {
            let place = format!("offset {offset}");
            printer.frame(&place, offset, frame.header(), frame.payload())?;
            offset += frame.encoded_len() as u64;
        }
        match input.read(decoder.writable()) {
            Ok(0) => break,
            Ok(count) => decoder.advance(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if let Err(Error::MissingBytes(missing)) = decoder.ready()
        && !decoder.is_empty()
    {
        printer.broken(&format!("offset {offset}"), offset, &Unfinished { missing })?;
    }
    Ok(printer.summary())
}

/// A stream that ends inside a frame.
pub(crate) struct Unfinished {
    pub missing: usize,
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {} more bytes of the frame that begins here, got the end", self.missing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> (String, Summary) {
        let mut printer = Printer::new(vec![]);
        let summary = decode_stream(bytes, &mut printer).unwrap();
        (String::from_utf8(printer.into_inner()).unwrap(), summary)
    }

    /// ChannelEndpointChanged for channel 1, twice.
    const TWO: [u8; 20] = [0, 0x80, 3, 4, 0, 0, 1, 0, 0, 0, 0, 0x80, 3, 4, 0, 0, 1, 0, 0, 0];

    #[test]
    fn frames_follow_each_other() {
        let (text, summary) = decode(&TWO);
        assert_eq!(summary, Summary { messages: 2, errors: 0 });
        assert!(text.contains("offset 0: ChannelEndpointChanged") && text.contains("offset 10: Channel"), "{text}");
        assert_eq!(decode(&[]), (String::new(), Summary::default()));
    }

    #[test]
    fn a_cut_stream_says_where_and_how_much_is_missing() {
        for end in 11..20 {
            let (text, summary) = decode(&TWO[..end]);
            assert_eq!(summary, Summary { messages: 1, errors: 1 }, "{end}");
            let missing = if end < 16 { 16 - end } else { 20 - end };
            assert!(text.contains(&format!("error at offset 10: expected {missing} more bytes")), "{end}: {text}");
        }
    }

    #[test]
    fn decoding_goes_on_behind_a_bad_payload() {
        let mut bytes = TWO;
        bytes[2] = 0x01;
        assert_eq!(decode(&bytes).1, Summary { messages: 1, errors: 1 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_, summary) = decode(&bytes);
            prop_assert!(bytes.is_empty() || summary.errors + summary.messages > 0);
        }

        /// Known headers, so that payload decoders see the noise.
        #[test]
        fn no_payload_panics(number in 0u8..0x80, extension in 0u16..3, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = framing_sv2::Header::new(extension, false, number, payload.len()).unwrap().to_bytes().to_vec();
            bytes.extend(&payload);
            prop_assert_eq!(decode(&bytes).1.errors + decode(&bytes).1.messages, 1);
        }
    }
}
