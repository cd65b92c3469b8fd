//! What a connection speaks, told from how it begins, where a listener leaves a choice (`docs/spec/one-port.md`).
//!
//! The first message of a noise handshake is 64 bytes that look random, any of which may be any byte. So no single byte tells:
//! a protocol is recognised by as long a beginning as no random one has in practice, and all else is noise.

/// Bytes after which every connection is told from the others: the length of the first message of a noise handshake.
pub const DECIDED_AT: usize = 64;

/// The shortest line that is a request: `{"method":"x"}`.
const SHORTEST_LINE: usize = 14;

/// Payload of a SetupConnection with empty texts, and with the longest (sv2-spec §3.6.1).
const SETUP_CONNECTION: std::ops::RangeInclusive<u32> = 16..=1_291;

/// The longest TLS record in the clear (RFC 8446 §5.1).
const LONGEST_RECORD: u16 = 1 << 14;

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// A JSON object: Stratum V1.
    Json,
    /// A TLS ClientHello.
    Tls,
    /// A SetupConnection in the clear.
    PlainV2,
    /// Anything else: the first message of a noise handshake, or nothing that is served.
    Noise,
}

/// What the first bytes of a connection begin; `None` as long as more have to come. Bytes from [`DECIDED_AT`] on are not looked at.
///
/// Once decided, more bytes do not change it.
pub fn detect(start: &[u8]) -> Option<Beginning> {
    let window = &start[..start.len().min(DECIDED_AT)];
    let is_whole = window.len() == DECIDED_AT;
    let mut is_open = false;
    for (test, beginning) in
        [(json as fn(&[u8]) -> Option<bool>, Beginning::Json), (tls, Beginning::Tls), (plain, Beginning::PlainV2)]
    {
        match test(window) {
            Some(true) => return Some(beginning),
            Some(false) => {}
            None => is_open = true,
        }
    }
    (is_whole || !is_open).then_some(Beginning::Noise)
}

/// White space, an opening brace, white space, a quotation mark, then text up to the end of a line or of the window.
fn json(window: &[u8]) -> Option<bool> {
    let line = window.trim_ascii_start();
    let (first, after) = line.split_first()?;
    if *first != b'{' {
        return Some(false);
    }
    match after.iter().find(|byte| !matches!(byte, b' ' | b'\t')) {
        None => return None,
        Some(b'"') => {}
        Some(_) => return Some(false),
    }
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = line[..end].trim_ascii_end();
            Some(line.len() >= SHORTEST_LINE && line.ends_with(b"}") && is_text(line))
        }
        None if !is_text(line) => Some(false),
        None => (window.len() == DECIDED_AT).then_some(true),
    }
}

/// UTF-8 that can be seen, but for tabs and a carriage return at the end. Its last character may be cut off.
fn is_text(bytes: &[u8]) -> bool {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !whole.strip_suffix('\r').unwrap_or(whole).contains(|c: char| c.is_control() && c != '\t')
}

/// A record of type handshake (RFC 8446 §5.1) that begins with a ClientHello (§4.1.2) of TLS 1.0 to 1.3.
fn tls(window: &[u8]) -> Option<bool> {
    const VERSION: fn(u8) -> bool = |minor| (1..=3).contains(&minor);
    let fits: [fn(&[u8]) -> bool; 11] = [
        |bytes| bytes[0] == 0x16,
        |bytes| bytes[1] == 0x03,
        |bytes| VERSION(bytes[2]),
        |bytes| u16::from(bytes[3]) <= LONGEST_RECORD >> 8,
        |bytes| (4..=LONGEST_RECORD).contains(&u16::from_be_bytes([bytes[3], bytes[4]])),
        // ClientHello, of less than 64 KiB.
        |bytes| bytes[5] == 0x01,
        |bytes| bytes[6] == 0x00,
        |_| true,
        |_| true,
        |bytes| bytes[9] == 0x03,
        |bytes| VERSION(bytes[10]),
    ];
    each(window, &fits)
}

/// The header of a SetupConnection (sv2-spec §3.2, §3.6) with a length that one can have.
fn plain(window: &[u8]) -> Option<bool> {
    let fits: [fn(&[u8]) -> bool; 6] = [
        |bytes| bytes[0] == 0,
        |bytes| bytes[1] == 0,
        |bytes| bytes[2] == 0,
        |_| true,
        |_| true,
        |bytes| SETUP_CONNECTION.contains(&u32::from_le_bytes([bytes[3], bytes[4], bytes[5], 0])),
    ];
    each(window, &fits)
}

