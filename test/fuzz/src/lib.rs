//! What the targets share.
//!
//! Each target takes bytes as a peer, a file or a user could give them, and checks what must hold whatever they are. Inputs
//! have simple forms, so that the vectors in `test/vectors` can be turned into them (`cargo xtask fuzz` does).

use framing_sv2::Header;
use noise_sv2::{CipherState, key_log::TransportKeys};
use rand_core::{CryptoRng, RngCore};

/// Takes the input apart.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next number, little-endian, as if zeroes came after the end.
    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.bytes(8);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    /// The next bytes, at most `count`.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(count.min(self.0.len()));
        self.0 = later;
        now
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next frame; the last one may be cut short, and its header then says so.
    pub fn frame(&mut self) -> Option<(Header, &'a [u8])> {
        let (header, rest) = self.0.split_first_chunk::<6>()?;
        let header = Header::from_bytes(header);
        let (payload, rest) = rest.split_at(header.payload_len().min(rest.len()));
        self.0 = rest;
        let whole = |len| Header::new(header.extension_type(), header.channel_msg(), header.message_type(), len);
        whole(payload.len()).ok().map(|header| (header, payload))
    }
}

/// Whether `written` is `read` written again: the same bytes, but that a BOOL is written as 0 or 1. Readers ignore its upper
/// seven bits (sv2-spec §3.1).
pub fn same(read: &[u8], written: &[u8]) -> bool {
    let same_byte = |(read, written): (&u8, &u8)| read == written || (*read > 1 && *written == *read & 1);
    read.len() == written.len() && read.iter().zip(written).all(same_byte)
}

/// Two ends of one direction: what the first encrypts, the second decrypts.
pub fn cipher_pair() -> (CipherState, CipherState) {
    let line = format!("SV2_NOISE {} {} {}", "00".repeat(64), "11".repeat(32), "22".repeat(32));
    let (_, keys) = TransportKeys::from_key_log_line(&line).expect("a key line");
    (keys.ciphers().0, keys.ciphers().0)
}

/// Randomness that is the same in every run.
#[derive(Clone, Debug)]
pub struct Counter(pub u64);

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let value = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Counter {}

/// Calls a macro with all messages, as `our_crate sri_crate { Type, ... }` for each protocol.
#[macro_export]
macro_rules! all_messages {
    ($call:ident!($($arguments:tt)*)) => {
        $call! {
            ($($arguments)*)
            common_messages_sv2 sri_common_messages_sv2 {
                SetupConnection, SetupConnectionSuccess, SetupConnectionError, ChannelEndpointChanged, Reconnect,
            }
            mining_sv2 sri_mining_sv2 {
                OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, OpenMiningChannelError,
                OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, NewMiningJob, UpdateChannel,
                UpdateChannelError, CloseChannel, SetExtranoncePrefix, SubmitSharesStandard, SubmitSharesExtended,
                SubmitSharesSuccess, SubmitSharesError, NewExtendedMiningJob, SetNewPrevHash, SetTarget,
                SetCustomMiningJob, SetCustomMiningJobSuccess, SetCustomMiningJobError, SetGroupChannel,
            }
            job_declaration_sv2 sri_job_declaration_sv2 {
                AllocateMiningJobToken, AllocateMiningJobTokenSuccess, ProvideMissingTransactions,
                ProvideMissingTransactionsSuccess, DeclareMiningJob, DeclareMiningJobSuccess, DeclareMiningJobError,
                PushSolution,
            }
            template_distribution_sv2 sri_template_distribution_sv2 {
                CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash, RequestTransactionData,
                RequestTransactionDataSuccess, RequestTransactionDataError, SubmitSolution,
            }
            extensions_sv2 sri_extensions_sv2 {
                RequestExtensions, RequestExtensionsSuccess, RequestExtensionsError,
            }
        }
    };
}
