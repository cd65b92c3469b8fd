//! Frames from bytes and bytes from messages, plain or encrypted.

use core::ffi::c_char;

use binary_sv2::{Encodable, Writer};
use codec_sv2::{Encoder, StandardSv2Decoder};
use framing_sv2::Header;

use crate::{
    border::{Result, border, check_out, exclusive, fill, free, put, shared},
    messages::{self, Place, Sv2Message, with_message},
    status::Sv2Status::{self, SV2_ERROR_BUFFER_TOO_SMALL, SV2_ERROR_INTERNAL, SV2_ERROR_LENGTH},
    tlv,
    types::Sv2Bytes,
};

/// A message before it is decoded, with what its header says.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Frame {
    /// The extension that defines the message; 0 for the core protocol.
    pub extension_type: u16,
    /// Number of the message within its extension.
    pub message_type: u8,
    /// 1 when the message is for a channel, whose id is then its first field; else 0.
    pub channel_msg: u8,
    /// The encoded message.
    pub payload: Sv2Bytes,
}

/// Cuts received bytes into frames. Made by `sv2_decoder_new`, or by a noise handshake.
pub struct Sv2Decoder {
    stream: Stream,
    /// Bytes that may still be reported as received.
    offered: usize,
}

#[allow(clippy::large_enum_variant, reason = "one per connection, and boxed")]
enum Stream {
    Plain(StandardSv2Decoder),
    #[cfg(feature = "full")]
    Noise(codec_sv2::StandardNoiseDecoder),
}

/// Runs the same code on either stream.
macro_rules! either {
    ($stream:expr, $bound:ident => $code:expr) => {
        match $stream {
            Stream::Plain($bound) => $code,
            #[cfg(feature = "full")]
            Stream::Noise($bound) => $code,
        }
    };
}

impl Sv2Decoder {
    fn new(stream: Stream) -> Box<Self> {
        Box::new(Self { stream, offered: 0 })
    }

    #[cfg(feature = "full")]
    pub(crate) fn noise(cipher: noise_sv2::CipherState) -> Box<Self> {
        Self::new(Stream::Noise(codec_sv2::StandardNoiseDecoder::new(cipher)))
    }
}

/// A decoder for a plain connection. Free it with `sv2_decoder_free`.
#[unsafe(no_mangle)]
pub extern "C" fn sv2_decoder_new() -> *mut Sv2Decoder {
    Box::into_raw(Sv2Decoder::new(Stream::Plain(StandardSv2Decoder::new())))
}

/// Frees a decoder and with it all its frames; nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_free(decoder: *mut Sv2Decoder) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(decoder) }
}

/// Refuses payloads over so many bytes from the next header on. At first the limit is the protocol's, 2^24 - 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_set_max_payload(decoder: *mut Sv2Decoder, bytes: u32) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let decoder = unsafe { exclusive(decoder) }?;
        either!(&mut decoder.stream, stream => stream.set_max_payload(bytes));
        Ok(())
    })
}

/// Where to put received bytes: `*len` bytes at `*data`, never none. Fill some of them, for example with one `read`, then
/// call `sv2_decoder_advance`.
///
/// Ends the life of frames that came from this decoder. The place is valid until the next call with the decoder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_writable(
    decoder: *mut Sv2Decoder,
    data: *mut *mut u8,
    len: *mut usize,
) -> Sv2Status {
    border(|| {
        check_out(data)?;
        check_out(len)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let decoder = unsafe { exclusive(decoder) }?;
        let room = either!(&mut decoder.stream, stream => stream.writable());
        decoder.offered = room.len();
        // SAFETY: as above.
        unsafe {
            put(data, room.as_mut_ptr())?;
            put(len, room.len())
        }
    })
}

/// The first `count` bytes of `sv2_decoder_writable` have been filled.
///
/// `SV2_ERROR_LENGTH` when it offered fewer, or when frames were taken since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_advance(decoder: *mut Sv2Decoder, count: usize) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let decoder = unsafe { exclusive(decoder) }?;
        decoder.offered = decoder.offered.checked_sub(count).ok_or(SV2_ERROR_LENGTH)?;
        either!(&mut decoder.stream, stream => stream.advance(count));
        Ok(())
    })
}

/// The next frame, or `SV2_MISSING_BYTES`: then read more. Any other status is final, drop the connection.
///
/// `frame->payload` points into the decoder and is valid until `sv2_decoder_writable` or `sv2_decoder_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_next_frame(decoder: *mut Sv2Decoder, frame: *mut Sv2Frame) -> Sv2Status {
    border(|| {
        check_out(frame)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let decoder = unsafe { exclusive(decoder) }?;
        decoder.offered = 0;
        let next = either!(&mut decoder.stream, stream => stream.next_frame())?;
        let header = next.header();
        let next = Sv2Frame {
            extension_type: header.extension_type(),
            message_type: header.message_type(),
            channel_msg: u8::from(header.channel_msg()),
            payload: next.payload().into(),
        };
        // SAFETY: as above.
        unsafe { put(frame, next) }
    })
}

