//! What miners send.

use alloc::{string::String, vec::Vec};

use hex_conservative::DisplayHex;
use serde_json::{Map, Value, json};

use crate::{
    envelope::Request,
    error::InvalidParams,
    params::{Params, expected, hex_u32, positive},
};

/// Longest user name, password, user agent or session id that is taken, in bytes.
pub const MAX_TEXT_LEN: usize = 255;
/// Longest job id that is taken, in bytes. Ours have at most 8.
pub const MAX_JOB_ID_LEN: usize = 64;
/// Longest extranonce of either kind, in bytes.
pub const MAX_EXTRANONCE_LEN: usize = 32;

/// A request of a miner.
#[derive(Clone, Debug, PartialEq)]
pub enum MinerRequest {
    /// `mining.configure` (BIP 310).
    Configure(Configure),
    /// `mining.subscribe`
    Subscribe(Subscribe),
    /// `mining.authorize`
    Authorize(Authorize),
    /// `mining.extranonce.subscribe`: `mining.set_extranonce` is understood.
    ExtranonceSubscribe,
    /// `mining.suggest_difficulty`; some devices repeat it as a sign of life.
    SuggestDifficulty(f64),
    /// `mining.suggest_target`, most significant byte first.
    SuggestTarget([u8; 32]),
    /// `mining.submit`
    Submit(Submit),
    /// `mining.multi_version`: the way to roll versions before BIP 310.
    MultiVersion,
    /// `mining.ping`
    Ping,
    /// `mining.pong`, as a request of its own: how some devices answer a ping.
    Pong,
    /// A method that is not known; its name.
    Unknown(String),
}

/// Capabilities that a miner asks for (BIP 310). What is absent was not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configure {
    /// Bits of nVersion that it wants to roll, and how many it needs at least.
    pub version_rolling: Option<VersionRolling>,
    /// Least difficulty that it wants.
    pub minimum_difficulty: Option<f64>,
    /// Whether it understands `mining.set_extranonce`.
    pub subscribe_extranonce: bool,
    /// What it says of itself.
    pub info: Option<Info>,
    /// Names of further extensions, which are answered with `false`; at most [`MAX_EXTENSIONS`].
    pub unknown: Vec<String>,
}

/// Extensions that one `mining.configure` may name; further ones are passed over.
pub const MAX_EXTENSIONS: usize = 16;

/// See [`Configure::version_rolling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRolling {
    /// Bits of nVersion.
    pub mask: u32,
    /// Least number of bits.
    pub min_bit_count: u32,
}

/// The extension `info` of BIP 310.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `info.connection-url`
    pub connection_url: Option<String>,
    /// `info.hw-version`
    pub hw_version: Option<String>,
    /// `info.sw-version`
    pub sw_version: Option<String>,
    /// `info.hw-id`
    pub hw_id: Option<String>,
}

/// `mining.subscribe`: `[]`, `[agent]`, `[agent, null]`, `[agent, session]` and longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// Name and version of the device; empty where it has none.
    pub user_agent: String,
    /// A session that it would like to take up again.
    pub session_id: Option<String>,
}

/// `mining.authorize`
#[derive(Clone, PartialEq, Eq)]
pub struct Authorize {
    /// Account or address and worker, 1 to 255 bytes, as sent (`%` escapes included).
    pub username: String,
    /// Often `x`; may hold settings such as `d=1024`. Not shown in debug output.
    pub password: String,
}

impl core::fmt::Debug for Authorize {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Authorize").field("username", &self.username).finish_non_exhaustive()
    }
}

/// `mining.submit`: a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Who found it.
    pub username: String,
    /// The job's id, as the notify had it.
    pub job_id: String,
    /// The rolled part of the extranonce; whether its length is right is for the server to say.
    pub extranonce2: Vec<u8>,
    /// nTime of the header.
    pub ntime: u32,
    /// nonce of the header.
    pub nonce: u32,
    /// Bits of nVersion within the mask (BIP 310), where version rolling was agreed on.
    pub version_bits: Option<u32>,
}

