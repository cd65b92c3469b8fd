//! The answer to `getblocktemplate` (BIP 22, 23, 9, 145), checked before anything is built on it.

use std::{collections::HashMap, sync::Arc};

use bitcoin::{BlockHash, Transaction, consensus::encode, hashes::Hash, hex::FromHex};
use serde::Deserialize;

use crate::consensus::{self, COMMITMENT_LEN, COMMITMENT_PREFIX, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, MAX_MONEY};

/// Most transactions of a template: a block holds fewer, for none has under 240 weight units.
pub const MAX_TRANSACTIONS: usize = 16_666;

/// Longest `longpollid`, which goes back to the node as it came; Bitcoin Core's has some 70 bytes.
pub const MAX_LONG_POLL_ID: usize = 256;

/// Rules that change blocks and that this source keeps. A template that needs another one (BIP 9: a name behind `!`) is refused.
const KNOWN_RULES: [&str; 4] = ["csv", "segwit", "taproot", "signet"];

/// The script of a signet whose blocks anyone may make: OP_TRUE.
const OPEN_SIGNET: &str = "51";

/// A template of a node, checked.
#[derive(Clone, Debug)]
pub struct BlockTemplate {
    /// Block header version.
    pub version: u32,
    /// The block to build on.
    pub prev_hash: BlockHash,
    /// Height of the block that this template makes; not zero.
    pub height: u32,
    /// Compact target.
    pub nbits: u32,
    /// Hashes at or below this are blocks; little-endian.
    pub target: [u8; 32],
    /// Time to start with, unix seconds; not before the least that the chain allows.
    pub time: u32,
    /// Satoshis that the coinbase may spend with all transactions in.
    pub value: u64,
    /// Satoshis of all fees; at most `value`.
    pub fees: u64,
    /// Transactions without the coinbase, in block order.
    pub transactions: Vec<TemplateTransaction>,
    /// Most weight of the block.
    pub weight_limit: u64,
    /// Most sigops cost of the block.
    pub sigop_limit: u64,
    /// The node commits to witnesses (BIP 141).
    pub commits: bool,
    /// What to wait with for the next template.
    pub long_poll_id: String,
}

/// A transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// Consensus-serialised with witnesses.
    pub data: Arc<[u8]>,
    /// Hash without witnesses, in the byte order of the wire.
    pub txid: [u8; 32],
    /// Hash with witnesses, in the byte order of the wire.
    pub wtxid: [u8; 32],
    /// Satoshis.
    pub fee: u64,
    /// Sigops cost: a legacy sigop costs 4.
    pub sigops: u64,
    /// Weight units.
    pub weight: u64,
    /// Transactions of the same template that must come before it, as indices.
    pub depends: Vec<usize>,
}

/// Why a template can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Not the JSON that it should be.
    #[error("no block template: {0}")]
    Json(String),
    /// A field has a value that can not be.
    #[error("`{field}`: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A transaction has a value that can not be.
    #[error("transaction {index}: {problem}")]
    Transaction {
        /// Its place among the template's transactions.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A rule of the chain that this program does not know.
    #[error("the template needs the rule `{0}`, which this program does not know; update it")]
    Rule(String),
    /// A signet whose blocks need a signature.
    #[error("blocks of this signet need a signature of its owners; only a signet with the challenge 51 can be mined")]
    ClosedSignet,
}

#[derive(Deserialize)]
struct RawTemplate<'a> {
    version: i64,
    #[serde(default)]
    rules: Vec<String>,
    previousblockhash: &'a str,
    #[serde(borrow)]
    transactions: Vec<RawTransaction<'a>>,
    coinbasevalue: u64,
    longpollid: String,
    target: Option<&'a str>,
    #[serde(default)]
    mintime: u32,
    curtime: u32,
    sigoplimit: Option<u64>,
    weightlimit: Option<u64>,
    bits: &'a str,
    height: u32,
    signet_challenge: Option<&'a str>,
    default_witness_commitment: Option<&'a str>,
}

#[derive(Deserialize)]
struct RawTransaction<'a> {
    data: &'a str,
    txid: &'a str,
    hash: &'a str,
    #[serde(default)]
    depends: Vec<usize>,
    fee: u64,
    sigops: u64,
    weight: u64,
}

/// Transactions that were checked before, by wtxid: most of a template was in the one before it.
pub type Known = HashMap<[u8; 32], TemplateTransaction>;

impl BlockTemplate {
    /// Reads a template out of JSON.
    ///
    /// # Errors
    /// [`BadTemplate`]: the first thing that is wrong.
    pub fn from_json(json: &[u8], known: &Known) -> Result<Self, BadTemplate> {
        let raw = serde_json::from_slice(json).map_err(|error| BadTemplate::Json(error.to_string()))?;
        Self::check(&raw, known)
    }

