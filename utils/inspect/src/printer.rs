//! One frame to lines of text.

use std::{
    fmt::Display,
    io::{self, Write},
};

use binary_sv2::{
    DecodeError, Error,
    tlv::{Tlv, Tlvs},
};
use common_messages_sv2::CommonMessages;
use const_sv2::{
    MessageInfo, extension,
    limits::FRAME_HEADER_LEN,
    message_type::{common, extensions_negotiation, job_declaration, mining, template_distribution},
};
use extensions_sv2::ExtensionNegotiation;
use framing_sv2::Header;
use job_declaration_sv2::JobDeclaration;
use mining_sv2::Mining;
use template_distribution_sv2::TemplateDistribution;

use crate::{
    fields::{self, Visit},
    value::{Count, Style, Value, bytes},
};

/// Spaces in front of a field, and of an element of a list.
const FIELD_INDENT: usize = 4;
const ELEMENT_INDENT: usize = 8;

/// What came out of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Messages that were printed in full.
    pub messages: u64,
    /// Places that could not be decoded; each has its line in the text.
    pub errors: u64,
}

/// Writes frames as text and counts.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    whole: bool,
    summary: Summary,
}

impl<W: Write> Printer<W> {
    /// Writes to `out`. Of long byte strings and lists only the beginning is shown.
    pub fn new(out: W) -> Self {
        Self { out, whole: false, summary: Summary::default() }
    }

    /// Shows long byte strings and lists whole.
    #[must_use]
    pub fn show_all(mut self) -> Self {
        self.whole = true;
        self
    }

    /// What was printed so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// What it wrote to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Writes a frame: `place`, the message's name, then a line per field. `offset` is where the frame begins; it is only
    /// used to tell where an error is.
    ///
    /// # Errors
    /// Only those of the output; what is wrong with the frame goes into the text.
    pub fn frame(&mut self, place: &dyn Display, offset: u64, header: Header, payload: &[u8]) -> io::Result<()> {
        self.frame_at(place, offset, FRAME_HEADER_LEN as u64, header, payload)
    }

    /// [`frame`](Self::frame) where the header takes `header_len` bytes of the stream: encrypted ones are longer.
    pub(crate) fn frame_at(
        &mut self,
        place: &dyn Display,
        offset: u64,
        header_len: u64,
        header: Header,
        payload: &[u8],
    ) -> io::Result<()> {
        let info = info(header);
        match info {
            Some(info) => write!(self.out, "{place}: {}", info.name)?,
            None => write!(self.out, "{place}: unknown message")?,
        }
        write!(self.out, ", type {:#04x}", header.message_type())?;
        if header.extension_type() != extension::CORE {
            write!(self.out, " of extension {:#06x}", header.extension_type())?;
        }
        writeln!(self.out, ", {}", Count(payload.len(), "byte"))?;
        let payload_offset = offset.saturating_add(header_len);
        let Some(info) = info else {
            self.field("payload", &|style, out| bytes(payload, style, out))?;
            return self.error(offset, &"no message of this type is known");
        };
        if info.channel_msg != header.channel_msg() {
            let (is, should) = if header.channel_msg() { ("set", "clear") } else { ("clear", "set") };
            writeln!(self.out, "    (the channel_msg bit is {is}, the specification has it {should})")?;
        }
        match AnyMessage::decode(header, payload) {
            Ok((message, rest)) => {
                let (whole, out) = (self.whole, &mut self.out);
                message.visit(&mut |name, value| write_field(out, whole, name, value))?;
                self.tlvs(payload_offset + (payload.len() - rest.len()) as u64, rest)
            }
            Err(error) => {
                self.field("payload", &|style, out| bytes(payload, style, out))?;
                let at = match &error {
                    DecodeError::Malformed { error, .. } => payload_offset + inner_offset(error),
                    _ => offset,
                };
                self.error(at, &error)
            }
        }
    }

    /// Writes a line about an undecodable place, and counts it.
    pub(crate) fn error(&mut self, offset: u64, what: &dyn Display) -> io::Result<()> {
        self.summary.errors += 1;
        writeln!(self.out, "    error at offset {offset}: {what}")
    }

    /// Says that a stream is not decoded from `offset` on, and why.
    pub(crate) fn broken(&mut self, place: &dyn Display, offset: u64, why: &dyn Display) -> io::Result<()> {
        self.note(&format_args!("{place}: not decoded from here on"))?;
        self.error(offset, why)
    }

