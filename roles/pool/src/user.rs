//! What a miner calls itself: `user_identity` of Open…MiningChannel (sv2-spec §5.3.2), and the user name of Stratum V1.
//!
//! ```text
//! [policy ":"] account ["." worker] {";" option}
//!
//! bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig-7
//! alice.rig-7
//! solo:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig-7;donate=1.5
//! ```
//!
//! - `policy` is `pool` or `solo`: how the channel's blocks are paid, where the listener leaves a choice.
//! - `account` is an address or a name, up to the first dot. All after that dot is the worker.
//! - `donate` is the percentage of its own block reward that a solo miner gives away.
//!
//! `%` and two hexadecimal digits stand for a byte, which has no meaning of its own then: `a%2Eb` is an account with a dot in
//! its name. Any other `%` stands for itself. Space at either end counts for nothing. The specification allows 255 bytes of any
//! kind; refused is what is not UTF-8, and characters that can not be seen ([`is_hidden`]), with which a name could pass for
//! another one or break a log. Names that look alike (`é` as one character and as two) are two names.

use std::fmt;

use roles_logic_sv2::job::ALL_BASIS_POINTS;

/// How the blocks of a channel are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// To the pool's script; who gets what is settled from the ledger.
    Pool,
    /// To the address that is the account, less the pool's fee and what the miner donates.
    Solo,
    /// To the pool's script, whose account all shares are: every identity is the name of a worker. No identity asks for it.
    Owner,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "pool",
            Self::Solo => "solo",
            Self::Owner => "owner",
        })
    }
}

/// A user identity, taken apart. Names are UTF-8 without hidden characters and without space at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The policy that it asks for.
    pub policy: Option<Policy>,
    /// Address or name; never empty.
    pub account: String,
    /// Name of the device; may be empty.
    pub worker: String,
    /// Basis points (hundredths of a percent) of a block's reward to be given away; 0 where nothing is said.
    pub donation: u16,
}

/// Why a user identity was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUser {
    /// There is no account.
    #[error("expected an account, as in account.worker, got none")]
    NoAccount,
    /// Bytes that are no text.
    #[error("expected UTF-8")]
    NotUtf8,
    /// A character that can not be seen.
    #[error("expected visible characters, got U+{:04X}", u32::from(*.0))]
    Hidden(char),
    /// An option that does not exist.
    #[error("expected donate=PERCENT as the only option")]
    Option,
    /// A donation that is no percentage.
    #[error("expected a donation of 0 to 100 percent with at most two decimals")]
    Donation,
}

impl User {
    /// Takes an identity apart.
    ///
    /// # Errors
    /// See [`InvalidUser`].
    pub fn parse(identity: &[u8]) -> Result<Self, InvalidUser> {
        let identity = std::str::from_utf8(identity).map_err(|_| InvalidUser::NotUtf8)?;
        let mut parts = identity.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let (policy, name) = policy_of(name);
        let (account, worker) = name.split_once('.').unwrap_or((name, ""));
        let mut user = Self { policy, account: decode(account)?, worker: decode(worker)?, donation: 0 };
        if user.account.is_empty() {
            return Err(InvalidUser::NoAccount);
        }
        for option in parts {
            user.donation = donation(option.trim())?;
        }
        Ok(user)
    }
}

/// The identity anew, with escapes where they are needed.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = self.policy {
            write!(f, "{policy}:")?;
        } else if policy_of(&self.account).0.is_some() {
            // Nobody is to take the account's beginning for a policy.
            write!(f, "%{:02X}", self.account.as_bytes()[0])?;
        }
        let skip = usize::from(self.policy.is_none() && policy_of(&self.account).0.is_some());
        encode(&self.account[skip..], &['.', ';', '%'], f)?;
        if !self.worker.is_empty() {
            f.write_str(".")?;
            encode(&self.worker, &[';', '%'], f)?;
        }
        if self.donation > 0 {
            write!(f, ";donate={}.{:02}", self.donation / 100, self.donation % 100)?;
        }
        Ok(())
    }
}

/// Whether a character has no look of its own: control characters, line ends, all space but the plain one, marks of direction and
/// joiners.
pub fn is_hidden(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    invisible || c.is_control() || (c.is_whitespace() && c != ' ')
}

fn policy_of(name: &str) -> (Option<Policy>, &str) {
    let with = |prefix, policy| name.strip_prefix(prefix).map(|rest: &str| (Some(policy), rest.trim_start()));
    with("pool:", Policy::Pool).or_else(|| with("solo:", Policy::Solo)).unwrap_or((None, name))
}

