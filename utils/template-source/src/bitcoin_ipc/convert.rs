//! What a node says, checked: every length, sign and bound, before anything is built on it.

use bitcoin::{Block, BlockHash, TxOut, consensus::encode, hashes::Hash};

use crate::{CoinbaseTemplate, Transactions, consensus};

/// Bytes of a block header.
const HEADER_LEN: usize = 80;
/// Longest prefix of a scriptSig that a template may ask for (sv2-spec §7.2).
const MAX_SCRIPT_SIG_PREFIX: usize = 8;
/// Most outputs that a node may require; today there is one, the witness commitment.
const MAX_REQUIRED_OUTPUTS: usize = 64;
/// Most bytes of all required outputs, so that they fit the field of sv2-spec §7.2.
const MAX_REQUIRED_OUTPUTS_LEN: usize = 65_535;
/// Deepest merkle path: a block of 4,000,000 weight units holds less than 2^15 transactions.
const MAX_MERKLE_DEPTH: usize = 16;
/// Most bytes of a block, which is its weight limit: a block of witness bytes alone would reach it.
pub(super) const MAX_BLOCK_LEN: usize = 4_000_000;
/// Satoshis that can exist.
const MAX_MONEY: i64 = consensus::MAX_MONEY.cast_signed();

/// A node said something that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadData {
    #[error("{what}: expected {expected} bytes, got {got}")]
    Length { what: &'static str, expected: usize, got: usize },
    #[error("{what}: at most {most}, got {got}")]
    TooMuch { what: &'static str, most: usize, got: usize },
    #[error("{what}: expected 0 to 21 million bitcoin, got {got} satoshis")]
    Amount { what: &'static str, got: i64 },
    #[error("scriptSig prefix {0:02x?} does not begin with a height (BIP 34)")]
    Height(Vec<u8>),
    #[error("nBits {0:#010x} is no target")]
    Target(u32),
    #[error("required output {index}: {error}")]
    Output { index: usize, error: String },
    #[error("coinbase witness: expected 32 zero bytes, got {0:02x?}")]
    Witness(Vec<u8>),
    #[error("block: {0}")]
    Block(String),
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("the node does not know that block")]
    NotFound,
    #[error("answer to `{method}`: {problem}")]
    Rpc { method: &'static str, problem: String },
}

/// The fields of a template's header that matter before it is mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) prev_hash: BlockHash,
    pub(super) time: u32,
    pub(super) nbits: u32,
    /// Little-endian.
    pub(super) target: [u8; 32],
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, BadData> {
    let wrong = || BadData::Length { what: "block header", expected: HEADER_LEN, got: bytes.len() };
    if bytes.len() != HEADER_LEN {
        return Err(wrong());
    }
    let header: bitcoin::block::Header = encode::deserialize(bytes).map_err(|_| wrong())?;
    let nbits = header.bits.to_consensus();
    Ok(Header {
        // Bit patterns: the sign has no meaning.
        version: header.version.to_consensus() as u32,
        prev_hash: header.prev_blockhash,
        time: header.time,
        nbits,
        target: consensus::target(nbits).ok_or(BadData::Target(nbits))?,
    })
}

pub(super) fn block_hash(bytes: &[u8]) -> Result<BlockHash, BadData> {
    Ok(BlockHash::from_byte_array(hash("block hash", bytes)?))
}

fn hash(what: &'static str, bytes: &[u8]) -> Result<[u8; 32], BadData> {
    bytes.try_into().map_err(|_| BadData::Length { what, expected: 32, got: bytes.len() })
}

pub(super) fn merkle_path<'a>(
    count: u32,
    hashes: impl Iterator<Item = Result<&'a [u8], BadData>>,
) -> Result<Vec<[u8; 32]>, BadData> {
    check_count("merkle path", MAX_MERKLE_DEPTH, count)?;
    hashes.map(|bytes| hash("merkle path", bytes?)).collect()
}

/// Parts of a coinbase transaction as they come.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawCoinbase<'a> {
    pub(super) version: u32,
    pub(super) sequence: u32,
    pub(super) script_sig_prefix: &'a [u8],
    /// Empty when there is none.
    pub(super) witness: &'a [u8],
    pub(super) block_reward_remaining: i64,
    pub(super) lock_time: u32,
}