    /// Writes a line that stands for itself.
    pub(crate) fn note(&mut self, text: &dyn Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes the TLV fields behind a message; `offset` is that of the first.
    fn tlvs(&mut self, offset: u64, rest: &[u8]) -> io::Result<()> {
        let (fields, order) = match tlv_order(rest) {
            Ok(found) => found,
            Err(error) => {
                self.field("behind the message", &|style, out| bytes(rest, style, out))?;
                let what = format!("not a TLV field: {error}");
                return self.error(offset + inner_offset(&error), &what);
            }
        };
        for Tlv { extension_type, field_type, value } in fields.filter_map(Result::ok) {
            let known = (extension_type, field_type)
                == (extension::WORKER_HASHRATE_TRACKING, extension::TLV_FIELD_USER_IDENTITY);
            let name = if known { " user_identity" } else { "" };
            let label = format!("TLV {extension_type:#06x}|{field_type:#04x}{name}{order}");
            self.field(&label, &|style, out| bytes(value, style, out))?;
        }
        self.summary.messages += 1;
        Ok(())
    }

    fn field(&mut self, name: &str, write: &dyn Fn(Style, &mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let style = Style { whole: self.whole, indent: ELEMENT_INDENT };
        write!(self.out, "{:FIELD_INDENT$}{name}: ", "")?;
        write(style, &mut self.out)?;
        writeln!(self.out)
    }
}

fn write_field(out: &mut dyn Write, whole: bool, name: &str, value: &dyn Value) -> io::Result<()> {
    write!(out, "{:FIELD_INDENT$}{name}: ", "")?;
    value.write(name, Style { whole, indent: ELEMENT_INDENT }, out)?;
    writeln!(out)
}

/// The fields behind a message in the byte order that makes sense of them, and a remark if that is not the
/// specification's.
///
/// Both orders may be well-formed; then the one in which all extensions are of the core range below 0x0100 wins, because
/// no higher one is assigned.
fn tlv_order(rest: &[u8]) -> Result<(Tlvs<'_>, &'static str), Error> {
    let (big, little) = (Tlvs::new(rest), Tlvs::little_endian(rest));
    let all = |fields: &Tlvs<'_>, accept: fn(&Tlv<'_>) -> bool| {
        fields.clone().all(|field| field.is_ok_and(|field| accept(&field)))
    };
    let assigned: fn(&Tlv<'_>) -> bool = |field| field.extension_type < 0x0100;
    let remark = " (header in little-endian)";
    if all(&big, assigned) {
        Ok((big, ""))
    } else if all(&little, assigned) {
        Ok((little, remark))
    } else if let Some(error) = big.clone().find_map(Result::err) {
        if all(&little, |_| true) { Ok((little, remark)) } else { Err(error) }
    } else {
        Ok((big, ""))
    }
}

/// What the specification says of a frame's message; `None` for an unknown one.
pub(crate) fn info(header: Header) -> Option<MessageInfo> {
    let (extension, number) = (header.extension_type(), header.message_type());
    tables().find(|info| (info.extension_type, info.message_type) == (extension, number)).copied()
}

fn tables() -> impl Iterator<Item = &'static MessageInfo> {
    let core = common::ALL.iter().chain(&mining::ALL).chain(&job_declaration::ALL);
    core.chain(&template_distribution::ALL).chain(&extensions_negotiation::ALL)
}

/// A message of any protocol.
enum AnyMessage<'a> {
    Common(CommonMessages<'a>),
    Mining(Mining<'a>),
    JobDeclaration(JobDeclaration<'a>),
    TemplateDistribution(TemplateDistribution<'a>),
    Negotiation(ExtensionNegotiation<'a>),
}

impl<'a> AnyMessage<'a> {
    /// Decodes by extension and number; the numbers of the core protocols are disjoint.
    fn decode(header: Header, payload: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let number = header.message_type();
        let has = |table: &[MessageInfo]| table.iter().any(|info| info.message_type == number);
        match header.extension_type() {
            extension::CORE if has(&common::ALL) => {
                CommonMessages::decode_with_rest(number, payload).map(|(m, rest)| (Self::Common(m), rest))
            }
            extension::CORE if has(&mining::ALL) => {
                Mining::decode_with_rest(number, payload).map(|(m, rest)| (Self::Mining(m), rest))
            }
            extension::CORE if has(&job_declaration::ALL) => {
                JobDeclaration::decode_with_rest(number, payload).map(|(m, rest)| (Self::JobDeclaration(m), rest))
            }
            extension::CORE if has(&template_distribution::ALL) => {
                TemplateDistribution::decode_with_rest(number, payload)
                    .map(|(m, rest)| (Self::TemplateDistribution(m), rest))
            }
            extension::EXTENSIONS_NEGOTIATION if has(&extensions_negotiation::ALL) => {
                ExtensionNegotiation::decode_with_rest(number, payload).map(|(m, rest)| (Self::Negotiation(m), rest))
            }
            _ => Err(DecodeError::UnknownMessageType(number)),
        }
    }

    fn visit(&self, visit: Visit<'_>) -> io::Result<()> {
        match self {
            Self::Common(message) => fields::common(message, visit),
            Self::Mining(message) => fields::mining(message, visit),
            Self::JobDeclaration(message) => fields::job_declaration(message, visit),
            Self::TemplateDistribution(message) => fields::template_distribution(message, visit),
            Self::Negotiation(message) => fields::negotiation(message, visit),
        }
    }
}

/// Where in the payload an error is.
fn inner_offset(error: &Error) -> u64 {
    match error {
        Error::UnexpectedEnd { offset, .. }
        | Error::TrailingBytes { offset, .. }
        | Error::LengthOutOfRange { offset, .. }
        | Error::NotUtf8 { offset } => *offset as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(extension_type: u16, channel_msg: bool, message_type: u8, payload: &[u8]) -> (String, Summary) {
        let header = Header::new(extension_type, channel_msg, message_type, payload.len()).unwrap();
        let mut printer = Printer::new(vec![]);
        printer.frame(&"here", 100, header, payload).unwrap();
        let summary = printer.summary();
        (String::from_utf8(printer.into_inner()).unwrap(), summary)
    }

    #[test]
    fn a_message_is_printed_field_by_field() {
        let mut payload =
            vec![7, 0, 0, 0, 0xff, 0, 0, 0, 1, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x20];
        payload.extend([2, 0xab, 0xcd]);
        let (text, summary) = print(0, true, 0x1b, &payload);
        let expected = "here: SubmitSharesExtended, type 0x1b, 27 bytes
    channel_id: 7
    sequence_number: 255
    job_id: 1
    nonce: 0x12345678
    ntime: 0 (1970-01-01 00:00:00 UTC)
    version: 0x20000000
    extranonce: abcd (2 bytes)
";
        assert_eq!(text, expected);
        assert_eq!(summary, Summary { messages: 1, errors: 0 });

        payload.extend([0, 2, 1, 0, 4, b'W', b'o', b'r', b'k']);
        let (text, _) = print(0, true, 0x1b, &payload);
        assert_eq!(text.lines().last(), Some("    TLV 0x0002|0x01 user_identity: 576f726b (4 bytes) \"Work\""));
        payload.truncate(27);
        payload.extend([2, 0, 1, 4, 0, b'W', b'o', b'r', b'k']);
        let (text, _) = print(0, true, 0x1b, &payload);
        assert!(text.contains("TLV 0x0002|0x01 user_identity (header in little-endian): 576f"), "{text}");
        payload.pop();
        let (text, summary) = print(0, true, 0x1b, &payload);
        assert!(text.contains("error at offset 138: not a TLV field"), "{text}");
        assert_eq!(summary, Summary { messages: 0, errors: 1 });
    }

    #[test]
    fn errors_have_their_offset_in_the_input() {
        let (text, summary) = print(0, false, 0x01, &[2, 0, 1, 0]);
        assert!(text.contains("payload: 02000100"), "{text}");
        assert!(text.contains("error at offset 108: malformed SetupConnection.Success"), "{text}");
        assert_eq!(summary, Summary { messages: 0, errors: 1 });
    }

    #[test]
    fn unknown_messages_are_shown_as_bytes() {
        let (text, summary) = print(0x4001, false, 0x01, &[1, 2]);
        assert!(text.starts_with("here: unknown message, type 0x01 of extension 0x4001, 2 bytes\n    payload: 0102"));
        assert_eq!(summary.errors, 1);
        assert!(print(0, false, 0xff, &[]).0.contains("payload: (empty)"));
        assert!(print(1, false, 0x00, &[1, 0, 1, 0, 2, 0]).0.contains("[0] 0x0002"));
    }

    #[test]
    fn a_wrong_channel_bit_is_remarked() {
        assert!(print(0, true, 0x01, &[2, 0, 0, 0, 0, 0]).0.contains("bit is set, the specification has it clear"));
        assert!(print(0, false, 0x03, &[2, 0, 0, 0]).0.contains("bit is clear, the specification has it set"));
    }
}
