//! Makes transactions: the devnet's users.
//!
//! The coins belong to one key and to anyone; each transaction spends a few of them, of random forms, to outputs of random
//! forms at a random fee rate. Everything follows from the seed.

use bitcoin::{
    Amount, CompressedPublicKey, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, WScriptHash, Witness,
    absolute::LockTime,
    ecdsa::Signature,
    hashes::{Hash, sha256},
    opcodes::OP_TRUE,
    script::Builder,
    secp256k1::{Message, Secp256k1, SecretKey, SignOnly},
    sighash::{EcdsaSighashType, SighashCache},
    transaction::Version,
};

use super::{
    mempool::Mempool,
    rules::COINBASE_MATURITY,
    utxo::{Coin, Coins},
};

/// The producer merges coins while it has more than this, so that their number does not grow with the chain.
const MANY_COINS: usize = 400;
/// Coins worth less than this are left alone, in satoshis.
const SMALLEST_COIN: u64 = 20_000;
/// Inputs of a transaction that merges coins.
const MERGED_INPUTS: usize = 4;
/// Fee rates, in satoshis per virtual byte.
const FEE_RATES: std::ops::Range<u64> = 1..60;
/// Virtual bytes that fees are reckoned with: no transaction made here is larger.
const VIRTUAL_BYTES_BASE: u64 = 12;
const VIRTUAL_BYTES_INPUT: u64 = 69;
const VIRTUAL_BYTES_OUTPUT: u64 = 43;

/// A small generator (xorshift64*), good enough to make variety that repeats from a seed. Never for secrets.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Random(seed.wrapping_add(0x9e37_79b9_7f4a_7c15).max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; zero when `end` is zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }
}

/// Owner of the devnet's coins, and maker of its transactions.
#[derive(Debug)]
pub(super) struct Producer {
    secp: Secp256k1<SignOnly>,
    key: SecretKey,
    public: CompressedPublicKey,
    scripts: [ScriptBuf; 3],
    random: Random,
    /// Coins of the chain that are ours and mature.
    coins: Vec<(OutPoint, TxOut)>,
}

impl Producer {
    pub fn new(seed: u64) -> Self {
        let secp = Secp256k1::signing_only();
        let key = derive_key(seed);
        let public = CompressedPublicKey(key.public_key(&secp));
        let scripts = [ScriptBuf::new_p2wpkh(&public.wpubkey_hash()), ScriptBuf::new_p2wsh(&script_hash()), op_true()];
        Producer { secp, key, public, scripts, random: Random::new(seed), coins: Vec::new() }
    }

    /// Where to pay coins that the producer can spend; of a form that changes from call to call.
    pub fn script(&mut self) -> ScriptBuf {
        match self.random.below(3) {
            0 => self.scripts[0].clone(),
            1 => self.scripts[1].clone(),
            _ => self.scripts[2].clone(),
        }
    }

    /// Looks up which coins can be spent in a block at `height`.
    pub fn follow(&mut self, coins: &Coins, height: u32) {
        let mature = |coin: &Coin| !coin.coinbase || height.saturating_sub(coin.height) >= COINBASE_MATURITY;
        self.coins = coins
            .iter()
            .filter(|(_, coin)| mature(coin) && self.wants(&coin.output))
            .map(|(outpoint, coin)| (*outpoint, coin.output.clone()))
            .collect();
    }

    fn wants(&self, output: &TxOut) -> bool {
        output.value.to_sat() >= SMALLEST_COIN && self.scripts.contains(&output.script_pubkey)
    }