    /// The transactions by wtxid, to read the next template with.
    pub fn known(&self) -> Known {
        self.transactions.iter().map(|transaction| (transaction.wtxid, transaction.clone())).collect()
    }

    fn check(raw: &RawTemplate<'_>, known: &Known) -> Result<Self, BadTemplate> {
        check_rules(raw)?;
        let nbits = nbits(raw.bits)?;
        let target = consensus::target(nbits).ok_or_else(|| field("bits", format!("{nbits:#010x} is no target")))?;
        check_target(raw.target, &target)?;
        if raw.height == 0 || raw.height > i32::MAX.cast_unsigned() {
            return Err(field("height", format!("{} can not be", raw.height)));
        }
        if raw.longpollid.len() > MAX_LONG_POLL_ID {
            return Err(field("longpollid", format!("at most {MAX_LONG_POLL_ID} bytes, got {}", raw.longpollid.len())));
        }
        let transactions = check_transactions(&raw.transactions, known)?;
        let fees = transactions.iter().map(|transaction| transaction.fee).sum();
        if raw.coinbasevalue > MAX_MONEY || fees > raw.coinbasevalue {
            let problem = format!("{} satoshis can not be, with fees of {fees}", raw.coinbasevalue);
            return Err(field("coinbasevalue", problem));
        }
        let commits = check_commitment(raw.default_witness_commitment, &transactions)?;
        // A bit pattern: the sign has no meaning.
        let version =
            i32::try_from(raw.version).map_err(|_| field("version", format!("{} can not be", raw.version)))?;
        Ok(Self {
            version: version.cast_unsigned(),
            prev_hash: BlockHash::from_byte_array(hash(raw.previousblockhash, "previousblockhash")?),
            height: raw.height,
            nbits,
            target,
            time: raw.curtime.max(raw.mintime),
            value: raw.coinbasevalue,
            fees,
            transactions,
            weight_limit: raw.weightlimit.unwrap_or(MAX_BLOCK_WEIGHT).min(MAX_BLOCK_WEIGHT),
            sigop_limit: raw.sigoplimit.unwrap_or(MAX_BLOCK_SIGOPS_COST).min(MAX_BLOCK_SIGOPS_COST),
            commits,
            long_poll_id: raw.longpollid.clone(),
        })
    }
}

fn field(field: &'static str, problem: String) -> BadTemplate {
    BadTemplate::Field { field, problem }
}

fn check_rules(raw: &RawTemplate<'_>) -> Result<(), BadTemplate> {
    let needed = raw.rules.iter().filter_map(|rule| rule.strip_prefix('!'));
    if let Some(unknown) = needed.into_iter().find(|rule| !KNOWN_RULES.contains(rule)) {
        return Err(BadTemplate::Rule(unknown.chars().filter(|c| !c.is_control()).take(40).collect()));
    }
    match raw.signet_challenge {
        Some(challenge) if challenge != OPEN_SIGNET => Err(BadTemplate::ClosedSignet),
        _ => Ok(()),
    }
}

fn nbits(text: &str) -> Result<u32, BadTemplate> {
    let bytes = <[u8; 4]>::from_hex(text).map_err(|_| field("bits", "expected 8 hexadecimal digits".into()))?;
    Ok(u32::from_be_bytes(bytes))
}

/// The target is said twice; both must be the same.
fn check_target(text: Option<&str>, target: &[u8; 32]) -> Result<(), BadTemplate> {
    let Some(text) = text else { return Ok(()) };
    if hash(text, "target")? == *target { Ok(()) } else { Err(field("target", "differs from that of `bits`".into())) }
}

/// A hash in the order of the wire; text has the bytes the other way round.
fn hash(text: &str, name: &'static str) -> Result<[u8; 32], BadTemplate> {
    let mut bytes = <[u8; 32]>::from_hex(text).map_err(|_| field(name, "expected 64 hexadecimal digits".into()))?;
    bytes.reverse();
    Ok(bytes)
}

