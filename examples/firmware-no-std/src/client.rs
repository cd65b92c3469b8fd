//! The firmware: a handshake, one channel, jobs, shares. No unsafe code, nothing of the host.
//!
//! What a device adds is its network stack behind [`Link`], its clock, its random number generator and its hashing boards.

use alloc::vec::Vec;
use core::time::Duration;

use binary_sv2::{Message, Str0_255, U256};
use codec_sv2::{Error as CodecError, NoiseEncoder, StandardNoiseDecoder};
use common_messages_sv2::{CommonMessages, SetupConnection};
use const_sv2::{flags, protocol};
use framing_sv2::Sv2Frame;
use mining_sv2::{Mining, OpenExtendedMiningChannel, OpenStandardMiningChannel};
use noise_sv2::{ACT2_LENGTH, AuthorityPublicKey, Initiator, Transport};
use rand_core::{CryptoRng, RngCore};
use roles_logic_sv2::channel::client::{ClientChannel, Submission};

/// Longest message taken from a pool, in bytes. An extended job has 32 bytes for each level of the merkle tree and the coinbase.
const MAX_PAYLOAD: u32 = 16 * 1024;

/// Bytes to the pool and from it.
pub trait Link {
    /// Takes all of `bytes`.
    fn send(&mut self, bytes: &[u8]);
    /// Fills the front of `room` with what has arrived and says how much; 0 when the connection has ended.
    fn receive(&mut self, room: &mut [u8]) -> usize;
}

/// Which channel to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The pool sends merkle roots.
    Standard,
    /// The pool sends coinbase and merkle path; the client rolls so many bytes of extranonce.
    Extended(u16),
}