/// How many bytes are missing before anything more can be said; 0 when a frame is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_decoder_missing_bytes(decoder: *mut Sv2Decoder, count: *mut usize) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let decoder = unsafe { exclusive(decoder) }?;
        let missing = match either!(&mut decoder.stream, stream => stream.ready()) {
            Ok(_) => 0,
            Err(codec_sv2::Error::MissingBytes(missing)) => missing,
            Err(error) => return Err(error.into()),
        };
        // SAFETY: as above.
        unsafe { put(count, missing) }
    })
}

/// Decodes a frame's message. `SV2_ERROR_UNKNOWN_MESSAGE` when there is none of its type: sv2-spec §3.4.1 says to ignore
/// such of extensions that were not negotiated.
///
/// Pointers in `*message` go into the frame's payload and are valid as long as that. To decode a payload that came in
/// another way, fill an `Sv2Frame` yourself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_message_decode(frame: *const Sv2Frame, message: *mut Sv2Message) -> Sv2Status {
    border(|| {
        check_out(message)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (kind, payload) = unsafe { parts(frame) }?;
        let decoded = messages::decode(kind, payload)?;
        // SAFETY: as above.
        unsafe { put(message, decoded) }
    })
}

/// Writes what is wrong with a frame's message to `text`, with a terminating zero, and its length without that to `*len`.
///
/// For logs, after `sv2_message_decode` failed: it names the message and the offset. An empty text means that nothing is
/// wrong. `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is not above the length; 256 is always enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_message_explain(
    frame: *const Sv2Frame,
    text: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (kind, payload) = unsafe { parts(frame) }?;
        let error = messages::decode(kind, payload).err();
        let explanation = error.map_or_else(String::new, |error| error.to_string());
        check_out(len)?;
        // SAFETY: as above. With room for the text and a zero, the zero goes behind the text.
        unsafe {
            fill(explanation.as_bytes(), text.cast(), capacity.saturating_sub(1), len)?;
            if capacity == 0 {
                return Err(SV2_ERROR_BUFFER_TOO_SMALL);
            }
            check_out(text)?;
            put(text.add(explanation.len()), 0)
        }
    })
}

unsafe fn parts<'a>(frame: *const Sv2Frame) -> Result<(u32, &'a [u8])> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    let frame = unsafe { shared(frame) }?;
    let kind = u32::from(frame.extension_type) * 256 + u32::from(frame.message_type);
    // SAFETY: as above.
    Ok((kind, unsafe { frame.payload.get() }?))
}

/// Name of a message as in the specification, for logs. A string that lives for ever, also for unknown kinds.
#[unsafe(no_mangle)]
pub extern "C" fn sv2_message_name(kind: u32) -> *const c_char {
    messages::name(kind).as_ptr()
}

/// Writes a message's payload to `out` and its length to `*len`, without a frame header. Mostly `sv2_encoder_add` is
/// what you want.
///
/// `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is too small; `*len` is the length that is needed then too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_message_encode(
    message: *const Sv2Message,
    out: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let message = unsafe { shared(message) }?;
        // SAFETY: as above.
        let payload = unsafe {
            with_payload(message, |_, payload_len, write| {
                let mut payload = vec![0; payload_len];
                write(&mut payload)?;
                Ok(payload)
            })
        }?;
        // SAFETY: as above.
        unsafe { fill(&payload, out, capacity, len) }
    })
}

/// Calls `use_it` with a message's place, its payload's length, and a function that writes the payload.
///
/// # Safety
/// See the crate's rules on pointers.
unsafe fn with_payload<R>(
    message: &Sv2Message,
    use_it: impl FnOnce(Place, usize, &dyn Fn(&mut [u8]) -> Result<()>) -> Result<R>,
) -> Result<R> {
    // SAFETY: the caller keeps the crate's rules on pointers.
    let fields = unsafe { message.tlv_fields.get() }?;
    tlv::check(fields)?;
    // SAFETY: as above.
    unsafe {
        with_message(message, |place, value: &dyn Encodable| {
            let len = value.encoded_len().checked_add(fields.len()).ok_or(SV2_ERROR_LENGTH)?;
            use_it(place, len, &|room| {
                let mut writer = Writer::new(room);
                value.encode(&mut writer)?;
                writer.put(fields)?;
                Ok(())
            })
        })
    }
}

