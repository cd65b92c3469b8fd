//! One TCP connection of a capture: what it carries, and its frames in both directions.

use std::{
    fmt,
    io::{self, Write},
    mem,
    net::SocketAddr,
};

use codec_sv2::{Error, StandardNoiseDecoder, StandardSv2Decoder, encrypted_len};
use const_sv2::limits::{FRAME_HEADER_LEN, NOISE_ENCRYPTED_HEADER_LEN};
use framing_sv2::{Header, Sv2Frame};
use noise_sv2::{ACT1_LENGTH, ACT2_LENGTH, CipherState};

use crate::{
    KeyLog, Printer,
    packet::Segment,
    printer::info,
    stream::Unfinished,
    tcp::{Assembler, Gap},
};

/// A time in the capture: nanoseconds since its first packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub u64);

/// One of a connection's ends, by the order of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A connection that is followed.
pub(crate) struct Connection {
    number: u64,
    /// What each end sends.
    first: Direction,
    second: Direction,
}

impl Connection {
    pub(crate) fn new(number: u64, [first, second]: [SocketAddr; 2]) -> Self {
        let label = |from, to| format!("#{number} {from} > {to}");
        let (first_label, second_label) = (label(first, second), label(second, first));
        Self { number, first: Direction::new(first_label), second: Direction::new(second_label) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a SYN of `side` opens another connection between the same ends.
    pub(crate) fn is_another(&self, side: Side, segment: &Segment<'_>) -> bool {
        let direction = self.direction(side);
        direction.syn != Some(segment.sequence) && (direction.syn.is_some() || direction.received > 0)
    }

    /// Bytes that it holds.
    pub(crate) fn buffered(&self) -> usize {
        self.first.buffered() + self.second.buffered()
    }

    /// Whether both ends have said all.
    pub(crate) fn is_over(&self) -> bool {
        self.first.is_over() && self.second.is_over()
    }

    /// Takes a segment that `side` sent, and prints the frames that are whole now.
    pub(crate) fn segment<W: Write>(
        &mut self,
        moment: Moment,
        side: Side,
        segment: &Segment<'_>,
        keys: &KeyLog,
        printer: &mut Printer<W>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let direction = self.direction_mut(side);
        let assembled = direction.take(segment, &mut bytes);
        if matches!(direction.content, Content::Unknown) {
            direction.start.extend_from_slice(&bytes);
            self.recognise(side, keys);
            for side in [side, side.other()] {
                self.direction_mut(side).feed_start(moment, printer)?;
            }
        } else {
            direction.feed(moment, &bytes, printer)?;
        }
        if segment.reset {
            self.direction_mut(side).reset = true;
            self.direction_mut(side.other()).reset = true;
        }
        match assembled {
            Ok(()) => Ok(()),
            Err(gap) => self.direction_mut(side).give_up(&Missing(gap), printer),
        }
    }

    /// Leaves the connection from here on.
    pub(crate) fn give_up<W: Write>(&mut self, why: &dyn fmt::Display, printer: &mut Printer<W>) -> io::Result<()> {
        self.first.give_up(why, printer)?;
        self.second.give_up(why, printer)
    }

    /// Says what is left over at the end.
    pub(crate) fn finish<W: Write>(&mut self, printer: &mut Printer<W>) -> io::Result<()> {
        self.first.finish(printer)?;
        self.second.finish(printer)
    }

    /// Finds out from the beginning of a direction what it carries.
    fn recognise(&mut self, side: Side, keys: &KeyLog) {
        let start = &self.direction(side).start;
        if let Some(keys) = keys.keys(start) {
            let (from_initiator, from_responder) = keys.ciphers();
            self.direction_mut(side).content = Content::encrypted(ACT1_LENGTH, from_initiator);
            self.direction_mut(side.other()).content = Content::encrypted(ACT2_LENGTH, from_responder);
        } else if start.first_chunk().is_some_and(is_known) {
            self.direction_mut(side).content = Content::Frames(Decoder::Plain(StandardSv2Decoder::new()));
        } else if start.len() > ACT2_LENGTH {
            self.direction_mut(side).content = Content::Left { reported: false };
        }
    }

    fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }

    fn direction_mut(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }
}

/// Whether six bytes are the header of a message that the specification has.
fn is_known(header: &[u8; FRAME_HEADER_LEN]) -> bool {
    let header = Header::from_bytes(header);
    info(header).is_some_and(|info| info.channel_msg == header.channel_msg())
}

/// What one end sends.
struct Direction {
    label: String,
    assembler: Assembler,
    content: Content,
    /// The first bytes, until it is known what they are.
    start: Vec<u8>,
    /// Where in the stream the frame begins that is being put together.
    offset: u64,
    /// Bytes in order so far.
    received: u64,
    /// The sequence number of its SYN.
    syn: Option<u32>,
    /// The connection was broken off.
    reset: bool,
}

/// What a direction carries.
enum Content {
    Unknown,
    /// The rest of a handshake act, so many bytes, then frames.
    Handshake(usize, Decoder),
    Frames(Decoder),
    /// Something else, or frames no more.
    Left {
        /// Whether it was said why.
        reported: bool,
    },
}

impl Content {
    fn encrypted(act: usize, cipher: CipherState) -> Self {
        Self::Handshake(act, Decoder::Noise(Box::new(StandardNoiseDecoder::new(cipher))))
    }
}

enum Decoder {
    Plain(StandardSv2Decoder),
    Noise(Box<StandardNoiseDecoder>),
}

impl Decoder {
    /// Takes some of `bytes`, and returns the rest.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let room = match self {
            Self::Plain(decoder) => decoder.writable(),
            Self::Noise(decoder) => decoder.writable(),
        };
        let (now, later) = bytes.split_at(room.len().min(bytes.len()));
        for (to, from) in room.iter_mut().zip(now) {
            *to = *from;
        }
        match self {
            Self::Plain(decoder) => decoder.advance(now.len()),
            Self::Noise(decoder) => decoder.advance(now.len()),
        }
        later
    }

    fn next_frame(&mut self) -> Result<Sv2Frame<'_>, Error> {
        match self {
            Self::Plain(decoder) => decoder.next_frame(),
            Self::Noise(decoder) => decoder.next_frame(),
        }
    }

    /// Bytes that the frame at hand still needs; `None` between frames.
    fn missing(&mut self) -> Option<usize> {
        let (empty, ready) = match self {
            Self::Plain(decoder) => (decoder.is_empty(), decoder.ready()),
            Self::Noise(decoder) => (decoder.is_empty(), decoder.ready()),
        };
        match ready {
            Err(Error::MissingBytes(missing)) if !empty => Some(missing),
            _ => None,
        }
    }

    /// From a payload's length: that of its frame's header, and of all of the frame, in the stream.
    fn lengths(&self) -> fn(usize) -> (u64, u64) {
        match self {
            Self::Plain(_) => |payload| (FRAME_HEADER_LEN as u64, (FRAME_HEADER_LEN + payload) as u64),
            Self::Noise(_) => |payload| {
                let header = NOISE_ENCRYPTED_HEADER_LEN;
                (header as u64, (header + encrypted_len(payload)) as u64)
            },
        }
    }
}

