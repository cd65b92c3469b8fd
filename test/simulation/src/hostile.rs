//! What a hostile peer sends: noise, messages out of place, nonsense in the right form.

use binary_sv2::{B0_32, B0_64K, B0_255, Seq0_255, Str0_255, U256};
use const_sv2::message_type::mining;
use framing_sv2::Header;
use mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, SetCustomMiningJob, SubmitSharesExtended, SubmitSharesStandard,
    UpdateChannel,
};

use crate::{rng::Rng, wire::Frame};

/// Bytes that a good client would never send. `channel` is an open one, where there is one.
pub fn bytes(rng: &mut Rng, channel: Option<u32>) -> Vec<u8> {
    let channel_id = channel.filter(|_| rng.chance(800)).unwrap_or(rng.next() as u32);
    match rng.below(10) {
        0 => (0..rng.range(1, 200)).map(|_| rng.next() as u8).collect(),
        1 => raw_frame(rng),
        2 | 3 => standard_share(rng, channel_id).bytes(),
        4 | 5 => extended_share(rng, channel_id).bytes(),
        6 => open(rng).bytes(),
        7 => custom_job(rng, channel_id).bytes(),
        8 => {
            let nominal_hash_rate = [f32::NAN, -1.0, f32::INFINITY, 0.0][rng.below(4) as usize];
            let maximum_target = U256::from_le_bytes([rng.next() as u8; 32]);
            Frame::of(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target }).bytes()
        }
        _ => Frame::of(&CloseChannel { channel_id, reason_code: Str0_255::from_truncated("\u{7}\n") }).bytes(),
    }
}

/// A frame of some type with a body that does not fit it.
fn raw_frame(rng: &mut Rng) -> Vec<u8> {
    let kinds = mining::ALL;
    let kind = kinds.get(rng.below(kinds.len() as u64) as usize).map_or(0xff, |info| info.message_type);
    let payload: Vec<u8> = (0..rng.below(80)).map(|_| rng.next() as u8).collect();
    let extension = if rng.chance(300) { rng.next() as u16 & 0x7fff } else { 0 };
    Header::new(extension, rng.chance(500), kind, payload.len())
        .map(|header| Frame { header, payload }.bytes())
        .unwrap_or_default()
}

fn standard_share(rng: &mut Rng, channel_id: u32) -> Frame {
    Frame::of(&SubmitSharesStandard {
        channel_id,
        sequence_number: rng.next() as u32,
        job_id: rng.below(60) as u32,
        nonce: rng.next() as u32,
        ntime: 1_800_000_000 + rng.below(2_000) as u32,
        version: if rng.chance(500) { 0x2000_0000 } else { rng.next() as u32 },
    })
}

fn extended_share(rng: &mut Rng, channel_id: u32) -> Frame {
    let extranonce = vec![rng.next() as u8; rng.below(33) as usize];
    Frame::of(&SubmitSharesExtended {
        channel_id,
        sequence_number: rng.next() as u32,
        job_id: rng.below(60) as u32,
        nonce: rng.next() as u32,
        ntime: 1_800_000_000 + rng.below(2_000) as u32,
        version: 0x2000_0000,
        extranonce: B0_32::from_truncated(&extranonce),
    })
}

fn open(rng: &mut Rng) -> Frame {
    Frame::of(&OpenExtendedMiningChannel {
        request_id: rng.below(3) as u32,
        user_identity: Str0_255::from_truncated("' OR 1=1 --"),
        nominal_hash_rate: if rng.chance(500) { f32::NAN } else { 1e30 },
        max_target: U256::from_le_bytes([if rng.chance(500) { 0 } else { 0xff }; 32]),
        min_extranonce_size: rng.below(40) as u16,
    })
}

fn custom_job(rng: &mut Rng, channel_id: u32) -> Frame {
    Frame::of(&SetCustomMiningJob {
        channel_id,
        request_id: rng.below(3) as u32,
        mining_job_token: B0_255::from_truncated(&[1, 2, 3]),
        version: 0x2000_0000,
        prev_hash: U256::from_le_bytes([3; 32]),
        min_ntime: 1_800_000_000,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::from_truncated(&[0x51]),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: B0_64K::from_truncated(&[0]),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::try_from_iter(std::iter::empty::<U256>()).expect("nothing is not too long"),
    })
}
