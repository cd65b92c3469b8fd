//! What pools send.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use hex_conservative::{DisplayHex, FromHex};
use serde_json::{Value, json};

use crate::{
    envelope::{Request, write_request},
    error::{InvalidParams, MAX_REASON_LEN},
    miner::{MAX_EXTRANONCE_LEN, MAX_JOB_ID_LEN, difficulty_json},
    params::{Params, expected},
};

/// Hashes that a merkle branch may have: more transactions than 2^32 fit no block.
pub const MAX_MERKLE_BRANCH: usize = 32;
/// Longest part of a coinbase transaction that is taken, in bytes.
pub const MAX_COINBASE_PART: usize = 64 * 1024;
/// Longest host name in a `client.reconnect`, in bytes (RFC 1035 §2.3.4).
pub const MAX_HOST_LEN: usize = 253;

/// A request or notification of a pool.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolRequest {
    /// `mining.notify`: a job.
    Notify(Notify),
    /// `mining.set_difficulty`: holds from the next job on.
    SetDifficulty(f64),
    /// `mining.set_extranonce`: holds from the next job on.
    SetExtranonce(SetExtranonce),
    /// `mining.set_version_mask` (BIP 310): holds from the next job on.
    SetVersionMask(u32),
    /// `client.get_version`: the user agent is asked for.
    GetVersion,
    /// `client.reconnect`
    Reconnect(Reconnect),
    /// `client.show_message`: a text for a person, at most 255 characters.
    ShowMessage(String),
    /// `mining.ping`
    Ping,
    /// A method that is not known; its name.
    Unknown(String),
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Names the job in submits.
    pub job_id: String,
    /// Hash of the block to build on, in the byte order of the header.
    pub prev_hash: [u8; 32],
    /// The coinbase up to the extranonce.
    pub coinbase1: Vec<u8>,
    /// The coinbase from behind the extranonce.
    pub coinbase2: Vec<u8>,
    /// Hashes from the coinbase's sibling up, in the byte order of the header.
    pub merkle_branch: Vec<[u8; 32]>,
    /// nVersion before rolling.
    pub version: u32,
    /// nBits
    pub nbits: u32,
    /// nTime to begin with.
    pub ntime: u32,
    /// Shares of earlier jobs are of no use any more.
    pub clean_jobs: bool,
}

/// A job as it goes over the wire, for many miners with the same extranonce sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedNotify(Vec<u8>);

impl EncodedNotify {
    /// Encodes a job.
    pub fn new(notify: &Notify) -> Self {
        let mut line = Vec::new();
        write_request(&mut line, None, "mining.notify", &notify.params());
        Self(line)
    }

    /// The line, with its newline.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// See [`PoolRequest::SetExtranonce`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExtranonce {
    /// The part that the pool sets, at most 32 bytes.
    pub extranonce1: Vec<u8>,
    /// Bytes that the miner may roll, at most 32.
    pub extranonce2_size: usize,
}

/// Where to connect to; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconnect {
    /// Host name or address. Following it elsewhere hands the hashrate over to whoever wrote it.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Seconds to wait before.
    pub wait: u32,
}

impl PoolRequest {
    /// Reads a request by its method.
    ///
    /// # Errors
    /// The parameter that is wrong. A method that is not known is no error.
    pub fn parse(request: &Request) -> Result<Self, InvalidParams> {
        let params = Params::new(request.params.as_ref());
        Ok(match request.method.as_str() {
            "mining.notify" => Self::Notify(Notify::parse(&params)?),
            "mining.set_difficulty" => Self::SetDifficulty(params.positive(0, "a difficulty over zero")?),
            "mining.set_extranonce" => Self::SetExtranonce(SetExtranonce::parse(&params, 0)?),
            "mining.set_version_mask" => Self::SetVersionMask(params.hex_u32(0, "a mask in hexadecimal")?),
            "client.get_version" => Self::GetVersion,
            "client.reconnect" => Self::Reconnect(Reconnect::parse(&params)?),
            "client.show_message" => {
                Self::ShowMessage(params.text(0, "a text")?.chars().take(MAX_REASON_LEN).collect())
            }
            "mining.ping" => Self::Ping,
            other => Self::Unknown(other.to_owned()),
        })
    }

