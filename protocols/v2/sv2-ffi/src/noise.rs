//! The handshake, which yields a decoder and an encoder (sv2-spec §4.5).

use noise_sv2::{Initiator, InitiatorWaiting, Responder, ServerIdentity, Transport, Validity};
use rand_core::{CryptoRng, OsRng, RngCore, impls};

use crate::{
    border::{Result, border, check_out, exclusive, free, put, shared},
    codec::{Sv2Decoder, Sv2Encoder},
    keys::{Sv2Key, public_key, secret_key},
    status::Sv2Status::{self, SV2_ERROR_RANDOMNESS, SV2_ERROR_STATE},
};

/// Random bytes for one call: from a cryptographic generator, never used twice. See `sv2_randomness`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Randomness {
    /// All of them random.
    pub bytes: [u8; 96],
}

/// Act 1 of the handshake: what the client sends first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Act1 {
    /// As on the wire.
    pub bytes: [u8; 64],
}

/// Act 2 of the handshake: what the server answers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Act2 {
    /// As on the wire.
    pub bytes: [u8; 234],
}

/// A client that waits for act 2.
pub struct Sv2Initiator(Option<InitiatorWaiting>);

/// What a server shows in handshakes: its static key and the certificate for it.
pub struct Sv2Identity(ServerIdentity);

/// Fills `out` from the operating system's generator. On devices without one, fill it yourself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_randomness(out: *mut Sv2Randomness) -> Sv2Status {
    border(|| {
        let mut bytes = [0; 96];
        OsRng.try_fill_bytes(&mut bytes).map_err(|_| SV2_ERROR_RANDOMNESS)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        unsafe { put(out, Sv2Randomness { bytes }) }
    })
}

/// Begins a handshake as the client: writes act 1 to send, and a handle that waits for act 2.
///
/// With `authority`, the server must show a certificate that this key signed. With NULL, anyone in between can pose as
/// the server. Free the handle with `sv2_initiator_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_initiator_new(
    authority: *const Sv2Key,
    randomness: *const Sv2Randomness,
    act1: *mut Sv2Act1,
    initiator: *mut *mut Sv2Initiator,
) -> Sv2Status {
    border(|| {
        check_out(act1)?;
        check_out(initiator)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let authority = if authority.is_null() { None } else { Some(unsafe { public_key(authority) }?) };
        // SAFETY: as above.
        let mut rng = Prepared::new(unsafe { shared(randomness) }?);
        let (waiting, first) = Initiator::new(authority, &mut rng)?;
        rng.check()?;
        // SAFETY: as above.
        unsafe {
            put(act1, Sv2Act1 { bytes: first })?;
            put(initiator, Box::into_raw(Box::new(Sv2Initiator(Some(waiting)))))
        }
    })
}

/// Reads act 2, checks the server's certificate at `now` (unix seconds), and makes the connection's decoder and encoder.
///
/// The handle is used up, whatever the result; free it all the same. Free the decoder and the encoder when the
/// connection ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_initiator_finish(
    initiator: *mut Sv2Initiator,
    act2: *const Sv2Act2,
    now: u32,
    decoder: *mut *mut Sv2Decoder,
    encoder: *mut *mut Sv2Encoder,
) -> Sv2Status {
    border(|| {
        check_out(decoder)?;
        check_out(encoder)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (initiator, act2) = unsafe { (exclusive(initiator)?, shared(act2)?) };
        let transport = initiator.0.take().ok_or(SV2_ERROR_STATE)?.finish(&act2.bytes, now)?;
        // SAFETY: as above.
        unsafe { put_transport(transport, decoder, encoder) }
    })
}

/// Frees the handle; nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_initiator_free(initiator: *mut Sv2Initiator) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(initiator) }
}

/// Makes a server's identity: a new static key, signed by the authority for `valid_from` to `not_valid_after` (unix
/// seconds, both included).
///
/// One serves all connections, from any number of threads. Begin the validity a little in the past, for clients whose
/// clocks run late. Free it with `sv2_identity_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_identity_new(
    authority_secret: *const Sv2Key,
    valid_from: u32,
    not_valid_after: u32,
    randomness: *const Sv2Randomness,
    identity: *mut *mut Sv2Identity,
) -> Sv2Status {
    border(|| {
        check_out(identity)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (secret, randomness) = unsafe { (secret_key(authority_secret)?, shared(randomness)?) };
        let mut rng = Prepared::new(randomness);
        let issued = ServerIdentity::issue(&secret, Validity { from: valid_from, until: not_valid_after }, &mut rng)?;
        rng.check()?;
        // SAFETY: as above.
        unsafe { put(identity, Box::into_raw(Box::new(Sv2Identity(issued)))) }
    })
}

/// Frees the identity; nothing for NULL. Connections that began with it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_identity_free(identity: *mut Sv2Identity) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(identity) }
}

/// The server's side of a handshake: reads act 1, writes act 2 to send, and makes the connection's decoder and encoder.
///
/// Any 64 bytes are a valid act 1: a peer that speaks another protocol shows only in its next message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_responder_step(
    identity: *const Sv2Identity,
    act1: *const Sv2Act1,
    randomness: *const Sv2Randomness,
    act2: *mut Sv2Act2,
    decoder: *mut *mut Sv2Decoder,
    encoder: *mut *mut Sv2Encoder,
) -> Sv2Status {
    border(|| {
        check_out(act2)?;
        check_out(decoder)?;
        check_out(encoder)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (identity, act1, randomness) = unsafe { (shared(identity)?, shared(act1)?, shared(randomness)?) };
        let mut rng = Prepared::new(randomness);
        let (answer, transport) = Responder::new(&identity.0).step(&act1.bytes, &mut rng)?;
        rng.check()?;
        // SAFETY: as above.
        unsafe {
            put(act2, Sv2Act2 { bytes: answer })?;
            put_transport(transport, decoder, encoder)
        }
    })
}

/// Hands over both directions. The pointers were checked.
unsafe fn put_transport(
    transport: Transport,
    decoder: *mut *mut Sv2Decoder,
    encoder: *mut *mut Sv2Encoder,
) -> Result<()> {
    let (send, receive) = transport.split();
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe {
        put(decoder, Box::into_raw(Sv2Decoder::noise(receive)))?;
        put(encoder, Box::into_raw(Sv2Encoder::noise(send)))
    }
}

/// A generator that hands out the caller's random bytes.
struct Prepared<'a> {
    rest: &'a [u8],
    overdrawn: bool,
}

impl<'a> Prepared<'a> {
    fn new(randomness: &'a Sv2Randomness) -> Self {
        Self { rest: &randomness.bytes, overdrawn: false }
    }

    /// More is drawn than there is only when the bytes make no key, so are not random.
    fn check(&self) -> Result<()> {
        if self.overdrawn { Err(SV2_ERROR_RANDOMNESS) } else { Ok(()) }
    }
}

impl RngCore for Prepared<'_> {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        match self.rest.split_at_checked(out.len()) {
            Some((taken, rest)) => {
                out.copy_from_slice(taken);
                self.rest = rest;
            }
            None => {
                out.fill(0);
                self.overdrawn = true;
            }
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> core::result::Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Prepared<'_> {}