impl MinerRequest {
    /// Reads a request by its method.
    ///
    /// # Errors
    /// The parameter that is wrong. A method that is not known is no error.
    pub fn parse(request: &Request) -> Result<Self, InvalidParams> {
        let params = Params::new(request.params.as_ref());
        Ok(match request.method.as_str() {
            "mining.configure" => Self::Configure(Configure::parse(&params)?),
            "mining.subscribe" => Self::Subscribe(Subscribe::parse(&params)?),
            "mining.authorize" => Self::Authorize(Authorize::parse(&params)?),
            "mining.extranonce.subscribe" => Self::ExtranonceSubscribe,
            "mining.suggest_difficulty" => Self::SuggestDifficulty(params.positive(0, "a difficulty over zero")?),
            "mining.suggest_target" => Self::SuggestTarget(suggested_target(&params)?),
            "mining.submit" => Self::Submit(Submit::parse(&params)?),
            "mining.multi_version" => Self::MultiVersion,
            "mining.ping" => Self::Ping,
            "mining.pong" => Self::Pong,
            other => Self::Unknown(other.into()),
        })
    }

    /// Name of the method.
    pub fn method(&self) -> &str {
        match self {
            Self::Configure(_) => "mining.configure",
            Self::Subscribe(_) => "mining.subscribe",
            Self::Authorize(_) => "mining.authorize",
            Self::ExtranonceSubscribe => "mining.extranonce.subscribe",
            Self::SuggestDifficulty(_) => "mining.suggest_difficulty",
            Self::SuggestTarget(_) => "mining.suggest_target",
            Self::Submit(_) => "mining.submit",
            Self::MultiVersion => "mining.multi_version",
            Self::Ping => "mining.ping",
            Self::Pong => "mining.pong",
            Self::Unknown(method) => method,
        }
    }

    /// The parameters as a well-behaved client sends them.
    pub fn params(&self) -> Value {
        match self {
            Self::Configure(configure) => configure.params(),
            Self::Subscribe(Subscribe { user_agent, session_id: None }) => json!([user_agent]),
            Self::Subscribe(Subscribe { user_agent, session_id }) => json!([user_agent, session_id]),
            Self::Authorize(Authorize { username, password }) => json!([username, password]),
            Self::SuggestDifficulty(difficulty) => json!([difficulty_json(*difficulty)]),
            Self::SuggestTarget(target) => json!([target.to_lower_hex_string()]),
            Self::Submit(submit) => submit.params(),
            Self::MultiVersion => json!([1]),
            Self::ExtranonceSubscribe | Self::Ping | Self::Pong | Self::Unknown(_) => json!([]),
        }
    }
}

/// A difficulty as all devices read it: whole numbers without a fraction.
pub(crate) fn difficulty_json(difficulty: f64) -> Value {
    let whole = difficulty as u64;
    // 2^53: up to here whole numbers and f64 are the same.
    if whole as f64 == difficulty && whole <= 1 << 53 { json!(whole) } else { json!(difficulty) }
}

fn suggested_target(params: &Params<'_>) -> Result<[u8; 32], InvalidParams> {
    let bytes = params.bytes(0, 32, "a target of 32 bytes in hexadecimal")?;
    bytes.try_into().or_else(|_| expected("a target of 32 bytes in hexadecimal"))
}