/// Checks the parts of a coinbase; gives the height of the block too.
pub(super) fn coinbase<'a>(
    raw: &RawCoinbase<'_>,
    outputs_count: u32,
    outputs: impl Iterator<Item = Result<&'a [u8], BadData>>,
) -> Result<(CoinbaseTemplate, u32), BadData> {
    let prefix = raw.script_sig_prefix;
    if prefix.len() > MAX_SCRIPT_SIG_PREFIX {
        return Err(BadData::TooMuch { what: "scriptSig prefix", most: MAX_SCRIPT_SIG_PREFIX, got: prefix.len() });
    }
    // Users add a witness of 32 zero bytes; another one would make the commitment wrong.
    if !raw.witness.is_empty() && raw.witness != [0; 32] {
        return Err(BadData::Witness(raw.witness.iter().take(64).copied().collect()));
    }
    let value_remaining = u64::try_from(raw.block_reward_remaining)
        .ok()
        .filter(|_| raw.block_reward_remaining <= MAX_MONEY)
        .ok_or(BadData::Amount { what: "block reward", got: raw.block_reward_remaining })?;
    let coinbase = CoinbaseTemplate {
        version: raw.version,
        script_sig_prefix: prefix.to_vec(),
        sequence: raw.sequence,
        value_remaining,
        outputs_count,
        outputs: required_outputs(outputs_count, outputs)?,
        lock_time: raw.lock_time,
    };
    Ok((coinbase, height(prefix)?))
}

fn required_outputs<'a>(
    count: u32,
    outputs: impl Iterator<Item = Result<&'a [u8], BadData>>,
) -> Result<Vec<u8>, BadData> {
    check_count("required outputs", MAX_REQUIRED_OUTPUTS, count)?;
    let mut all = Vec::new();
    for (index, bytes) in outputs.enumerate() {
        let bytes = bytes?;
        let len = all.len() + bytes.len();
        if len > MAX_REQUIRED_OUTPUTS_LEN {
            return Err(BadData::TooMuch {
                what: "bytes of required outputs",
                most: MAX_REQUIRED_OUTPUTS_LEN,
                got: len,
            });
        }
        encode::deserialize::<TxOut>(bytes).map_err(|error| BadData::Output { index, error: error.to_string() })?;
        all.extend_from_slice(bytes);
    }
    Ok(all)
}

fn check_count(what: &'static str, most: usize, count: u32) -> Result<(), BadData> {
    match usize::try_from(count) {
        Ok(got) if got <= most => Ok(()),
        got => Err(BadData::TooMuch { what, most, got: got.unwrap_or(usize::MAX) }),
    }
}

/// Reads the height that a scriptSig begins with (BIP 34).
fn height(prefix: &[u8]) -> Result<u32, BadData> {
    let bad = || BadData::Height(prefix.to_vec());
    let height = match prefix.split_first() {
        // OP_1 to OP_16.
        Some((op @ 0x51..=0x60, _)) => u32::from(op - 0x50),
        Some((len @ 1..=4, rest)) => {
            let number = rest.get(..usize::from(*len)).ok_or_else(bad)?;
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(number).for_each(|(to, from)| *to = *from);
            // The highest bit of the last byte is the sign.
            if number.last().is_some_and(|last| last & 0x80 != 0) {
                return Err(bad());
            }
            u32::from_le_bytes(bytes)
        }
        _ => return Err(bad()),
    };
    if height == 0 { Err(bad()) } else { Ok(height) }
}

/// Takes the transactions out of a serialised block, without the coinbase.
pub(super) fn transactions(block: &[u8]) -> Result<Transactions, BadData> {
    if block.len() > MAX_BLOCK_LEN {
        return Err(BadData::TooMuch { what: "bytes of a block", most: MAX_BLOCK_LEN, got: block.len() });
    }
    let block: Block = encode::deserialize(block).map_err(|error| BadData::Block(error.to_string()))?;
    if block.txdata.is_empty() {
        return Err(BadData::Block("no coinbase in it".into()));
    }
    Ok(block.txdata.iter().skip(1).map(encode::serialize).collect::<Vec<_>>().into())
}