fn check_transactions(raw: &[RawTransaction<'_>], known: &Known) -> Result<Vec<TemplateTransaction>, BadTemplate> {
    if raw.len() > MAX_TRANSACTIONS {
        return Err(field("transactions", format!("at most {MAX_TRANSACTIONS}, got {}", raw.len())));
    }
    let mut total = 0;
    let mut checked = Vec::with_capacity(raw.len());
    for (index, transaction) in raw.iter().enumerate() {
        let one = check_transaction(index, transaction, known)
            .map_err(|problem| BadTemplate::Transaction { index, problem })?;
        total += one.fee;
        if total > MAX_MONEY {
            return Err(BadTemplate::Transaction { index, problem: "all fees together are more than can exist" });
        }
        checked.push(one);
    }
    Ok(checked)
}

fn check_transaction(
    index: usize,
    raw: &RawTransaction<'_>,
    known: &Known,
) -> Result<TemplateTransaction, &'static str> {
    let data = Vec::<u8>::from_hex(raw.data).map_err(|_| "`data` is not hexadecimal")?;
    let wtxid = hash(raw.hash, "hash").map_err(|_| "`hash` has not 64 hexadecimal digits")?;
    let txid = hash(raw.txid, "txid").map_err(|_| "`txid` has not 64 hexadecimal digits")?;
    // `depends` counts from 1, the coinbase being 0.
    let depends: Option<Vec<_>> = raw.depends.iter().map(|one| one.checked_sub(1).filter(|one| *one < index)).collect();
    let depends = depends.ok_or("`depends` names a transaction that does not come before it")?;
    if raw.fee > MAX_MONEY {
        return Err("`fee` is more than can exist");
    }
    if raw.sigops > MAX_BLOCK_SIGOPS_COST {
        return Err("`sigops` is more than a block can have");
    }
    let (data, weight) = match known.get(&wtxid).filter(|known| *known.data == *data && known.txid == txid) {
        Some(known) => (known.data.clone(), known.weight),
        None => {
            let transaction: Transaction =
                encode::deserialize(&data).map_err(|_| "`data` can not be read as a transaction")?;
            if transaction.compute_txid().to_byte_array() != txid {
                return Err("`txid` is not that of `data`");
            }
            if transaction.compute_wtxid().to_byte_array() != wtxid {
                return Err("`hash` is not that of `data`");
            }
            (data.into(), transaction.weight().to_wu())
        }
    };
    if raw.weight != weight {
        return Err("`weight` is not that of `data`");
    }
    Ok(TemplateTransaction { data, txid, wtxid, fee: raw.fee, sigops: raw.sigops, weight, depends })
}