impl Configure {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let Some(Value::Array(names)) = params.get(0) else {
            return expected("a list of extensions first");
        };
        let empty = Map::new();
        let values = params.get(1).and_then(Value::as_object).unwrap_or(&empty);
        let text = |name: &str| {
            let text = values.get(name).and_then(Value::as_str);
            text.map(|text| text.chars().take(MAX_TEXT_LEN).collect::<String>())
        };
        let mut configure = Self::default();
        for name in names.iter().filter_map(Value::as_str).take(MAX_EXTENSIONS) {
            match name {
                "version-rolling" => {
                    // A device that names no mask takes what it gets.
                    let mask = values.get("version-rolling.mask").and_then(hex_u32).unwrap_or(u32::MAX);
                    let count = values.get("version-rolling.min-bit-count").and_then(Value::as_u64).unwrap_or(0);
                    let min_bit_count = u32::try_from(count).unwrap_or(u32::MAX);
                    configure.version_rolling = Some(VersionRolling { mask, min_bit_count });
                }
                "minimum-difficulty" => {
                    configure.minimum_difficulty = values.get("minimum-difficulty.value").and_then(positive);
                }
                "subscribe-extranonce" => configure.subscribe_extranonce = true,
                "info" => {
                    configure.info = Some(Info {
                        connection_url: text("info.connection-url"),
                        hw_version: text("info.hw-version"),
                        sw_version: text("info.sw-version"),
                        hw_id: text("info.hw-id"),
                    });
                }
                other => configure.unknown.push(other.chars().take(MAX_TEXT_LEN).collect()),
            }
        }
        Ok(configure)
    }

    fn params(&self) -> Value {
        let (mut names, mut values) = (Vec::new(), Map::new());
        let mut set = |name: &str, value: Value| values.insert(name.into(), value);
        if let Some(VersionRolling { mask, min_bit_count }) = self.version_rolling {
            names.push("version-rolling");
            set("version-rolling.mask", json!(alloc::format!("{mask:08x}")));
            set("version-rolling.min-bit-count", json!(min_bit_count));
        }
        if let Some(difficulty) = self.minimum_difficulty {
            names.push("minimum-difficulty");
            set("minimum-difficulty.value", difficulty_json(difficulty));
        }
        if self.subscribe_extranonce {
            names.push("subscribe-extranonce");
        }
        if let Some(info) = &self.info {
            names.push("info");
            let Info { connection_url, hw_version, sw_version, hw_id } = info;
            let parts = [
                ("info.connection-url", connection_url),
                ("info.hw-version", hw_version),
                ("info.sw-version", sw_version),
                ("info.hw-id", hw_id),
            ];
            for (name, text) in parts {
                if let Some(text) = text {
                    set(name, json!(text));
                }
            }
        }
        names.extend(self.unknown.iter().map(String::as_str));
        json!([names, values])
    }
}

impl Subscribe {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        Ok(Self {
            user_agent: params.optional_text(0, MAX_TEXT_LEN, "a user agent of at most 255 bytes")?.unwrap_or_default(),
            session_id: params.optional_text(1, MAX_TEXT_LEN, "a session id of at most 255 bytes")?,
        })
    }
}

impl Authorize {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        const USER: &str = "a user name of 1 to 255 bytes";
        let username = params.optional_text(0, MAX_TEXT_LEN, USER)?.filter(|name| !name.is_empty());
        let password = params.optional_text(1, MAX_TEXT_LEN, "a password of at most 255 bytes")?;
        username
            .map_or_else(|| expected(USER), |username| Ok(Self { username, password: password.unwrap_or_default() }))
    }
}

impl Submit {
    fn parse(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let short = |text: &str, max| text.len() <= max;
        let username = params.text(0, "a user name")?;
        let job_id = params.text(1, "a job id")?;
        if !short(username, MAX_TEXT_LEN) || !short(job_id, MAX_JOB_ID_LEN) {
            return expected("a user name of at most 255 bytes and the id of a job");
        }
        let version_bits = match params.get(5) {
            None => None,
            Some(_) => Some(params.hex_u32(5, "version bits of up to 8 hexadecimal digits")?),
        };
        Ok(Self {
            username: username.into(),
            job_id: job_id.into(),
            extranonce2: params.bytes(2, MAX_EXTRANONCE_LEN, "an extranonce2 in hexadecimal")?,
            ntime: params.hex_u32(3, "an ntime of up to 8 hexadecimal digits")?,
            nonce: params.hex_u32(4, "a nonce of up to 8 hexadecimal digits")?,
            version_bits,
        })
    }