/// Puts back what was escaped, and looks at every character.
fn decode(name: &str) -> Result<String, InvalidUser> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.trim().as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| first == b'%');
        match digits.and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?)) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| InvalidUser::NotUtf8)?;
    match name.chars().find(|c| is_hidden(*c)) {
        Some(hidden) => Err(InvalidUser::Hidden(hidden)),
        None => Ok(name.trim().to_owned()),
    }
}

fn encode(name: &str, special: &[char], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in name.chars() {
        if special.contains(&c) {
            write!(f, "%{:02X}", u32::from(c))?;
        } else {
            write!(f, "{c}")?;
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Basis points of `donate=PERCENT`.
fn donation(option: &str) -> Result<u16, InvalidUser> {
    let percent = option.strip_prefix("donate=").ok_or(InvalidUser::Option)?;
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 3) || !digits(decimals, 2) {
        return Err(InvalidUser::Donation);
    }
    let basis_points = format!("{whole}{decimals:0<2}").parse().ok().filter(|points| *points <= ALL_BASIS_POINTS);
    basis_points.ok_or(InvalidUser::Donation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(identity: &str) -> Result<User, InvalidUser> {
        User::parse(identity.as_bytes())
    }

    fn user(policy: Option<Policy>, account: &str, worker: &str, donation: u16) -> Result<User, InvalidUser> {
        Ok(User { policy, account: account.into(), worker: worker.into(), donation })
    }

    #[test]
    fn is_taken_apart() {
        let longest = "x".repeat(255);
        for (identity, expected) in [
            ("alice", user(None, "alice", "", 0)),
            ("alice.rig", user(None, "alice", "rig", 0)),
            ("alice.rig.7", user(None, "alice", "rig.7", 0)),
            (" alice . rig ", user(None, "alice", "rig", 0)),
            ("alice.", user(None, "alice", "", 0)),
            ("solo:bc1q.rig;donate=1.5", user(Some(Policy::Solo), "bc1q", "rig", 150)),
            ("pool:alice;donate=0", user(Some(Policy::Pool), "alice", "", 0)),
            ("bc1q;donate=100.00", user(None, "bc1q", "", 10_000)),
            ("bc1q;donate=0.01", user(None, "bc1q", "", 1)),
            ("merge:alice", user(None, "merge:alice", "", 0)),
            ("a%2Eb.c%3Bd", user(None, "a.b", "c;d", 0)),
            ("100%.5%zz%4", user(None, "100%", "5%zz%4", 0)),
            ("%e6%98%a5.樱", user(None, "春", "樱", 0)),
            (&longest, user(None, &longest, "", 0)),
            ("", Err(InvalidUser::NoAccount)),
            (".rig", Err(InvalidUser::NoAccount)),
            ("solo:", Err(InvalidUser::NoAccount)),
            ("%20.rig", Err(InvalidUser::NoAccount)),
            ("%ff", Err(InvalidUser::NotUtf8)),
            ("a%0Ab", Err(InvalidUser::Hidden('\n'))),
            ("a\u{1b}[2Jb", Err(InvalidUser::Hidden('\u{1b}'))),
            ("alice\u{200b}", Err(InvalidUser::Hidden('\u{200b}'))),
            ("alice.\u{202e}gir", Err(InvalidUser::Hidden('\u{202e}'))),
            ("a\u{a0}b", Err(InvalidUser::Hidden('\u{a0}'))),
            ("alice;d=1000", Err(InvalidUser::Option)),
            ("alice;", Err(InvalidUser::Option)),
            ("alice;donate=100.01", Err(InvalidUser::Donation)),
            ("alice;donate=1.001", Err(InvalidUser::Donation)),
            ("alice;donate=-1", Err(InvalidUser::Donation)),
            ("alice;donate=", Err(InvalidUser::Donation)),
            ("alice;donate=1e1", Err(InvalidUser::Donation)),
        ] {
            assert_eq!(parse(identity), expected, "{identity:?}");
        }
        assert_eq!(User::parse(b"\xffalice"), Err(InvalidUser::NotUtf8));
    }

    #[test]
    fn is_written_so_that_it_reads_the_same() {
        for identity in ["a%2Eb.c%3Bd", "100%.5%2541", "solo:x.y.z;donate=1.5", "%73olo:x.w", "pool:solo:x", "alice"] {
            let user = parse(identity).unwrap();
            assert_eq!(parse(&user.to_string()), Ok(user.clone()), "{identity} as {user}");
        }
    }
}