impl Direction {
    fn new(label: String) -> Self {
        Self {
            label,
            assembler: Assembler::default(),
            content: Content::Unknown,
            start: Vec::new(),
            offset: 0,
            received: 0,
            syn: None,
            reset: false,
        }
    }

    fn buffered(&self) -> usize {
        let in_decoder = match &self.content {
            Content::Frames(_) => usize::try_from(self.received - self.offset).unwrap_or(usize::MAX),
            _ => 0,
        };
        self.assembler.waiting_bytes() + self.start.len() + in_decoder
    }

    /// Whether nothing more can come.
    fn is_over(&self) -> bool {
        self.reset || self.assembler.is_complete()
    }

    /// Appends what a segment brings in order.
    fn take(&mut self, segment: &Segment<'_>, bytes: &mut Vec<u8>) -> Result<(), Gap> {
        if segment.syn {
            self.syn = Some(segment.sequence);
        }
        let assembled = self.assembler.push(segment.sequence, segment.syn, segment.payload, bytes);
        self.received += bytes.len() as u64;
        if segment.fin {
            let before = segment.payload.len() as u32 + u32::from(segment.syn);
            self.assembler.end_at(segment.sequence.wrapping_add(before));
        }
        assembled
    }

    /// Feeds the first bytes, once it is known what they are.
    fn feed_start<W: Write>(&mut self, moment: Moment, printer: &mut Printer<W>) -> io::Result<()> {
        if matches!(self.content, Content::Unknown) {
            return Ok(());
        }
        let start = mem::take(&mut self.start);
        self.feed(moment, &start, printer)
    }