    fn params(&self) -> Value {
        let hex = |number: u32| alloc::format!("{number:08x}");
        let extranonce2 = self.extranonce2.to_lower_hex_string();
        let mut params = alloc::vec![
            json!(self.username),
            json!(self.job_id),
            json!(extranonce2),
            json!(hex(self.ntime)),
            json!(hex(self.nonce))
        ];
        params.extend(self.version_bits.map(|bits| json!(hex(bits))));
        Value::Array(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn parse(method: &str, params: Value) -> Result<MinerRequest, InvalidParams> {
        MinerRequest::parse(&Request { id: Id::ABSENT, method: method.into(), params: Some(params) })
    }

    #[test]
    fn every_form_of_subscribe() {
        let subscribe = |params| match parse("mining.subscribe", params) {
            Ok(MinerRequest::Subscribe(Subscribe { user_agent, session_id })) => (user_agent, session_id),
            other => panic!("{other:?}"),
        };
        assert_eq!(subscribe(json!([])), (String::new(), None));
        assert_eq!(subscribe(json!(null)), (String::new(), None));
        assert_eq!(subscribe(json!(["cgminer/4.12"])), ("cgminer/4.12".into(), None));
        assert_eq!(subscribe(json!(["bitaxe", null])), ("bitaxe".into(), None));
        assert_eq!(subscribe(json!(["a", "s1", "host", 3333])), ("a".into(), Some("s1".into())));
        assert_eq!(subscribe(json!([null, null])), (String::new(), None));
        assert_eq!(subscribe(json!(["x".repeat(255)])).0.len(), 255);
        assert!(parse("mining.subscribe", json!(["x".repeat(256)])).is_err());
        assert!(parse("mining.subscribe", json!([5])).is_err());
    }

    #[test]
    fn a_submit_may_be_padded_or_not_and_have_five_or_six_params() {
        let submit = |params| match parse("mining.submit", params) {
            Ok(MinerRequest::Submit(submit)) => submit,
            other => panic!("{other:?}"),
        };
        let five = submit(json!(["u", "j", "00000001", "64b5f7d0", "1a"]));
        assert_eq!((five.nonce, five.version_bits, &five.extranonce2[..]), (0x1a, None, &[0, 0, 0, 1][..]));
        assert_eq!(submit(json!(["u", "j", "", "64b5f7d0", "1a", "1fffe000"])).version_bits, Some(0x1fff_e000));
        assert_eq!(submit(json!(["u", "j", "00", "0x1", "0x1a", null])).version_bits, None);
        for bad in [
            json!(["u", "j", "00", "1"]),
            json!(["u", "j", "0", "1", "1"]),
            json!(["u", "j", "00", "1", "123456789"]),
            json!(["u", "j", "00", "1", ""]),
            json!(["u", "j", "00", "+1", "1"]),
            json!(["u", "j", "00", "1", "1", "g"]),
            json!(["u", 5, "00", "1", "1"]),
            json!(["u", "j".repeat(65), "00", "1", "1"]),
            json!(["u", "j", "00".repeat(33), "1", "1"]),
        ] {
            assert!(parse("mining.submit", bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn difficulties_come_as_numbers_and_texts() {
        for params in [json!([512]), json!([512.0]), json!(["512"]), json!(512)] {
            assert_eq!(parse("mining.suggest_difficulty", params), Ok(MinerRequest::SuggestDifficulty(512.0)));
        }
        for params in [json!([0]), json!([-1]), json!(["x"]), json!([]), json!(["inf"]), json!(["NaN"])] {
            assert!(parse("mining.suggest_difficulty", params.clone()).is_err(), "{params}");
        }
    }

    #[test]
    fn configure_takes_what_it_knows_and_names_the_rest() {
        let params = json!([["version-rolling", "x", "minimum-difficulty"], {"version-rolling.mask": "1fffe000"}]);
        let Ok(MinerRequest::Configure(configure)) = parse("mining.configure", params) else { panic!() };
        assert_eq!(configure.version_rolling, Some(VersionRolling { mask: 0x1fff_e000, min_bit_count: 0 }));
        assert_eq!((configure.minimum_difficulty, &configure.unknown[..]), (None, &["x".into()][..]));
        let many: Vec<_> = (0..50).map(|n| json!(alloc::format!("{n}"))).collect();
        let Ok(MinerRequest::Configure(configure)) = parse("mining.configure", json!([many])) else { panic!() };
        assert_eq!(configure.unknown.len(), MAX_EXTENSIONS);
        assert!(parse("mining.configure", json!([])).is_err());
    }

    #[test]
    fn passwords_are_not_shown() {
        let Ok(request) = parse("mining.authorize", json!(["alice", "hunter2"])) else { panic!() };
        assert!(!alloc::format!("{request:?}").contains("hunter2"));
        assert!(parse("mining.authorize", json!([""])).is_err());
        assert!(parse("mining.authorize", json!(["x".repeat(255)])).is_ok());
        assert!(parse("mining.authorize", json!(["x".repeat(256)])).is_err());
    }

    #[test]
    fn whole_difficulties_have_no_fraction() {
        assert_eq!(difficulty_json(65_536.0), json!(65_536));
        assert_eq!(difficulty_json(0.001), json!(0.001));
        assert_eq!(difficulty_json(1e300), json!(1e300));
    }
}
