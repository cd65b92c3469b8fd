//! Where block rewards go: an output descriptor, an address or a raw script.

use std::str::FromStr;

use bitcoin::{Address, Network, ScriptBuf, address::NetworkUnchecked, hex::FromHex};
use miniscript::{Descriptor, DescriptorPublicKey, descriptor::DefiniteDescriptorKey};

/// Why a payout target was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayoutError {
    /// The address is for another chain.
    #[error("the payout address {address} is not for {network}; use an address of that chain, or set `network`")]
    WrongNetwork {
        /// The address as configured.
        address: String,
        /// The configured chain.
        network: Network,
    },
    /// A descriptor with a wildcard has many scripts.
    #[error("the payout descriptor has a wildcard; name one key, for example .../0/7 in place of .../0/*")]
    Wildcard,
    /// Neither a descriptor nor an address.
    #[error(
        "expected a payout descriptor such as wpkh(KEY), addr(ADDRESS) or raw(HEX), or an address; got `{text}`: {reason}"
    )]
    Unreadable {
        /// What was configured.
        text: String,
        /// Why it is no descriptor.
        reason: String,
    },
}

/// Reads a payout target: `addr(…)`, `raw(…)`, a bare address, or an output descriptor without wildcards.
///
/// # Errors
/// See [`PayoutError`].
pub fn script(text: &str, network: Network) -> Result<ScriptBuf, PayoutError> {
    let text = text.trim();
    let unreadable = |reason: String| PayoutError::Unreadable { text: text.to_owned(), reason };
    // A checksum after `#` is verified for descriptors proper by the library; these two forms it does not know.
    let bare = text.split_once('#').map_or(text, |(body, _)| body);
    if let Some(hex) = argument(bare, "raw") {
        return Vec::from_hex(hex).map(ScriptBuf::from_bytes).map_err(|e| unreadable(e.to_string()));
    }
    if let Some(inner) = argument(bare, "addr") {
        let parsed = Address::from_str(inner).map_err(|e| unreadable(e.to_string()))?;
        return address(inner, parsed, network);
    }
    if let Ok(parsed) = Address::from_str(text) {
        return address(text, parsed, network);
    }
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(text).map_err(|e| unreadable(e.to_string()))?;
    if descriptor.has_wildcard() || descriptor.is_multipath() {
        return Err(PayoutError::Wildcard);
    }
    let definite: Descriptor<DefiniteDescriptorKey> =
        descriptor.at_derivation_index(0).map_err(|e| unreadable(e.to_string()))?;
    Ok(definite.script_pubkey())
}

fn argument<'a>(text: &'a str, function: &str) -> Option<&'a str> {
    text.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')
}

fn address(text: &str, parsed: Address<NetworkUnchecked>, network: Network) -> Result<ScriptBuf, PayoutError> {
    let checked =
        parsed.require_network(network).map_err(|_| PayoutError::WrongNetwork { address: text.to_owned(), network })?;
    Ok(checked.script_pubkey())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const PROGRAM: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn four_ways_to_the_same_script() {
        for text in [ADDRESS.to_owned(), format!("addr({ADDRESS})"), format!("raw({PROGRAM})"), format!("wpkh({KEY})")]
        {
            assert_eq!(script(&text, Network::Regtest).unwrap().to_hex_string(), PROGRAM, "{text}");
        }
    }

    #[test]
    fn refuses_another_chain_wildcards_and_noise() {
        assert!(matches!(script(ADDRESS, Network::Bitcoin), Err(PayoutError::WrongNetwork { .. })));
        let xpub = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";
        assert_eq!(script(&format!("wpkh({xpub}/0/*)"), Network::Bitcoin), Err(PayoutError::Wildcard));
        for text in ["", "wpkh()", "addr(nonsense)", "raw(xy)"] {
            assert!(matches!(script(text, Network::Regtest), Err(PayoutError::Unreadable { .. })), "{text}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        assert!(matches!(
            script(&format!("wpkh({KEY})#aaaaaaaa"), Network::Regtest),
            Err(PayoutError::Unreadable { .. })
        ));
    }
}