    /// Name of the method.
    pub fn method(&self) -> &str {
        match self {
            Self::Notify(_) => "mining.notify",
            Self::SetDifficulty(_) => "mining.set_difficulty",
            Self::SetExtranonce(_) => "mining.set_extranonce",
            Self::SetVersionMask(_) => "mining.set_version_mask",
            Self::GetVersion => "client.get_version",
            Self::Reconnect(_) => "client.reconnect",
            Self::ShowMessage(_) => "client.show_message",
            Self::Ping => "mining.ping",
            Self::Unknown(method) => method,
        }
    }

    /// The parameters as they go out.
    pub fn params(&self) -> Value {
        match self {
            Self::Notify(notify) => notify.params(),
            Self::SetDifficulty(difficulty) => json!([difficulty_json(*difficulty)]),
            Self::SetExtranonce(SetExtranonce { extranonce1, extranonce2_size }) => {
                json!([extranonce1.to_lower_hex_string(), extranonce2_size])
            }
            Self::SetVersionMask(mask) => json!([alloc::format!("{mask:08x}")]),
            Self::Reconnect(Reconnect { host, port, wait }) => match (host, port) {
                (None, None) if *wait == 0 => json!([]),
                _ => json!([host.as_deref().unwrap_or(""), port.unwrap_or(0), wait]),
            },
            Self::ShowMessage(text) => json!([text]),
            Self::GetVersion | Self::Ping | Self::Unknown(_) => json!([]),
        }
    }
}

impl Notify {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let job_id = match params.get(0) {
            Some(Value::String(text)) if text.len() <= MAX_JOB_ID_LEN => text.clone(),
            // Some pools count in numbers.
            Some(Value::Number(number)) => number.to_string(),
            _ => return expected("a job id of at most 64 bytes"),
        };
        let Some(Value::Array(branch)) = params.get(4) else { return expected("a merkle branch") };
        if branch.len() > MAX_MERKLE_BRANCH {
            return expected("a merkle branch of at most 32 hashes");
        }
        let hash = |value: &Value| value.as_str().and_then(|text| <[u8; 32]>::from_hex(text).ok());
        let merkle_branch: Option<Vec<_>> = branch.iter().map(hash).collect();
        let prev_hash = params.get(1).and_then(hash).map(swap_words);
        let (Some(merkle_branch), Some(prev_hash)) = (merkle_branch, prev_hash) else {
            return expected("hashes of 32 bytes in hexadecimal");
        };
        Ok(Self {
            job_id,
            prev_hash,
            coinbase1: params.bytes(2, MAX_COINBASE_PART, "a first part of the coinbase in hexadecimal")?,
            coinbase2: params.bytes(3, MAX_COINBASE_PART, "a second part of the coinbase in hexadecimal")?,
            merkle_branch,
            version: params.hex_u32(5, "a version in hexadecimal")?,
            nbits: params.hex_u32(6, "nBits in hexadecimal")?,
            ntime: params.hex_u32(7, "an ntime in hexadecimal")?,
            clean_jobs: params.get(8).and_then(Value::as_bool).unwrap_or(false),
        })
    }

    fn params(&self) -> Value {
        let hex = |number: u32| alloc::format!("{number:08x}");
        let branch: Vec<_> = self.merkle_branch.iter().map(|hash| hash.to_lower_hex_string()).collect();
        json!([
            self.job_id,
            swap_words(self.prev_hash).to_lower_hex_string(),
            self.coinbase1.to_lower_hex_string(),
            self.coinbase2.to_lower_hex_string(),
            branch,
            hex(self.version),
            hex(self.nbits),
            hex(self.ntime),
            self.clean_jobs,
        ])
    }
}

