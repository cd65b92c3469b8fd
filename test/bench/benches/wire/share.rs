//! The share that all rows send: an extranonce of 8 bytes, as a proxy's clients have.

use binary_sv2::B0_32;
use mining_sv2::SubmitSharesExtended;
use sri_mining_sv2::SubmitSharesExtended as SriShare;

pub const EXTRANONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

pub fn ours() -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: 7,
        sequence_number: 1_000,
        job_id: 42,
        nonce: 0x1234_5678,
        ntime: 1_800_000_000,
        version: 0x2000_e000,
        extranonce: B0_32::from_truncated(&EXTRANONCE),
    }
}

pub fn sri() -> SriShare<'static> {
    SriShare {
        channel_id: 7,
        sequence_number: 1_000,
        job_id: 42,
        nonce: 0x1234_5678,
        ntime: 1_800_000_000,
        version: 0x2000_e000,
        extranonce: EXTRANONCE.as_slice().try_into().unwrap(),
    }
}

/// Bytes of the payload.
pub const LEN: usize = 6 * 4 + 1 + EXTRANONCE.len();
