//! Sizes and limits fixed by the wire format, in bytes unless said otherwise.

/// Length of a frame header: `extension_type` 2, `msg_type` 1, `msg_length` 3 (sv2-spec §3.2).
pub const FRAME_HEADER_LEN: usize = 6;
/// Longest payload a header can declare, 2^24 − 1 (sv2-spec §3.2).
pub const MAX_PAYLOAD_LEN: usize = (1 << 24) - 1;
/// Longest frame, header included.
pub const MAX_FRAME_LEN: usize = FRAME_HEADER_LEN + MAX_PAYLOAD_LEN;

/// Largest value of a `U24`.
pub const U24_MAX: u32 = (1 << 24) - 1;
/// Longest content of `B0_32`.
pub const B0_32_MAX: usize = 32;
/// Longest content of `B0_255` and `STR0_255`.
pub const B0_255_MAX: usize = 255;
/// Longest content of `B0_64K`.
pub const B0_64K_MAX: usize = 65_535;
/// Longest content of `B0_16M`.
pub const B0_16M_MAX: usize = (1 << 24) - 1;
/// Most elements of `SEQ0_255`.
pub const SEQ0_255_MAX: usize = 255;
/// Most elements of `SEQ0_64K`.
pub const SEQ0_64K_MAX: usize = 65_535;

/// Authentication tag of one noise message (sv2-spec §4.3.3).
pub const NOISE_TAG_LEN: usize = 16;
/// Longest noise transport message, tag included (sv2-spec §4.6).
pub const NOISE_MAX_CIPHERTEXT_LEN: usize = 65_535;
/// Longest plaintext of one noise transport message.
pub const NOISE_MAX_PLAINTEXT_LEN: usize = NOISE_MAX_CIPHERTEXT_LEN - NOISE_TAG_LEN;
/// A frame header as it goes over a noise connection: encrypted on its own.
pub const NOISE_ENCRYPTED_HEADER_LEN: usize = FRAME_HEADER_LEN + NOISE_TAG_LEN;
/// An ElligatorSwift-encoded public key (sv2-spec §4.3.1.1).
pub const ELLSWIFT_LEN: usize = 64;
/// Handshake act 1: the initiator's ephemeral key (sv2-spec §4.5.1).
pub const HANDSHAKE_ACT1_LEN: usize = ELLSWIFT_LEN;
/// The signature-noise-message: version 2, valid_from 4, not_valid_after 4, signature 64 (sv2-spec §4.5.2).
pub const CERTIFICATE_LEN: usize = 74;
/// Handshake act 2: ephemeral key, encrypted static key, encrypted certificate (sv2-spec §4.5.2).
pub const HANDSHAKE_ACT2_LEN: usize = ELLSWIFT_LEN + (ELLSWIFT_LEN + NOISE_TAG_LEN) + (CERTIFICATE_LEN + NOISE_TAG_LEN);

/// Header of a TLV field: extension 2, field 1, length 2 (sv2-spec §3.4.3).
pub const TLV_HEADER_LEN: usize = 5;
/// Longest `user_identity` TLV of extension 0x0002 (ext-0x0002 §1.1).
pub const TLV_USER_IDENTITY_MAX: usize = 32;

/// Most bytes `coinbase_prefix` should carry in `NewTemplate` and `SetCustomMiningJob` (sv2-spec §7.2).
///
/// The wire type allows 255; this is what the specification's text grants.
pub const COINBASE_PREFIX_MAX: usize = 8;
/// Weight units a template provider reserves before the client's outputs, SegWit block (sv2-spec §7.1).
pub const RESERVED_WEIGHT_SEGWIT: u64 = 1_168;
/// Weight units a template provider reserves before the client's outputs, legacy block (sv2-spec §7.1).
pub const RESERVED_WEIGHT_LEGACY: u64 = 944;
/// Weight units Bitcoin Core reserves at the least (sv2-spec §7.1).
pub const RESERVED_WEIGHT_FLOOR: u64 = 2_000;

/// Version bits a miner may roll under BIP 323: the 24 general-purpose bits.
pub const BIP323_VERSION_MASK: u32 = 0x1fff_ffe0;
/// Version bits a miner may roll under BIP 320: 16 bits, what older devices use.
pub const BIP320_VERSION_MASK: u32 = 0x1fff_e000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_sizes_match_the_specification() {
        assert_eq!(HANDSHAKE_ACT2_LEN, 234);
        assert_eq!(NOISE_ENCRYPTED_HEADER_LEN, 22);
        assert_eq!(NOISE_MAX_PLAINTEXT_LEN, 65_519);
        assert_eq!(BIP323_VERSION_MASK.count_ones(), 24);
        assert_eq!(BIP320_VERSION_MASK.count_ones(), 16);
    }
}
