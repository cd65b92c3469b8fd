//! A packet capture to the messages of the Sv2 connections in it.
//!
//! Memory is bounded whatever the capture holds: [`MAX_CONNECTIONS`] at a time, 4 MiB of segments that wait for an
//! earlier one per direction, one frame per direction, and [`MAX_BUFFERED`] for all connections together. A connection
//! that goes over a bound is given up, with a line that says so.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    net::SocketAddr,
};

use crate::{
    CaptureError, KeyLog, Printer, Summary,
    connection::{Connection, Moment, Side},
    packet::{Segment, segment},
    pcap::{Packet, Packets},
};

/// Connections that are followed at a time. Further ones are not decoded.
pub const MAX_CONNECTIONS: usize = 4_096;
/// Bytes that wait in all connections together, for missing segments or the rest of a frame: some of the longest frames.
pub const MAX_BUFFERED: usize = 128 << 20;

/// What to decode of a capture.
#[derive(Debug, Default)]
pub struct CaptureOptions {
    /// Only connections with this port at one end.
    pub port: Option<u16>,
    /// Keys of encrypted connections.
    pub keys: KeyLog,
}

/// Prints the messages of all Sv2 connections in a pcap or pcapng file, in the order in which they became whole.
///
/// A connection is plain Sv2 if it begins with a frame of a known message, encrypted Sv2 if its beginning is in the key
/// log; others are left with a line each. Packets other than TCP are skipped, IP fragments too.
///
/// # Errors
/// When the file is no capture, or damaged; what was whole before that place is printed.
pub fn decode_capture<W: Write>(
    input: impl Read,
    options: &CaptureOptions,
    printer: &mut Printer<W>,
) -> Result<Summary, CaptureError> {
    let mut packets = Packets::open(input)?;
    let mut decoder =
        CaptureDecoder { options, printer, connections: HashMap::new(), started: 0, buffered: 0, full: false };
    let mut first = None;
    let end = loop {
        match packets.next() {
            Ok(Some(Packet { link, nanos, data })) => {
                let since_first = nanos.saturating_sub(*first.get_or_insert(nanos));
                if let Some(segment) = segment(link, data) {
                    decoder.take(Moment(since_first), &segment)?;
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    decoder.finish()?;
    end.map(|()| printer.summary())
}

struct CaptureDecoder<'a, W> {
    options: &'a CaptureOptions,
    printer: &'a mut Printer<W>,
    /// By the two ends, the lower address first.
    connections: HashMap<[SocketAddr; 2], Connection>,
    /// Connections seen so far.
    started: u64,
    /// Bytes that wait in all connections.
    buffered: usize,
    /// Whether it was said that there are too many connections.
    full: bool,
}

impl<W: Write> CaptureDecoder<'_, W> {
    fn take(&mut self, moment: Moment, segment: &Segment<'_>) -> io::Result<()> {
        let Segment { from, to, .. } = *segment;
        if self.options.port.is_some_and(|port| from.port() != port && to.port() != port) {
            return Ok(());
        }
        let (ends, side) = if from <= to { ([from, to], Side::First) } else { ([to, from], Side::Second) };
        let opens = segment.syn && !segment.ack;
        if opens && self.connections.get(&ends).is_some_and(|old| old.is_another(side, segment)) {
            self.end(ends)?;
        }
        if !self.connections.contains_key(&ends) && !self.start(ends, segment)? {
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(&ends) else { return Ok(()) };
        let before = connection.buffered();
        connection.segment(moment, side, segment, &self.options.keys, self.printer)?;
        let after = connection.buffered();
        self.buffered = self.buffered.saturating_sub(before).saturating_add(after);
        if self.buffered > MAX_BUFFERED && after > 0 {
            connection.give_up(&TooMuch, self.printer)?;
            self.buffered = self.buffered.saturating_sub(after);
        }
        let over = self.connections.get(&ends).is_some_and(Connection::is_over);
        if over { self.end(ends) } else { Ok(()) }
    }

    /// Begins to follow a connection, unless there is nothing to it yet, or no room.
    fn start(&mut self, ends: [SocketAddr; 2], segment: &Segment<'_>) -> io::Result<bool> {
        if segment.payload.is_empty() && !segment.syn {
            return Ok(false);
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            if !std::mem::replace(&mut self.full, true) {
                self.printer.note(&format!("over {MAX_CONNECTIONS} connections at a time: the others are left out"))?;
                self.printer.error(0, &"not all connections are decoded; --port chooses some")?;
            }
            return Ok(false);
        }
        self.started += 1;
        self.connections.insert(ends, Connection::new(self.started, ends));
        Ok(true)
    }

    fn end(&mut self, ends: [SocketAddr; 2]) -> io::Result<()> {
        let Some(mut connection) = self.connections.remove(&ends) else { return Ok(()) };
        self.buffered = self.buffered.saturating_sub(connection.buffered());
        connection.finish(self.printer)
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut rest: Vec<_> = self.connections.drain().map(|(_, connection)| connection).collect();
        rest.sort_by_key(Connection::number);
        rest.iter_mut().try_for_each(|connection| connection.finish(self.printer))
    }
}

struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up: {MAX_BUFFERED} bytes wait in all connections together")
    }
}

#[cfg(test)]
mod tests {
    use binary_sv2::Message;
    use codec_sv2::{Encoder, NoiseEncoder};
    use common_messages_sv2::{ChannelEndpointChanged, SetupConnectionSuccess};
    use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Validity};
    use proptest::prelude::*;
    use rand_core::OsRng;

    use super::*;
    use crate::packet::tests::{ACK, FIN, SYN, packet};

    /// A capture being made: raw IP packets, a millisecond apart.
    struct Capture {
        file: Vec<u8>,
        packets: u32,
    }

    const CLIENT: &str = "10.0.0.9:50000";
    const SERVER: &str = "10.0.0.1:3333";

    impl Capture {
        fn new() -> Self {
            let header = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 101];
            Self { file: header.iter().flat_map(|word| word.to_le_bytes()).collect(), packets: 0 }
        }

        fn packet(&mut self, from: &str, to: &str, sequence: u32, flags: u8, payload: &[u8]) {
            let data = packet(from.parse().unwrap(), to.parse().unwrap(), sequence, flags, payload);
            let record = [1_700_000_000, self.packets * 1000, data.len() as u32, data.len() as u32];
            self.file.extend(record.iter().flat_map(|word| word.to_le_bytes()));
            self.file.extend(data);
            self.packets += 1;
        }

        /// A connection with these streams; the client's sequence numbers wrap within it.
        fn connection(&mut self, from_client: &[&[u8]], from_server: &[&[u8]]) {
            self.packet(CLIENT, SERVER, u32::MAX - 20, SYN, &[]);
            self.packet(SERVER, CLIENT, 99, SYN | ACK, &[]);
            let mut sequence = u32::MAX - 19;
            for payload in from_client {
                self.packet(CLIENT, SERVER, sequence, ACK, payload);
                sequence = sequence.wrapping_add(payload.len() as u32);
            }
            let mut sequence = 100;
            for payload in from_server {
                self.packet(SERVER, CLIENT, sequence, ACK, payload);
                sequence += payload.len() as u32;
            }
        }

        fn decode(&self, options: &CaptureOptions) -> (String, Summary) {
            let mut printer = Printer::new(vec![]);
            let summary = decode_capture(&self.file[..], options, &mut printer).unwrap();
            (String::from_utf8(printer.into_inner()).unwrap(), summary)
        }
    }

    fn plain(message: &impl Message) -> Vec<u8> {
        let mut bytes = vec![];
        Encoder::new().encode(message, &mut bytes).unwrap();
        bytes
    }

    const CHANGED: ChannelEndpointChanged = ChannelEndpointChanged { channel_id: 7 };
    const SUCCESS: SetupConnectionSuccess = SetupConnectionSuccess { used_version: 2, flags: 1 };

    fn summary(messages: u64, errors: u64) -> Summary {
        Summary { messages, errors }
    }

    #[test]
    fn a_plain_connection_cut_repeated_and_out_of_order() {
        let (request, answer) = (plain(&CHANGED), plain(&SUCCESS));
        let mut capture = Capture::new();
        capture.connection(&[&request, &request[..4]], &[&answer[..3]]);
        capture.packet(CLIENT, SERVER, (u32::MAX - 19).wrapping_add(15), ACK, &request[5..]);
        capture.packet(CLIENT, SERVER, u32::MAX - 19, ACK, &request);
        capture.packet(CLIENT, SERVER, (u32::MAX - 19).wrapping_add(14), ACK, &request[4..]);
        capture.packet(SERVER, CLIENT, 100, ACK, &answer);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(3, 0), "{text}");
        assert!(
            text.contains("0.002000 #1 10.0.0.9:50000 > 10.0.0.1:3333, offset 0: ChannelEndpointChanged"),
            "{text}"
        );
        assert!(
            text.contains("0.007000 #1 10.0.0.9:50000 > 10.0.0.1:3333, offset 10: ChannelEndpointChanged"),
            "{text}"
        );
        assert!(
            text.contains("0.008000 #1 10.0.0.1:3333 > 10.0.0.9:50000, offset 0: SetupConnection.Success"),
            "{text}"
        );
        let other_port = CaptureOptions { port: Some(3334), ..CaptureOptions::default() };
        assert_eq!(capture.decode(&other_port), (String::new(), summary(0, 0)));
    }

    /// A noise connection: a message each way, the server's of two blocks; then its key line.
    fn encrypted() -> (Capture, String) {
        let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
        let identity = ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut OsRng).unwrap();
        let (waiting, act1) = Initiator::new(None, &mut OsRng).unwrap();
        let (act2, server, keys) = Responder::new(&identity).step_exporting_keys(&act1, &mut OsRng).unwrap();
        let client = waiting.finish(&act2, 1).unwrap();
        let (mut request, mut answer) = (vec![], vec![]);
        NoiseEncoder::new(client.send).encode(&CHANGED, &mut request).unwrap();
        let long = job_declaration_sv2::ProvideMissingTransactionsSuccess {
            request_id: 9,
            transaction_list: binary_sv2::Seq0_64K::try_from_iter([vec![5; 70_000].try_into().unwrap()]).unwrap(),
        };
        let mut encoder = NoiseEncoder::new(server.send);
        encoder.encode(&long, &mut answer).unwrap();
        encoder.encode(&SUCCESS, &mut answer).unwrap();
        let first = [&act2[..], &answer[..5]].concat();
        let rest: Vec<_> = answer[5..].chunks(1_400).collect();
        let mut capture = Capture::new();
        capture.connection(&[&act1[..30], &act1[30..], &request], &[&[&first[..]], &rest[..]].concat());
        (capture, keys.key_log_line(&act1))
    }

    #[test]
    fn an_encrypted_connection_with_its_key_log() {
        let (capture, line) = encrypted();
        let log = |text: &str| KeyLog::read(text.as_bytes()).unwrap();
        let keys = log(&format!("# a comment\n\n{line}\n"));
        assert_eq!((keys.len(), keys.is_empty()), (1, false));
        let (text, got) = capture.decode(&CaptureOptions { keys, ..CaptureOptions::default() });
        assert_eq!(got, summary(3, 0), "{text}");
        assert!(text.contains("offset 64: ChannelEndpointChanged"), "{text}");
        assert!(text.contains("offset 234: ProvideMissingTransactions.Success, type 0x56, 70009 bytes"), "{text}");
        assert!(text.contains("SetupConnection.Success"), "{text}");

        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!((got, text.lines().count()), (summary(0, 0), 2), "{text}");
        assert!(text.contains("not decoded"), "{text}");
        let mut damaged = line.clone().into_bytes();
        let last = damaged.len() - 1;
        damaged[last] = if damaged[last] == b'0' { b'1' } else { b'0' };
        let keys = log(std::str::from_utf8(&damaged).unwrap());
        let (text, got) = capture.decode(&CaptureOptions { keys, ..CaptureOptions::default() });
        assert_eq!(got, summary(1, 1), "{text}");
        assert!(text.contains("error at offset 234"), "{text}");
    }

    #[test]
    fn a_key_log_says_which_line_is_wrong_and_not_what_it_holds() {
        let error = KeyLog::read("\nSV2_NOISE 00 01 02\n".as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "key log, line 2: expected 64 bytes in hexadecimal as number 1");
    }

    #[test]
    fn missing_segments_and_ends_inside_a_frame_are_reported() {
        let request = plain(&CHANGED);
        let mut capture = Capture::new();
        capture.connection(&[&request], &[]);
        capture.packet(CLIENT, SERVER, (u32::MAX - 19).wrapping_add(20), ACK, &request);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(1, 1), "{text}");
        assert!(text.contains("error at offset 10: 10 bytes of the stream are not in the capture"), "{text}");

        let mut capture = Capture::new();
        capture.connection(&[&request, &request[..7]], &[]);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(1, 0), "{text}");
        assert!(text.contains("the capture ends inside the frame at offset 10, 3 bytes are missing"), "{text}");
        capture.packet(CLIENT, SERVER, (u32::MAX - 19).wrapping_add(17), FIN, &[]);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(1, 1), "{text}");
        assert!(text.contains("error at offset 10: expected 3 more bytes"), "{text}");
    }

    #[test]
    fn an_end_that_comes_early_waits_for_what_is_before_it() {
        let request = plain(&CHANGED);
        let mut capture = Capture::new();
        capture.connection(&[], &[&request]);
        capture.packet(SERVER, CLIENT, 110, FIN, &[]);
        capture.packet(CLIENT, SERVER, (u32::MAX - 19).wrapping_add(10), FIN, &[]);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(1, 0), "{text}");
        capture.packet(CLIENT, SERVER, u32::MAX - 19, ACK, &request);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(2, 0), "{text}");
        // Over now: the same again is another connection.
        capture.packet(CLIENT, SERVER, u32::MAX - 19, ACK, &request);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(3, 0), "{text}");
        assert!(text.contains("#2 10.0.0.9:50000"), "{text}");
    }

    #[test]
    fn short_connections_of_others_leave_nothing_behind() {
        let mut capture = Capture::new();
        for i in 0..MAX_CONNECTIONS + 9 {
            let client = format!("10.1.{}.{}:1000", i / 256, i % 256);
            capture.packet(&client, SERVER, 0, SYN, &[]);
            capture.packet(&client, SERVER, 1, FIN, b"hello there");
            capture.packet(SERVER, &client, 1, FIN, b"");
        }
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!((got, text.lines().count()), (summary(0, 0), MAX_CONNECTIONS + 9));
    }

    #[test]
    fn the_same_ports_twice_are_two_connections() {
        let request = plain(&CHANGED);
        let mut capture = Capture::new();
        capture.connection(&[&request, &request], &[]);
        capture.packet(CLIENT, SERVER, 5_000, SYN, &[]);
        capture.packet(CLIENT, SERVER, 5_001, ACK, &request);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(3, 0), "{text}");
        assert!(text.contains("#2 10.0.0.9:50000 > 10.0.0.1:3333, offset 0"), "{text}");
    }

    #[test]
    fn other_traffic_is_left_with_a_line_each_way() {
        let mut capture = Capture::new();
        capture.connection(&[b"GET / HTTP/1.1\r\n\r\n"], &[&[b'x'; 400]]);
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(0, 0));
        assert_eq!(text.matches("not decoded: begins neither").count(), 2, "{text}");
    }

    #[test]
    fn connections_over_the_bound_are_left_out_with_a_word() {
        let request = plain(&CHANGED);
        let mut capture = Capture::new();
        for i in 0..MAX_CONNECTIONS + 3 {
            let client = format!("10.1.{}.{}:1000", i / 256, i % 256);
            capture.packet(&client, SERVER, 1, ACK, &request[..7]);
        }
        let (text, got) = capture.decode(&CaptureOptions::default());
        assert_eq!(got, summary(0, 1));
        assert!(text.contains("over 4096 connections at a time"), "{}", &text[..200]);
    }

    #[test]
    fn a_damaged_file_shows_what_was_whole_before() {
        let request = plain(&CHANGED);
        let mut capture = Capture::new();
        capture.connection(&[&request], &[]);
        capture.file.extend([1, 2, 3]);
        let mut printer = Printer::new(vec![]);
        let error = decode_capture(&capture.file[..], &CaptureOptions::default(), &mut printer).unwrap_err();
        assert!(matches!(error, CaptureError::Malformed { .. }));
        assert_eq!(printer.summary(), summary(1, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_stream_panics(pieces in proptest::collection::vec((any::<bool>(), 0u32..400, 0u8..32, proptest::collection::vec(any::<u8>(), 0..80)), 0..40)) {
            let mut capture = Capture::new();
            let mut known = plain(&CHANGED);
            known.extend([0, 0x80, 0x1b, 30, 0, 0]);
            for (client, sequence, flags, mut payload) in pieces {
                if sequence < 100 {
                    payload.splice(0..0, known.iter().copied());
                }
                let (from, to) = if client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
                capture.packet(from, to, sequence, flags, &payload);
            }
            capture.decode(&CaptureOptions::default());
        }
    }
}
