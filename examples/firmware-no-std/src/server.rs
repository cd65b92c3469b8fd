//! The pool of the example: a script. All it says is made up before the client runs, all it hears is judged after.
//!
//! That works because the client's randomness is fixed, so its first message is known. It keeps the pool's memory out of
//! what is measured.

use alloc::{sync::Arc, vec, vec::Vec};
use core::time::Duration;

use binary_sv2::Message;
use bitcoin::{BlockHash, ScriptBuf, hashes::Hash};
use codec_sv2::{Error as CodecError, NoiseEncoder, StandardNoiseDecoder};
use common_messages_sv2::SetupConnectionSuccess;
use mining_sv2::{Mining, SubmitSharesSuccess};
use noise_sv2::{AuthorityPublicKey, AuthoritySecretKey, CipherState, Initiator, Responder, ServerIdentity, Validity};
use roles_logic_sv2::{
    ChannelId, JobIds, OpenSuccess, RequestId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    extranonce::{Layout, Space},
    job::{JobFactory, JobTemplate, Payout},
    share::{Rules, Share, Verdict},
};

use crate::{Counter, client::Kind};

/// The example's moment, unix seconds.
pub const NOW: u32 = 1_700_000_000;
/// Shares the client is to find.
pub const SHARES: u32 = 8;
/// Zero bits at the top of a share's hash: some thousands of hashes each.
const SHARE_ZERO_BITS: u32 = 11;
/// Bytes of prefix and extranonce together, as pools of this project have them.
const FULL_EXTRANONCE: usize = 20;
/// Compact network target that no share of the example meets.
const NBITS: u32 = 0x1701_0000;
/// Levels of the merkle tree: up to 4,096 transactions, a full block.
const MERKLE_LEVELS: u8 = 12;

/// What the client needs, and what is needed to judge it.
pub struct Script {
    /// The key the client is configured with.
    pub authority: AuthorityPublicKey,
    /// All the pool says, act 2 of the handshake first.
    pub bytes: Vec<u8>,
    receive: CipherState,
    channel: Channel,
}

/// Makes up what the pool says to a client that draws its randomness from [`Counter`].
pub fn script(kind: Kind) -> Script {
    let rng = &mut Counter::new(1 << 32);
    let authority = AuthoritySecretKey::generate(rng).expect("a key");
    let validity = Validity { from: NOW - 1_000, until: NOW + 1_000 };
    let identity = ServerIdentity::issue(&authority, validity, rng).expect("an identity");
    let (_, act1) = Initiator::new(Some(authority.public_key()), &mut Counter::new(0)).expect("act 1");
    let (act2, transport) = Responder::new(&identity).step(&act1, rng).expect("act 2");
    let (send, receive) = transport.split();
    let mut out = Out { encoder: NoiseEncoder::new(send), bytes: act2.to_vec() };
    let channel = say(kind, &mut out);
    Script { authority: authority.public_key(), bytes: out.bytes, receive, channel }
}

struct Out {
    encoder: NoiseEncoder,
    bytes: Vec<u8>,
}

impl Out {
    fn send<M: Message>(&mut self, message: &M) {
        self.encoder.encode(message, &mut self.bytes).expect("a message that can be sent");
    }
}

/// Everything after the handshake; returns the channel with the job that the client will work on.
fn say(kind: Kind, out: &mut Out) -> Channel {
    let now = Duration::from_secs(NOW.into());
    let payout = Payout::single(ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros()));
    let constraints = payout.constraints();
    let factory = JobFactory::new(payout, b"/example/".to_vec(), FULL_EXTRANONCE, constraints).expect("a factory");
    let job = Arc::new(factory.build(JobIds::new().next(), &template()).expect("a job"));
    let tip = Tip::new(BlockHash::from_byte_array([3; 32]), NOW, NBITS, now).expect("a tip");
    let mut channel = open(kind);

    out.send(&SetupConnectionSuccess { used_version: const_sv2::protocol::VERSION, flags: 0 });
    match channel.open_success(RequestId(1)) {
        OpenSuccess::Standard(success) => out.send(&success),
        OpenSuccess::Extended(success) => out.send(&success),
    }
    channel.on_new_job(now, job.clone(), None).expect("a future job");
    match channel.new_mining_job(job.id()) {
        Some(message) => out.send(&message),
        None => out.send(&job.new_extended_mining_job(channel.id(), None)),
    }
    out.send(&tip.set_new_prev_hash(channel.id(), job.id()));
    channel.on_set_new_prev_hash(now, job.id(), Arc::new(tip)).expect("a tip for the job");
    out.send(&SubmitSharesSuccess {
        channel_id: channel.id().0,
        last_sequence_number: SHARES - 1,
        new_submits_accepted_count: SHARES,
        new_shares_sum: u64::from(SHARES) << SHARE_ZERO_BITS,
    });
    channel
}

fn open(kind: Kind) -> Channel {
    // As a pool's, with room for fewer channels.
    let layout = Layout::new(8, 16, 8, FULL_EXTRANONCE).expect("a layout");
    let space = Space::new(layout, 0, 1).expect("the space of one epoch");
    let open = Open {
        channel_id: ChannelId(2),
        group_channel_id: ChannelId(1),
        slot: space.allocate().expect("a slot"),
        max_target: Target::MAX,
        target: Target::from_zero_bits(SHARE_ZERO_BITS),
        rules: Rules::default(),
    };
    match kind {
        Kind::Standard => Channel::standard(open),
        Kind::Extended(size) => Channel::extended(open, size.into()).expect("a channel"),
    }
}

/// A full block of today: a witness commitment, and a merkle path of [`MERKLE_LEVELS`].
fn template() -> JobTemplate {
    let mut commitment = vec![0; 8];
    commitment.extend_from_slice(&[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    commitment.extend_from_slice(&[5; 32]);
    JobTemplate {
        template_id: TemplateId(1),
        future: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c], // height 840,000
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: commitment,
        coinbase_tx_locktime: 839_999,
        merkle_path: (0..MERKLE_LEVELS).map(|level| [level; 32]).collect(),
    }
}

impl Script {
    /// Reads what the client sent after act 1 and returns how many of its shares count.
    pub fn accepted(self, heard: &[u8]) -> u32 {
        let Self { receive, mut channel, .. } = self;
        let mut decoder = StandardNoiseDecoder::new(receive);
        let mut rest = heard.get(noise_sv2::ACT1_LENGTH..).unwrap_or_default();
        let mut accepted = 0;
        loop {
            match decoder.next_frame() {
                Ok(frame) => {
                    let share = match Mining::decode(frame.header().message_type(), frame.payload()) {
                        Ok(Mining::SubmitSharesStandard(share)) => Share::from(&share),
                        Ok(Mining::SubmitSharesExtended(share)) => Share::from(&share),
                        _ => continue, // SetupConnection, Open...Channel
                    };
                    let verdict = channel.submit(Duration::from_secs(NOW.into()), &share);
                    accepted += u32::from(matches!(verdict, Verdict::Accepted { .. }));
                }
                Err(CodecError::MissingBytes(_)) if !rest.is_empty() => {
                    let room = decoder.writable();
                    let count = room.len().min(rest.len());
                    let (now, later) = rest.split_at(count);
                    room[..count].copy_from_slice(now);
                    decoder.advance(count);
                    rest = later;
                }
                Err(_) => return accepted,
            }
        }
    }
}
