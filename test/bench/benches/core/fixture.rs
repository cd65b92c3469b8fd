//! What all rows work on: a template of 4,095 transactions and a coinbase of about 250 bytes.

use std::{sync::Arc, time::Duration};

use bitcoin::{Amount, BlockHash, ScriptBuf, TxOut, WPubkeyHash, consensus::serialize, hashes::Hash};
use roles_logic_sv2::{
    ChannelId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    extranonce::{Layout, Slot, Space},
    job::{JobFactory, JobTemplate, Payout},
    share::Rules,
};
use sri_channels_sv2::{extranonce_manager::ExtranonceAllocator, server as sri};
use sri_template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

/// Levels of the merkle path.
const LEVELS: usize = 12;
pub const MIN_NTIME: u32 = 1_800_000_000;
/// So hard that no hash of a bench is a block.
pub const NBITS: u32 = 0x1701_0000;
pub const NOW: Duration = Duration::from_secs(1_800_000_000);
/// Bytes that extended channels roll.
pub const ROLLED: usize = 8;
const FULL_SIZE: usize = 20;
const VALUE: u64 = 312_500_000;
const TAG: &str = "bench-of-the-core";
/// Shares on a channel before it is replaced by a fresh one: what an hour brings at one in a second.
pub const SHARES: u32 = 3_600;

fn script(byte: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([byte; 20]))
}

fn output(sat: u64, byte: u8) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey: script(byte) }
}

/// Three outputs: the pool's, and two fixed ones.
pub fn outputs() -> Vec<TxOut> {
    vec![output(VALUE - 3_000, 1), output(1_000, 2), output(2_000, 3)]
}

/// The template's own output: a witness commitment.
fn commitment() -> Vec<u8> {
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[7; 32]].concat();
    serialize(&TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) })
}

fn path() -> impl Iterator<Item = [u8; 32]> {
    (0..LEVELS).map(|level| [level as u8 + 1; 32])
}

pub fn payout(payee: u8) -> Payout {
    outputs().into_iter().skip(1).try_fold(Payout::single(script(payee)), Payout::with_fixed).unwrap()
}

pub fn factory(payee: u8) -> JobFactory {
    let payout = payout(payee);
    let reserved = payout.constraints();
    JobFactory::new(payout, TAG.into(), FULL_SIZE, reserved).unwrap()
}

pub fn template(id: u64) -> JobTemplate {
    JobTemplate {
        template_id: TemplateId(id),
        future: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: VALUE,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: commitment(),
        coinbase_tx_locktime: 839_999,
        merkle_path: path().collect(),
    }
}

pub fn sri_template(id: u64) -> NewTemplateOwned {
    let merkle_path: Vec<_> = path().map(|hash| hash.into()).collect();
    NewTemplateOwned {
        template_id: id,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c].try_into().unwrap(),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: VALUE,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: commitment().try_into().unwrap(),
        coinbase_tx_locktime: 839_999,
        merkle_path: merkle_path.try_into().unwrap(),
    }
}

pub fn tip(number: u64) -> Arc<Tip> {
    Arc::new(Tip::new(BlockHash::from_byte_array(tip_hash(number)), MIN_NTIME, NBITS, NOW).unwrap())
}

pub fn sri_tip(number: u64) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id: number,
        prev_hash: tip_hash(number).into(),
        header_timestamp: MIN_NTIME,
        n_bits: NBITS,
        target: [0xff; 32].into(),
    }
}

fn tip_hash(number: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(number + 1).to_le_bytes());
    hash
}

pub fn slots(count: usize) -> impl Iterator<Item = Slot> {
    let space = Space::new(Layout::SV2_DEFAULT, 1, 1).unwrap();
    (0..count).map(move |_| space.allocate().unwrap())
}

pub fn open(slot: Slot, channel_id: ChannelId, group_channel_id: ChannelId) -> Open {
    let (max_target, target, rules) = (Target::MAX, Target::MAX, Rules::default());
    Open { channel_id, group_channel_id, slot, max_target, target, rules }
}

pub fn channel(slot: Slot, extended: bool) -> Channel {
    let open = open(slot, ChannelId(2), ChannelId(1));
    if extended { Channel::extended(open, ROLLED).unwrap() } else { Channel::standard(open) }
}

pub fn sri_allocator() -> ExtranonceAllocator {
    ExtranonceAllocator::new(vec![1; 9], FULL_SIZE as u8, 1 << 20).unwrap()
}

/// Every hash is a share here, too.
pub fn sri_extended(allocator: &mut ExtranonceAllocator) -> sri::extended::ExtendedChannel {
    let prefix = allocator.allocate_extended(ROLLED).unwrap();
    let (target, tag) = (bitcoin::Target::from_le_bytes([0xff; 32]), TAG.to_string());
    let rolled = allocator.rollable_extranonce_size().into();
    let new = sri::extended::ExtendedChannel::new_for_pool;
    let mut channel = new(2, "u".into(), prefix, target, 1.0, true, rolled, 10, 60.0, tag, None).unwrap();
    channel.set_target(target).unwrap();
    channel
}

pub fn sri_standard(allocator: &mut ExtranonceAllocator) -> sri::standard::StandardChannel {
    let prefix = allocator.allocate_standard().unwrap();
    let (target, tag) = (bitcoin::Target::from_le_bytes([0xff; 32]), TAG.to_string());
    let new = sri::standard::StandardChannel::new_for_pool;
    let mut channel = new(2, "u".into(), prefix, target, 1.0, 10, 60.0, tag, None).unwrap();
    channel.set_target(target).unwrap();
    channel
}