    /// The next transaction, if there is a coin left to spend.
    pub fn produce(&mut self, mempool: &Mempool) -> Option<Transaction> {
        let mut free: Vec<(OutPoint, TxOut)> =
            self.coins.iter().filter(|(outpoint, _)| !mempool.is_spent(outpoint)).cloned().collect();
        let mut waiting: Vec<(OutPoint, TxOut)> = mempool
            .spendable()
            .filter(|(_, output)| self.wants(output))
            .map(|(outpoint, output)| (outpoint, output.clone()))
            .collect();

        let merge = free.len() > MANY_COINS;
        let wanted = if merge { MERGED_INPUTS } else { 1 + self.random.below(2) as usize };
        let first = self.random.below((free.len() + waiting.len()) as u64) as usize;
        // Only one input waits for another transaction, so that few chains become too long.
        let mut spent: Vec<_> =
            first.checked_sub(free.len()).and_then(|index| take(&mut waiting, index)).into_iter().collect();
        while spent.len() < wanted && !free.is_empty() {
            let index = self.random.below(free.len() as u64) as usize;
            spent.extend(take(&mut free, index));
        }
        if spent.is_empty() {
            return None;
        }
        let outputs = if merge { 1 } else { 1 + self.random.below(2) };
        self.spend(spent, outputs)
    }

    fn spend(&mut self, spent: Vec<(OutPoint, TxOut)>, outputs: u64) -> Option<Transaction> {
        let rate = FEE_RATES.start + self.random.below(FEE_RATES.end - FEE_RATES.start);
        let size = VIRTUAL_BYTES_BASE + VIRTUAL_BYTES_INPUT * spent.len() as u64 + VIRTUAL_BYTES_OUTPUT * outputs;
        let total: u64 = spent.iter().map(|(_, output)| output.value.to_sat()).sum();
        let mut left = total.checked_sub(rate * size)?;
        let mut output = Vec::new();
        for remaining in (1..=outputs).rev() {
            let value = if remaining == 1 { left } else { left / 4 + self.random.below(left / 2) };
            left -= value;
            output.push(TxOut { value: Amount::from_sat(value), script_pubkey: self.script() });
        }
        let input = spent.iter().map(|(outpoint, _)| TxIn {
            previous_output: *outpoint,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            ..TxIn::default()
        });
        let mut tx = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: input.collect(), output };
        for (index, (_, output)) in spent.iter().enumerate() {
            let witness = self.witness(&tx, index, output)?;
            tx.input.get_mut(index)?.witness = witness;
        }
        Some(tx)
    }

    fn witness(&self, tx: &Transaction, index: usize, spent: &TxOut) -> Option<Witness> {
        if spent.script_pubkey.is_p2wsh() {
            return Some(Witness::from_slice(&[op_true().as_bytes()]));
        }
        if !spent.script_pubkey.is_p2wpkh() {
            return Some(Witness::new());
        }
        let sighash_type = EcdsaSighashType::All;
        let sighash =
            SighashCache::new(tx).p2wpkh_signature_hash(index, &spent.script_pubkey, spent.value, sighash_type).ok()?;
        let signature = self.secp.sign_ecdsa(&Message::from_digest(sighash.to_byte_array()), &self.key);
        Some(Witness::p2wpkh(&Signature { signature, sighash_type }, &self.public.0))
    }
}

fn take<T>(list: &mut Vec<T>, index: usize) -> Option<T> {
    (index < list.len()).then(|| list.swap_remove(index))
}

fn op_true() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

fn script_hash() -> WScriptHash {
    op_true().wscript_hash()
}

/// A key that everybody who knows the seed knows: devnet coins are worth nothing.
fn derive_key(seed: u64) -> SecretKey {
    let mut digest = sha256::Hash::hash(&[b"stratum devnet key".as_slice(), &seed.to_le_bytes()].concat());
    loop {
        match SecretKey::from_slice(digest.as_byte_array()) {
            Ok(key) => return key,
            Err(_) => digest = sha256::Hash::hash(digest.as_byte_array()),
        }
    }
}

/// Coins of genesis for a chain whose target is too hard for a bootstrap: `count` of `value` satoshis each.
pub(super) fn genesis_funds(producer: &mut Producer, count: u32, value: u64, time: u32) -> Vec<(OutPoint, Coin)> {
    (0..count)
        .map(|index| {
            let name = [b"stratum devnet funds".as_slice(), &index.to_le_bytes()].concat();
            let outpoint = OutPoint { txid: bitcoin::Txid::hash(&name), vout: 0 };
            let output = TxOut { value: Amount::from_sat(value), script_pubkey: producer.script() };
            (outpoint, Coin { output, height: 0, coinbase: false, prior_median_time: time })
        })
        .collect()
}