/// Room for frames that an encoder keeps when all are sent, in bytes, and the most of sent frames that it keeps beside
/// others that wait. What a long message needed beyond that is given back.
const KEEP: usize = 64 * 1024;

/// Puts messages into frames that wait to be sent. Made by `sv2_encoder_new`, or by a noise handshake.
pub struct Sv2Encoder {
    sink: Sink,
    /// Encoded frames; those before `sent` have left.
    frames: Vec<u8>,
    sent: usize,
}

#[allow(clippy::large_enum_variant, reason = "one per connection, and boxed")]
enum Sink {
    Plain(Encoder),
    #[cfg(feature = "full")]
    Noise(codec_sv2::NoiseEncoder),
}

impl Sv2Encoder {
    fn new(sink: Sink) -> Box<Self> {
        Box::new(Self { sink, frames: Vec::new(), sent: 0 })
    }

    #[cfg(feature = "full")]
    pub(crate) fn noise(cipher: noise_sv2::CipherState) -> Box<Self> {
        Self::new(Sink::Noise(codec_sv2::NoiseEncoder::new(cipher)))
    }

    /// Appends a frame whose payload `write` fills in.
    fn add(&mut self, header: Header, write: &dyn Fn(&mut [u8]) -> Result<()>) -> Result<()> {
        if self.sent > KEEP {
            self.frames.drain(..self.sent);
            self.sent = 0;
        }
        let mut failed = None;
        let fill = |room: &mut [u8]| {
            failed = write(room).err();
            failed.map_or(Ok(()), |_| Err(codec_sv2::Error::MissingBytes(0)))
        };
        let result = match &mut self.sink {
            Sink::Plain(encoder) => encoder.encode_with(header, &mut self.frames, fill),
            #[cfg(feature = "full")]
            Sink::Noise(encoder) => encoder.encode_with(header, &mut self.frames, fill),
        };
        failed.map_or_else(|| result.map_err(Sv2Status::from), Err)
    }
}

/// An encoder for a plain connection. Free it with `sv2_encoder_free`.
#[unsafe(no_mangle)]
pub extern "C" fn sv2_encoder_new() -> *mut Sv2Encoder {
    Box::into_raw(Sv2Encoder::new(Sink::Plain(Encoder::new())))
}

/// Frees an encoder and what it has not sent; nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_encoder_free(encoder: *mut Sv2Encoder) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(encoder) }
}

/// Puts a message into a frame, behind those that wait already. Copies all it needs; on an error nothing changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_encoder_add(encoder: *mut Sv2Encoder, message: *const Sv2Message) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (encoder, message) = unsafe { (exclusive(encoder)?, shared(message)?) };
        // SAFETY: as above.
        unsafe {
            with_payload(message, |place, len, write| {
                let Place { extension_type, channel_msg, message_type } = place;
                encoder.add(Header::new(extension_type, channel_msg, message_type, len)?, write)
            })
        }
    })
}

/// Puts a payload that is encoded already into a frame, behind those that wait. For relays and for own extensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_encoder_add_frame(encoder: *mut Sv2Encoder, frame: *const Sv2Frame) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (encoder, frame) = unsafe { (exclusive(encoder)?, shared(frame)?) };
        // SAFETY: as above.
        let payload = unsafe { frame.payload.get() }?;
        let header = Header::new(frame.extension_type, frame.channel_msg != 0, frame.message_type, payload.len())?;
        encoder.add(header, &|room| {
            room.get_mut(..payload.len()).ok_or(SV2_ERROR_INTERNAL)?.copy_from_slice(payload);
            Ok(())
        })
    })
}

/// The bytes to send now, in `*pending`; none when all is sent. Valid until the next call with the encoder.
///
/// After sending some of them call `sv2_encoder_consume`. All of them must be sent, in this order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_encoder_pending(encoder: *const Sv2Encoder, pending: *mut Sv2Bytes) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let encoder = unsafe { shared(encoder) }?;
        // SAFETY: as above.
        unsafe { put(pending, encoder.frames.get(encoder.sent..).unwrap_or_default().into()) }
    })
}

/// The first `count` of the pending bytes have been sent. `SV2_ERROR_LENGTH` when there are fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_encoder_consume(encoder: *mut Sv2Encoder, count: usize) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let encoder = unsafe { exclusive(encoder) }?;
        let sent = encoder.sent.checked_add(count).filter(|sent| *sent <= encoder.frames.len());
        encoder.sent = sent.ok_or(SV2_ERROR_LENGTH)?;
        if encoder.sent == encoder.frames.len() {
            encoder.frames.clear();
            encoder.frames.shrink_to(KEEP);
            encoder.sent = 0;
        }
        Ok(())
    })
}
