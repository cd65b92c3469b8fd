//! What workers are called upstream.

use const_sv2::limits::TLV_USER_IDENTITY_MAX;
use sha2::{Digest, Sha256};

/// Longest `user_identity` of a channel, in bytes (a STR0_255).
pub const MAX_IDENTITY: usize = 255;
/// Bytes that take the place of what was cut off: `~` and eight hexadecimal digits of the whole name's SHA-256.
const MARK_LEN: usize = 9;

/// The name within `limit` bytes, which must be more than [`MARK_LEN`]: what is longer is cut at a character boundary, and a short hash
/// of the whole keeps names with a common beginning apart.
fn shortened(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let mut end = limit - MARK_LEN;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(name));
    format!("{}~{a:02x}{b:02x}{c:02x}{d:02x}", &name[..end])
}

/// The worker's part of a user name: what is behind the first dot, or the whole where there is none.
pub fn worker(username: &str) -> &str {
    username.split_once('.').map(|(_, worker)| worker).filter(|worker| !worker.is_empty()).unwrap_or(username)
}

/// The worker's name for the `user_identity` field of extension 0x0002, at most 32 bytes.
pub fn field(username: &str) -> String {
    shortened(worker(username), TLV_USER_IDENTITY_MAX)
}

/// The identity of a miner's own channel: the account's with the worker's name behind a dot.
pub fn identity(account: &str, username: &str) -> String {
    shortened(&format!("{account}.{}", worker(username)), MAX_IDENTITY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_worker_is_behind_the_first_dot() {
        for (username, expected) in
            [("alice.rig1", "rig1"), ("alice", "alice"), ("alice.", "alice."), ("a.b.c", "b.c"), (".x", "x")]
        {
            assert_eq!(worker(username), expected);
        }
        assert_eq!(identity("account", "alice.rig1"), "account.rig1");
    }

    #[test]
    fn thirty_two_bytes_stay_and_more_are_cut_with_a_hash() {
        let name = "x".repeat(32);
        assert_eq!(field(&name), name);
        let (one, other) = (field(&format!("{name}1")), field(&format!("{name}2")));
        assert_eq!((one.len(), other.len(), &one[..24]), (32, 32, &format!("{}~", "x".repeat(23))[..]));
        assert_ne!(one, other);
        // A character of three bytes would end at byte 24.
        let accented = field(&format!("{}\u{20ac}{}", "x".repeat(21), "y".repeat(20)));
        assert!(accented.starts_with(&format!("{}~", "x".repeat(21))), "{accented}");
    }

    proptest! {
        #[test]
        fn every_name_fits(name in "\\PC{0,300}", account in "\\PC{0,300}") {
            prop_assert!(field(&name).len() <= TLV_USER_IDENTITY_MAX);
            prop_assert!(identity(&account, &name).len() <= MAX_IDENTITY);
        }
    }
}