/// Whether the node commits to witnesses; its commitment must be the one that we compute.
fn check_commitment(script: Option<&str>, transactions: &[TemplateTransaction]) -> Result<bool, BadTemplate> {
    const NAME: &str = "default_witness_commitment";
    let Some(script) = script else {
        return match transactions.iter().any(|transaction| transaction.txid != transaction.wtxid) {
            true => Err(field(NAME, "missing, although there are witnesses".into())),
            false => Ok(false),
        };
    };
    let script = Vec::<u8>::from_hex(script).map_err(|_| field(NAME, "not hexadecimal".into()))?;
    let ours = consensus::commitment_of_wtxids(transactions.iter().map(|one| one.wtxid), &[0; 32]);
    let expected = [COMMITMENT_PREFIX.as_slice(), &ours].concat();
    if script.len() < COMMITMENT_LEN || script[..COMMITMENT_LEN] != expected {
        return Err(field(NAME, "does not commit to the transactions of the template".into()));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::bitcoin_rpc::testing::{answer, transaction};

    fn read(json: &Value) -> Result<BlockTemplate, BadTemplate> {
        BlockTemplate::from_json(json.to_string().as_bytes(), &Known::new())
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<BlockTemplate, BadTemplate> {
        let mut json = answer(3);
        change(&mut json);
        read(&json)
    }

    #[test]
    fn a_template_is_taken_over() {
        let template = read(&answer(3)).unwrap();
        assert_eq!((template.height, template.nbits, template.version), (101, 0x207f_ffff, 0x2000_0000));
        assert_eq!(template.transactions.len(), 3);
        assert_eq!(template.value, 5_000_000_000 + template.fees);
        assert!(template.commits);
        assert_eq!(template.time, 1_800_000_000);
        assert_eq!(with(|json| json["mintime"] = 1_800_000_007.into()).unwrap().time, 1_800_000_007);
        // What was read before is not read again, and gives the same.
        let again = BlockTemplate::from_json(answer(3).to_string().as_bytes(), &template.known()).unwrap();
        assert_eq!(again.transactions, template.transactions);
        assert!(Arc::ptr_eq(&again.transactions[0].data, &template.transactions[0].data));
        // Unless it differs.
        let mut known = template.known();
        known.values_mut().for_each(|one| one.data = vec![1].into());
        let again = BlockTemplate::from_json(answer(3).to_string().as_bytes(), &known).unwrap();
        assert_eq!(again.transactions, template.transactions);
    }

    #[test]
    fn a_template_of_bitcoin_core_is_taken() {
        let json = include_bytes!("../../../../test/vectors/block-template.json");
        let template = BlockTemplate::from_json(json, &Known::new()).unwrap();
        assert_eq!((template.height, template.fees, template.value), (103, 93_000, 5_000_093_000));
        let depends: Vec<_> = template.transactions.iter().map(|one| one.depends.clone()).collect();
        assert_eq!(depends, [vec![], vec![0], vec![]]);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let error = |change: fn(&mut Value)| with(change).unwrap_err().to_string();
        assert!(error(|json| json["bits"] = "00000000".into()).contains("no target"));
        assert!(error(|json| json["bits"] = "1d00ffff".into()).contains("differs"));
        assert!(error(|json| json["height"] = 0.into()).contains("`height`"));
        assert!(error(|json| json["height"] = (-1).into()).contains("block template"));
        assert!(error(|json| json["version"] = 0x1_0000_0000_u64.into()).contains("`version`"));
        assert!(error(|json| json["coinbasevalue"] = 7.into()).contains("`coinbasevalue`"));
        assert!(error(|json| json["coinbasevalue"] = 2_100_000_000_000_001_u64.into()).contains("`coinbasevalue`"));
        assert!(error(|json| json["previousblockhash"] = "00".into()).contains("`previousblockhash`"));
        assert!(error(|json| json["longpollid"] = "x".repeat(257).into()).contains("`longpollid`"));
        assert!(error(|json| json["rules"] = json!(["csv", "!news"])).contains("`news`"));
        assert!(error(|json| json["signet_challenge"] = "5121".into()).contains("signature"));
        assert!(error(|json| json["default_witness_commitment"] = "6a24aa21a9ed".into()).contains("does not commit"));
        assert!(error(|json| json["default_witness_commitment"] = Value::Null).contains("missing"));
        assert!(error(|json| json["transactions"][1]["fee"] = u64::MAX.into()).contains("transaction 1"));
        assert!(error(|json| json["transactions"][1]["sigops"] = 80_001.into()).contains("`sigops`"));
        assert!(error(|json| json["transactions"][1]["weight"] = 4.into()).contains("`weight`"));
        assert!(error(|json| json["transactions"][1]["depends"] = json!([2])).contains("`depends`"));
        assert!(error(|json| json["transactions"][1]["depends"] = json!([0])).contains("`depends`"));
        assert!(error(|json| json["transactions"][1]["data"] = "00".into()).contains("can not be read"));
        let swap = |key: &'static str| move |json: &mut Value| json["transactions"][1][key] = "11".repeat(32).into();
        assert!(with(swap("txid")).unwrap_err().to_string().contains("`txid` is not"));
        assert!(with(swap("hash")).unwrap_err().to_string().contains("`hash` is not"));
    }

    #[test]
    fn what_may_be_missing_may_be_missing() {
        let template = with(|json| {
            let fields = json.as_object_mut().unwrap();
            ["mintime", "sigoplimit", "weightlimit", "target", "rules"]
                .iter()
                .for_each(|name| drop(fields.remove(*name)));
        });
        let template = template.unwrap();
        assert_eq!((template.weight_limit, template.sigop_limit), (4_000_000, 80_000));
        let without = with(|json| {
            json["transactions"] = json!([]);
            json.as_object_mut().unwrap().remove("default_witness_commitment");
        });
        assert!(!without.unwrap().commits, "nothing to commit to");
        let open = with(|json| json["signet_challenge"] = "51".into());
        assert!(open.is_ok());
        let more = with(|json| json["weightlimit"] = u64::MAX.into());
        assert_eq!(more.unwrap().weight_limit, 4_000_000);
    }

    #[test]
    fn the_number_of_transactions_is_bounded() {
        let many = |count: usize| with(|json| json["transactions"] = vec![transaction(0, &[]); count].into());
        // The commitment comes after the count.
        assert!(many(MAX_TRANSACTIONS).unwrap_err().to_string().contains("commit"));
        assert!(many(MAX_TRANSACTIONS + 1).unwrap_err().to_string().contains("at most"));
    }

    proptest! {
        #[test]
        fn anything_else_is_refused_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(BlockTemplate::from_json(&bytes, &Known::new()).is_err());
        }

        #[test]
        fn a_damaged_template_is_no_panic(at: prop::sample::Index, byte: u8, count in 0_usize..4) {
            let mut json = answer(count).to_string().into_bytes();
            let at = at.index(json.len());
            json[at] = byte;
            if let Ok(template) = BlockTemplate::from_json(&json, &Known::new()) {
                prop_assert!(template.fees <= template.value && template.value <= MAX_MONEY);
                prop_assert!(template.height > 0);
            }
        }

        #[test]
        fn any_numbers_are_no_panic(height: u64, value: u64, fee: u64, sigops: u64, weight: u64, time: u64, on: usize) {
            let read = with(|json| {
                json["height"] = height.into();
                json["coinbasevalue"] = value.into();
                json["curtime"] = time.into();
                for one in json["transactions"].as_array_mut().unwrap() {
                    one["fee"] = fee.into();
                    one["sigops"] = sigops.into();
                    one["weight"] = weight.into();
                    one["depends"] = json!([on]);
                }
            });
            prop_assert!(read.is_err());
        }
    }
}