/// For tests: a witness commitment output.
#[cfg(test)]
pub(super) fn commitment_output(byte: u8) -> Vec<u8> {
    let mut push = bitcoin::script::PushBytesBuf::from([0xaa, 0x21, 0xa9, 0xed]);
    push.extend_from_slice(&[byte; 32]).expect("short");
    let script =
        bitcoin::script::Builder::new().push_opcode(bitcoin::opcodes::all::OP_RETURN).push_slice(push).into_script();
    encode::serialize(&TxOut { value: bitcoin::Amount::ZERO, script_pubkey: script })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::push_height;

    const RAW: RawCoinbase<'_> = RawCoinbase {
        version: 2,
        sequence: 0xffff_fffe,
        script_sig_prefix: &[2, 0x2c, 0x01],
        witness: &[0; 32],
        block_reward_remaining: 2_500_000_000,
        lock_time: 299,
    };

    fn check(raw: RawCoinbase<'_>, outputs: &[&[u8]]) -> Result<(CoinbaseTemplate, u32), BadData> {
        coinbase(&raw, u32::try_from(outputs.len()).unwrap(), outputs.iter().map(|bytes| Ok(*bytes)))
    }

    #[test]
    fn a_coinbase_is_taken_over() {
        let output = commitment_output(7);
        let (coinbase, height) = check(RAW, &[&output]).unwrap();
        assert_eq!(height, 300);
        assert_eq!(coinbase.value_remaining, 2_500_000_000);
        assert_eq!((coinbase.outputs_count, &coinbase.outputs), (1, &output));
        assert!(coinbase.has_witness_commitment());
    }

    #[test]
    fn a_bad_coinbase_is_refused() {
        let output = commitment_output(7);
        let long = [1; 9];
        for raw in [
            RawCoinbase { block_reward_remaining: -1, ..RAW },
            RawCoinbase { block_reward_remaining: MAX_MONEY + 1, ..RAW },
            RawCoinbase { witness: &[0; 31], ..RAW },
            RawCoinbase { witness: &[1; 32], ..RAW },
            RawCoinbase { script_sig_prefix: &long, ..RAW },
            RawCoinbase { script_sig_prefix: &[], ..RAW },
        ] {
            assert!(check(raw, &[&output]).is_err(), "{raw:?}");
        }
        assert!(check(RAW, &[&output[..output.len() - 1]]).is_err(), "an output that is cut off");
        assert!(check(RAW, &[output.as_slice(); MAX_REQUIRED_OUTPUTS + 1]).is_err());
    }

    #[test]
    fn heights_are_those_of_bip_34() {
        for expected in [1, 2, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 840_000, 8_388_607, 8_388_608, 16_777_216] {
            assert_eq!(height(&push_height(expected)), Ok(expected));
        }
        for bad in
            [&[][..], &[0], &[0x50], &[0x61], &[1, 0], &[1, 0x81], &[2, 1], &[3, 0, 0, 0x80], &[5, 1, 1, 1, 1, 1]]
        {
            assert!(height(bad).is_err(), "{bad:?}");
        }
        assert_eq!(height(&push_height(0x0102_0304)), Ok(0x0102_0304));
    }

    #[test]
    fn a_header_is_80_bytes_with_a_target() {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&0xa000_0004_u32.to_le_bytes());
        bytes[4..36].copy_from_slice(&[9; 32]);
        bytes[68..72].copy_from_slice(&77_u32.to_le_bytes());
        bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        let parsed = header(&bytes).unwrap();
        assert_eq!((parsed.version, parsed.time, parsed.nbits), (0xa000_0004, 77, 0x207f_ffff));
        assert_eq!(parsed.prev_hash.to_byte_array(), [9; 32]);
        assert_eq!(parsed.target[28..], [0, 0xff, 0xff, 0x7f]);
        assert!(header(&bytes[..79]).is_err());
        assert!(header(&[0; 81]).is_err());
    }

    #[test]
    fn a_merkle_path_is_bounded() {
        let path = |count: u32, len: usize| {
            let hash = vec![3; len];
            let hashes = vec![hash; usize::try_from(count).unwrap()];
            merkle_path(count, hashes.iter().map(|hash| Ok(hash.as_slice()))).map(|path| path.len())
        };
        assert_eq!(path(0, 32), Ok(0));
        assert_eq!(path(16, 32), Ok(16));
        assert!(path(17, 32).is_err());
        assert!(path(1, 31).is_err());
    }

    #[test]
    fn a_block_gives_its_transactions_without_the_coinbase() {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let mut two = block.clone();
        two.txdata.push(block.txdata[0].clone());
        assert!(transactions(&encode::serialize(&block)).unwrap().is_empty());
        assert_eq!(*transactions(&encode::serialize(&two)).unwrap(), [encode::serialize(&block.txdata[0])]);

        let whole = encode::serialize(&two);
        assert!((0..whole.len()).all(|len| transactions(&whole[..len]).is_err()), "cut off anywhere");
        two.txdata.clear();
        assert!(transactions(&encode::serialize(&two)).is_err());
        assert!(transactions(&vec![0; MAX_BLOCK_LEN + 1]).is_err());
    }
}