/// The previous hash travels with the bytes of each of its eight words turned round.
fn swap_words(mut hash: [u8; 32]) -> [u8; 32] {
    hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    hash
}

impl SetExtranonce {
    pub(crate) fn parse(params: &Params<'_>, first: usize) -> Result<Self, InvalidParams> {
        let extranonce1 =
            params.bytes(first, MAX_EXTRANONCE_LEN, "an extranonce1 of at most 32 bytes in hexadecimal")?;
        let size = params.get(first + 1).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        match size {
            Some(extranonce2_size) if extranonce2_size <= MAX_EXTRANONCE_LEN => {
                Ok(Self { extranonce1, extranonce2_size })
            }
            _ => expected("an extranonce2 size of at most 32"),
        }
    }
}

impl Reconnect {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let host = params.optional_text(0, MAX_HOST_LEN, "a host of at most 253 bytes")?;
        let number = |index| match params.get(index) {
            None => Some(0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        let port = number(1).and_then(|port| u16::try_from(port).ok());
        let wait = number(2).and_then(|wait| u32::try_from(wait).ok());
        match (port, wait) {
            (Some(port), Some(wait)) => {
                Ok(Self { host: host.filter(|host| !host.is_empty()), port: (port != 0).then_some(port), wait })
            }
            _ => expected("a port and seconds to wait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn parse(method: &str, params: Value) -> Result<PoolRequest, InvalidParams> {
        PoolRequest::parse(&Request { id: Id::ABSENT, method: method.into(), params: Some(params) })
    }

    #[test]
    fn the_previous_hash_has_its_words_turned_round() {
        // Block 100,000 on block 99,999, as a pool of 2010 would have sent it.
        let shown = "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250";
        let mut header = <[u8; 32]>::from_hex(shown).unwrap();
        header.reverse();
        let on_the_wire = "1901125004612a1701c3a621d930d31d36b607df1fccc2160002d01c00000000";
        let params = json!(["1", on_the_wire, "01", "02", [], "00000001", "1b04864c", "4d1b2237", true]);
        let Ok(PoolRequest::Notify(notify)) = parse("mining.notify", params.clone()) else { panic!() };
        assert_eq!(notify.prev_hash, header);
        assert_eq!(notify.params(), params);
    }

    #[test]
    fn parts_over_their_limits_are_refused() {
        let notify = |job_id: Value, branch: usize, coinbase: usize| {
            let hash = "00".repeat(32);
            let coinbase = "00".repeat(coinbase);
            let params = json!([job_id, hash, coinbase, "", alloc::vec![&hash; branch], "1", "2", "3", false]);
            parse("mining.notify", params).is_ok()
        };
        assert!(notify(json!("j".repeat(64)), 32, MAX_COINBASE_PART));
        assert!(notify(json!(7), 0, 0));
        assert!(!notify(json!("j".repeat(65)), 0, 0));
        assert!(!notify(json!("j"), 33, 0));
        assert!(!notify(json!("j"), 0, MAX_COINBASE_PART + 1));
        assert!(parse("mining.set_extranonce", json!(["00".repeat(32), 32])).is_ok());
        assert!(parse("mining.set_extranonce", json!(["00".repeat(33), 4])).is_err());
        assert!(parse("mining.set_extranonce", json!(["00", 33])).is_err());
    }

    #[test]
    fn a_reconnect_may_say_all_or_nothing() {
        let reconnect = |params| match parse("client.reconnect", params) {
            Ok(PoolRequest::Reconnect(reconnect)) => (reconnect.host, reconnect.port, reconnect.wait),
            other => panic!("{other:?}"),
        };
        assert_eq!(reconnect(json!([])), (None, None, 0));
        assert_eq!(reconnect(json!(["pool.example", "3333", 5])), (Some("pool.example".into()), Some(3333), 5));
        assert_eq!(reconnect(json!(["", 0])), (None, None, 0));
        assert!(parse("client.reconnect", json!(["a", 70_000])).is_err());
    }
}
