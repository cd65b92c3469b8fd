//! The script forms that the devnet lets be spent: bare `OP_TRUE`, P2WSH of `OP_TRUE`, and P2WPKH.
//!
//! There is no script interpreter here. An output of another form can be made, and stays unspent.

use bitcoin::{
    PublicKey, Script, Transaction, TxIn, TxOut, WScriptHash,
    ecdsa::Signature,
    hashes::Hash,
    opcodes::all::OP_PUSHNUM_1,
    secp256k1::{Message, Secp256k1},
    sighash::SighashCache,
};

use super::Reject;

/// What is said of a script that the devnet can not judge; Bitcoin Core may well take it.
pub(in crate::devnet) const NOT_SUPPORTED: &str = "devnet: script not supported";

/// Whether input `index` of `tx` may spend `spent`.
pub(super) fn check_input(tx: &Transaction, index: usize, spent: &TxOut) -> Result<(), Reject> {
    let Some(input) = tx.input.get(index) else {
        return Err(Reject::invalid(NOT_SUPPORTED));
    };
    let script = &spent.script_pubkey;
    if is_op_true(script) {
        return check_bare(input);
    }
    if !script.is_p2wpkh() && !script.is_p2wsh() {
        return Err(Reject::invalid(NOT_SUPPORTED));
    }
    if !input.script_sig.is_empty() {
        return match input.script_sig.is_push_only() {
            true => Err(failed("Witness requires empty scriptSig")),
            false => Err(Reject::invalid(NOT_SUPPORTED)),
        };
    }
    match script.is_p2wsh() {
        true => check_p2wsh(input, script),
        false => check_p2wpkh(tx, index, input, spent),
    }
}

fn failed(what: &str) -> Reject {
    Reject::invalid(format!("block-script-verify-flag-failed ({what})"))
}

fn is_op_true(script: &Script) -> bool {
    script.as_bytes() == [OP_PUSHNUM_1.to_u8()]
}

fn check_bare(input: &TxIn) -> Result<(), Reject> {
    if !input.script_sig.is_empty() {
        return Err(Reject::invalid(NOT_SUPPORTED));
    }
    match input.witness.is_empty() {
        true => Ok(()),
        false => Err(failed("Witness provided for non-witness script")),
    }
}

fn check_p2wsh(input: &TxIn, script: &Script) -> Result<(), Reject> {
    let Some(inner) = input.witness.last() else {
        return Err(failed("Witness program was passed an empty witness"));
    };
    if script.as_bytes().get(2..) != Some(WScriptHash::hash(inner).as_byte_array().as_slice()) {
        return Err(failed("Witness program hash mismatch"));
    }
    if !is_op_true(Script::from_bytes(inner)) {
        return Err(Reject::invalid(NOT_SUPPORTED));
    }
    match input.witness.len() {
        1 => Ok(()),
        _ => Err(failed("Stack size must be exactly one after execution")),
    }
}

fn check_p2wpkh(tx: &Transaction, index: usize, input: &TxIn, spent: &TxOut) -> Result<(), Reject> {
    let (2, Some(signature), Some(key)) = (input.witness.len(), input.witness.nth(0), input.witness.nth(1)) else {
        return Err(failed("Witness program hash mismatch"));
    };
    let hash = bitcoin::PubkeyHash::hash(key);
    if spent.script_pubkey.as_bytes().get(2..) != Some(hash.as_byte_array().as_slice()) {
        return Err(failed("Script failed an OP_EQUALVERIFY operation"));
    }
    let false_result = || failed("Script evaluated without error but finished with a false/empty top stack element");
    if signature.is_empty() {
        return Err(false_result());
    }
    let mut signature = match Signature::from_slice(signature) {
        Ok(signature) => signature,
        Err(bitcoin::ecdsa::Error::Secp256k1(_)) => return Err(failed("Non-canonical DER signature")),
        Err(_) => return Err(Reject::invalid(NOT_SUPPORTED)),
    };
    let key = PublicKey::from_slice(key).map_err(|_| false_result())?;
    let sighash = SighashCache::new(tx)
        .p2wpkh_signature_hash(index, &spent.script_pubkey, spent.value, signature.sighash_type)
        .map_err(|_| Reject::invalid(NOT_SUPPORTED))?;
    // The library verifies only signatures with a low S, the chain's rules know no such limit.
    signature.signature.normalize_s();
    Secp256k1::verification_only()
        .verify_ecdsa(&Message::from_digest(sighash.to_byte_array()), &signature.signature, &key.inner)
        .map_err(|_| false_result())
}