    /// Takes bytes in order and prints the frames that are whole now.
    fn feed<W: Write>(&mut self, moment: Moment, mut bytes: &[u8], printer: &mut Printer<W>) -> io::Result<()> {
        if let Content::Handshake(missing, _) = &mut self.content {
            let (act, rest) = bytes.split_at((*missing).min(bytes.len()));
            *missing -= act.len();
            self.offset += act.len() as u64;
            bytes = rest;
            if *missing > 0 {
                return Ok(());
            }
        }
        self.content = match mem::replace(&mut self.content, Content::Unknown) {
            Content::Handshake(_, decoder) => Content::Frames(decoder),
            content => content,
        };
        while let Content::Frames(decoder) = &mut self.content
            && !bytes.is_empty()
        {
            bytes = decoder.fill(bytes);
            if let Err(error) = print_frames(decoder, &mut self.offset, &self.label, moment, printer)? {
                self.give_up(&error, printer)?;
            }
        }
        Ok(())
    }

    fn give_up<W: Write>(&mut self, why: &dyn fmt::Display, printer: &mut Printer<W>) -> io::Result<()> {
        self.assembler = Assembler::default();
        self.start = Vec::new();
        if matches!(self.content, Content::Left { .. }) {
            return Ok(());
        }
        self.content = Content::Left { reported: true };
        printer.broken(&self.label, self.offset, why)
    }

    fn finish<W: Write>(&mut self, printer: &mut Printer<W>) -> io::Result<()> {
        if let Some(gap) = self.assembler.gap()
            && !matches!(self.content, Content::Unknown)
        {
            return self.give_up(&Missing(gap), printer);
        }
        let label = &self.label;
        match &mut self.content {
            Content::Unknown if self.received == 0 => Ok(()),
            Content::Unknown | Content::Left { reported: false } => printer
                .note(&format!("{label}: not decoded: begins neither with a message of Sv2 nor as the key log knows")),
            Content::Frames(decoder) => match decoder.missing() {
                Some(missing) if self.is_over() => printer.broken(label, self.offset, &Unfinished { missing }),
                Some(missing) => {
                    let offset = self.offset;
                    printer.note(&format!(
                        "{label}: the capture ends inside the frame at offset {offset}, {missing} bytes are missing"
                    ))
                }
                None => Ok(()),
            },
            Content::Handshake(..) | Content::Left { reported: true } => Ok(()),
        }
    }
}

/// Prints the frames that are whole. The inner error is the stream's.
fn print_frames<W: Write>(
    decoder: &mut Decoder,
    offset: &mut u64,
    label: &str,
    moment: Moment,
    printer: &mut Printer<W>,
) -> io::Result<Result<(), Error>> {
    loop {
        let lengths = decoder.lengths();
        let frame = match decoder.next_frame() {
            Ok(frame) => frame,
            Err(Error::MissingBytes(_)) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        let place = Place { moment, label, offset: *offset };
        let (header_len, frame_len) = lengths(frame.payload().len());
        printer.frame_at(&place, *offset, header_len, frame.header(), frame.payload())?;
        *offset += frame_len;
    }
}

/// Where a frame is: time, connection, offset in the stream.
struct Place<'a> {
    moment: Moment,
    label: &'a str,
    offset: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment(nanos) = self.moment;
        let (seconds, micros) = (nanos / 1_000_000_000, nanos / 1_000 % 1_000_000);
        write!(f, "{seconds}.{micros:06} {}, offset {}", self.label, self.offset)
    }
}

/// Bytes that the capture does not have.
struct Missing(Gap);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of the stream are not in the capture", self.0.missing)
    }
}