/// Why the client stopped.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only printed")]
pub enum Failure {
    Ended,
    Handshake(noise_sv2::Error),
    Codec(CodecError),
    Message(binary_sv2::DecodeError),
    Channel(roles_logic_sv2::channel::client::ClientError),
    Unexpected(&'static str),
    NoShare,
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<binary_sv2::DecodeError> for Failure {
    fn from(error: binary_sv2::DecodeError) -> Self {
        Self::Message(error)
    }
}

impl From<roles_logic_sv2::channel::client::ClientError> for Failure {
    fn from(error: roles_logic_sv2::channel::client::ClientError) -> Self {
        Self::Channel(error)
    }
}

/// A connected client.
pub struct Client<L> {
    link: L,
    decoder: StandardNoiseDecoder,
    encoder: NoiseEncoder,
    /// Bytes on their way out; kept, so that it is allocated once.
    out: Vec<u8>,
}

impl<L: Link> Client<L> {
    /// The noise handshake. `now` is in unix seconds: the pool's certificate must be valid then.
    pub fn connect(
        mut link: L,
        authority: AuthorityPublicKey,
        rng: &mut (impl RngCore + CryptoRng),
        now: u32,
    ) -> Result<Self, Failure> {
        let (waiting, act1) = Initiator::new(Some(authority), rng).map_err(Failure::Handshake)?;
        link.send(&act1);
        let mut act2 = [0; ACT2_LENGTH];
        let mut filled = 0;
        while filled < ACT2_LENGTH {
            match link.receive(act2.get_mut(filled..).unwrap_or_default()) {
                0 => return Err(Failure::Ended),
                count => filled += count,
            }
        }
        let Transport { send, receive } = waiting.finish(&act2, now).map_err(Failure::Handshake)?;
        let mut decoder = StandardNoiseDecoder::new(receive);
        decoder.set_max_payload(MAX_PAYLOAD);
        Ok(Self { link, decoder, encoder: NoiseEncoder::new(send), out: Vec::new() })
    }

    /// SetupConnection and one channel.
    pub fn open(&mut self, kind: Kind) -> Result<ClientChannel, Failure> {
        self.send(&setup_connection(kind))?;
        let frame = self.next_frame()?;
        match CommonMessages::decode(frame.header().message_type(), frame.payload())? {
            CommonMessages::SetupConnectionSuccess(success) if success.used_version == protocol::VERSION => {}
            _ => return Err(Failure::Unexpected("SetupConnection.Success of version 2")),
        }
        let (request_id, user_identity, nominal_hash_rate) = (1, Str0_255::from_truncated("device.1"), 1e12);
        let max_target = U256::from_le_bytes([0xff; 32]);
        match kind {
            Kind::Standard => {
                self.send(&OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target })?
            }
            Kind::Extended(min_extranonce_size) => self.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            })?,
        }
        match mining(&self.next_frame()?)? {
            Mining::OpenStandardMiningChannelSuccess(success) => Ok(ClientChannel::standard(&success)),
            Mining::OpenExtendedMiningChannelSuccess(success) => Ok(ClientChannel::extended(&success)?),
            _ => Err(Failure::Unexpected("an open channel")),
        }
    }

    /// Takes jobs until there is one to work on.
    pub fn take_jobs(&mut self, channel: &mut ClientChannel, now: Duration) -> Result<(), Failure> {
        loop {
            match mining(&self.next_frame()?)? {
                Mining::NewMiningJob(job) => channel.on_new_mining_job(&job)?,
                Mining::NewExtendedMiningJob(job) => channel.on_new_extended_mining_job(&job)?,
                Mining::SetTarget(target) => channel.on_set_target(&target),
                Mining::SetNewPrevHash(tip) => {
                    channel.on_set_new_prev_hash(now, &tip)?;
                    return Ok(());
                }
                _ => return Err(Failure::Unexpected("jobs")),
            };
        }
    }

    /// Finds so many shares and submits each.
    pub fn mine(&mut self, channel: &mut ClientChannel, shares: u32) -> Result<(), Failure> {
        let mut work = channel.work().ok_or(Failure::NoShare)?;
        let mut first_nonce = 0;
        for _ in 0..shares {
            let is_share = |nonce: &u32| {
                let header = work.header(work.version, work.min_ntime, *nonce);
                work.target.is_met_by(&header.hash())
            };
            let nonce = (first_nonce..u32::MAX).find(is_share).ok_or(Failure::NoShare)?;
            match channel.submit(&work, work.version, work.min_ntime, nonce) {
                Submission::Standard(share) => self.send(&share)?,
                Submission::Extended(share) => self.send(&share)?,
            }
            first_nonce = nonce + 1;
            if work.extranonce.is_some() {
                // The next extranonce, whose nonces begin anew: a device would go on to it when its nonces are used up.
                work = channel.work().ok_or(Failure::NoShare)?;
                first_nonce = 0;
            }
        }
        Ok(())
    }

    /// Waits until the pool has taken so many shares.
    pub fn wait_for_success(&mut self, shares: u32) -> Result<(), Failure> {
        let mut taken = 0;
        while taken < shares {
            match mining(&self.next_frame()?)? {
                Mining::SubmitSharesSuccess(success) => taken += success.new_submits_accepted_count,
                _ => return Err(Failure::Unexpected("SubmitShares.Success")),
            }
        }
        Ok(())
    }

    /// Ends the connection.
    pub fn into_link(self) -> L {
        self.link
    }

    fn send<M: Message>(&mut self, message: &M) -> Result<(), Failure> {
        self.out.clear();
        self.encoder.encode(message, &mut self.out)?;
        self.link.send(&self.out);
        Ok(())
    }

    /// The next frame, lent from the receive buffer.
    fn next_frame(&mut self) -> Result<Sv2Frame<'_>, Failure> {
        while let Err(CodecError::MissingBytes(_)) = self.decoder.ready() {
            match self.link.receive(self.decoder.writable()) {
                0 => return Err(Failure::Ended),
                count => self.decoder.advance(count),
            }
        }
        Ok(self.decoder.next_frame()?)
    }
}

fn mining<'a>(frame: &'a Sv2Frame<'_>) -> Result<Mining<'a>, Failure> {
    Ok(Mining::decode(frame.header().message_type(), frame.payload())?)
}

fn setup_connection(kind: Kind) -> SetupConnection<'static> {
    let standard_jobs = if kind == Kind::Standard { flags::mining::REQUIRES_STANDARD_JOBS } else { 0 };
    SetupConnection {
        protocol: protocol::MINING,
        min_version: protocol::VERSION,
        max_version: protocol::VERSION,
        flags: standard_jobs,
        endpoint_host: Str0_255::from_truncated("pool.example"),
        endpoint_port: 34254,
        vendor: Str0_255::from_truncated("example"),
        hardware_version: Str0_255::from_truncated("host"),
        firmware: Str0_255::from_truncated("no-std 0.1"),
        device_id: Str0_255::from_truncated("1"),
    }
}