/// Whether the bytes fit one by one, as far as they are there.
fn each(window: &[u8], fits: &[fn(&[u8]) -> bool]) -> Option<bool> {
    if !fits.iter().take(window.len()).all(|fits| fits(window)) {
        return Some(false);
    }
    (window.len() >= fits.len()).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64: the same bytes in every run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn act1(&mut self) -> [u8; DECIDED_AT] {
            let mut bytes = [0; DECIDED_AT];
            bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()));
            bytes
        }
    }

    /// Ten million where they are quick.
    const ROUNDS: u32 = if cfg!(debug_assertions) { 300_000 } else { 10_000_000 };

    #[test]
    fn no_random_act_1_is_taken_for_something_else() {
        let mut random = Random(1);
        for _ in 0..ROUNDS {
            let act1 = random.act1();
            assert_eq!(detect(&act1), Some(Beginning::Noise), "{act1:02x?}");
        }
    }

    /// As good as 65,536 times as many random ones, and 16 million times.
    #[test]
    fn no_act_1_that_begins_like_json_or_tls_is_taken_for_it() {
        let mut random = Random(2);
        for start in [&b"{\""[..], b"{ \"", b"\n{\"", b"\x16\x03\x01"] {
            for _ in 0..ROUNDS / 4 {
                let mut act1 = random.act1();
                act1[..start.len()].copy_from_slice(start);
                assert_eq!(detect(&act1), Some(Beginning::Noise), "{act1:02x?}");
            }
        }
    }

    /// What devices send first.
    const OPENINGS: &[&str] = &[
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n",
        "{\"id\": 1, \"method\": \"mining.configure\", \"params\": [[\"version-rolling\"], {\"version-rolling.mask\": \"ffffffff\"}]}\n",
        "{\"params\": [\"cgminer/4.12.1\"], \"id\": 1, \"method\": \"mining.subscribe\"}\r\n",
        "  \r\n{ \t\"method\":\"x\"}\n",
        "{\"method\":\"x\"}\n",
        "{\"id\":\"\",\"method\":\"mining.authorize\",\"params\":[\"\u{6625}\u{6a31}.\u{6625}\u{6a31}\u{6625}\u{6a31}\u{6625}\u{6a31}\",\"x\"]}\n",
        "{\"id\":null,\"method\":\"mining.suggest_difficulty\",\"params\":[65536]}\n",
    ];

    #[test]
    fn what_devices_send_first_is_json() {
        for opening in OPENINGS {
            assert_eq!(detect(opening.as_bytes()), Some(Beginning::Json), "{opening}");
            for at in 0..opening.len() {
                let part = detect(&opening.as_bytes()[..at]);
                assert!(part.is_none() || (part == Some(Beginning::Json) && at >= DECIDED_AT), "{opening} up to {at}");
            }
        }
    }

    #[test]
    fn what_is_no_request_is_noise() {
        for start in
            ["{\"x\":1}\n", "{}\n", "[1]\n", "{1", "{\"method\":\u{7}", "GET / HTTP/1.1\r\n", "{\"method\":\"x\"]\n"]
        {
            assert_eq!(detect(start.as_bytes()), Some(Beginning::Noise), "{start}");
        }
        assert_eq!(detect(b"{\"method\xff"), Some(Beginning::Noise));
        assert_eq!(detect(&[b' '; DECIDED_AT]), Some(Beginning::Noise));
        assert_eq!(detect(&[b' '; DECIDED_AT - 1]), None);
        assert_eq!(detect(b""), None);
    }

    #[test]
    fn a_client_hello_is_tls() {
        let hello = [0x16, 3, 1, 0x00, 0xc8, 1, 0, 0, 0xc4, 3, 3];
        assert_eq!(detect(&hello), Some(Beginning::Tls));
        assert!((0..hello.len()).all(|at| detect(&hello[..at]).is_none()));
        for (at, other) in [(0, 0x17), (1, 2), (2, 4), (3, 0x41), (5, 2), (6, 1), (9, 2), (10, 0)] {
            let mut other_hello = hello;
            other_hello[at] = other;
            assert_eq!(detect(&other_hello), Some(Beginning::Noise), "byte {at}");
        }
    }

    #[test]
    fn a_set_up_in_the_clear_is_told_by_its_length() {
        let header = |length: u32| {
            let [a, b, c, _] = length.to_le_bytes();
            [0, 0, 0, a, b, c]
        };
        for length in [16, 1_291] {
            assert_eq!(detect(&header(length)), Some(Beginning::PlainV2), "{length}");
        }
        for length in [0, 15, 1_292, 0xff_ffff] {
            assert_eq!(detect(&header(length)), Some(Beginning::Noise), "{length}");
        }
        assert_eq!(detect(&header(16)[..5]), None);
        assert_eq!(detect(&[0, 0, 1]), Some(Beginning::Noise));
    }

    proptest::proptest! {
        #[test]
        fn a_decision_holds_and_comes_in_time(
            start in proptest::sample::select(vec![&b""[..], b"{\"", b" {", b"\x16\x03\x03\x01\x00\x01\x00", b"\0\0\0"]),
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
        ) {
            let bytes = [start, &rest].concat();
            let mut decided = None;
            for at in 0..=bytes.len() {
                let now = detect(&bytes[..at]);
                proptest::prop_assert!(decided.is_none() || now == decided);
                proptest::prop_assert!(now.is_some() || at < DECIDED_AT);
                decided = now;
            }
        }
    }
}
