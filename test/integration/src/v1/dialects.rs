//! How devices speak: order and form of their requests, from their sources and from what operators report.

use serde_json::Value;

/// A device's way to speak.
#[derive(Debug)]
pub struct Dialect {
    /// Which devices.
    pub name: &'static str,
    /// What it sends first. `{id}`, `{user}` and `{password}` are filled in.
    pub opening: &'static [Step],
    /// How it numbers requests.
    pub ids: Ids,
    /// A share; `{id}` and `{params}` are filled in.
    pub submit: &'static str,
    /// Whether numbers in shares are padded to eight digits.
    pub pads: bool,
    /// Whether shares have a sixth parameter, once version rolling was agreed on.
    pub rolls_versions: bool,
    /// What ends a line.
    pub line_end: &'static str,
    /// The first line that it reads must be the answer to its subscription.
    pub first_line_answers_subscribe: bool,
    /// What it sends when it has nothing else to say.
    pub keepalive: Option<&'static str>,
}

/// A step of an opening.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Sends a line.
    Send(&'static str),
    /// Waits for the answers to all that was sent.
    Wait,
}

/// How requests are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// 1, 2, 3, …
    Numbers,
    /// "1", "2", "3", …
    Texts,
    /// Every request has the same number, and answers are taken in order.
    Same,
}

impl Ids {
    pub(super) fn of(self, number: u64) -> String {
        match self {
            Self::Numbers => number.to_string(),
            Self::Texts => format!("\"{number}\""),
            Self::Same => "4".to_owned(),
        }
    }

    /// The request that an answer belongs to. The id must be as it was sent.
    pub(super) fn number(self, id: &Value, last: u64) -> Option<u64> {
        match self {
            Self::Numbers => id.as_u64(),
            Self::Texts => id.as_str().and_then(|text| text.parse().ok()),
            Self::Same => id.as_u64().map(|_| last),
        }
    }
}

use Step::{Send, Wait};

const SUBMIT: &str = r#"{"id": {id}, "method": "mining.submit", "params": {params}}"#;
const SUBMIT_LAST: &str = r#"{"params": {params}, "id": {id}, "method": "mining.submit"}"#;
const AUTHORIZE: &str = r#"{"id": {id}, "method": "mining.authorize", "params": ["{user}", "{password}"]}"#;
const EXTRANONCE: &str = r#"{"id": {id}, "method": "mining.extranonce.subscribe", "params": []}"#;

/// All that are known.
pub const ALL: &[Dialect] =
    &[CGMINER, BMMINER, WHATSMINER, AVALON, BITAXE, NERDMINER, NICEHASH, MINING_RIG_RENTALS, BARE, TEXTS];

/// One request after the other; six parameters only where version rolling was built in.
pub const CGMINER: Dialect = Dialect {
    name: "cgminer",
    opening: &[
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["cgminer/4.12.1"]}"#),
        Wait,
        Send(AUTHORIZE),
        Wait,
    ],
    ids: Ids::Numbers,
    submit: SUBMIT_LAST,
    pads: true,
    rolls_versions: false,
    line_end: "\n",
    first_line_answers_subscribe: true,
    keepalive: None,
};

/// Antminers: version rolling first, a session that is to be taken up again.
pub const BMMINER: Dialect = Dialect {
    name: "bmminer",
    opening: &[
        Send(
            r#"{"id": {id}, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}]}"#,
        ),
        Wait,
        Send(
            r#"{"id": {id}, "method": "mining.subscribe", "params": ["bmminer/2.0.0/Antminer S19/0201", "01000000"]}"#,
        ),
        Wait,
        Send(AUTHORIZE),
        Wait,
        Send(EXTRANONCE),
    ],
    ids: Ids::Numbers,
    submit: SUBMIT_LAST,
    pads: true,
    rolls_versions: true,
    line_end: "\n",
    first_line_answers_subscribe: false,
    keepalive: None,
};

/// Begins with the difficulty that it would like.
pub const WHATSMINER: Dialect = Dialect {
    name: "Whatsminer",
    opening: &[
        Send(r#"{"id": {id}, "method": "mining.suggest_difficulty", "params": ["0.0000001"]}"#),
        Send(
            r#"{"id": {id}, "method": "mining.configure", "params": [["version-rolling", "minimum-difficulty"], {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 1, "minimum-difficulty.value": 0.0000000001}]}"#,
        ),
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["whatsminer/v1.0", null]}"#),
        Wait,
        Send(AUTHORIZE),
    ],
    ids: Ids::Numbers,
    submit: SUBMIT,
    pads: true,
    rolls_versions: true,
    line_end: "\n",
    first_line_answers_subscribe: false,
    keepalive: Some(r#"{"id": {id}, "method": "mining.suggest_difficulty", "params": ["0.0000001"]}"#),
};

/// Asks for extensions that nobody has, and the older way to roll versions.
pub const AVALON: Dialect = Dialect {
    name: "Avalon",
    opening: &[
        Send(
            r#"{"id": {id}, "method": "mining.configure", "params": [["version-rolling", "info", "x-avalon"], {"version-rolling.mask": "ffffffff", "info.hw-version": "1246"}]}"#,
        ),
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": []}"#),
        Wait,
        Send(r#"{"id": {id}, "method": "mining.multi_version", "params": [4]}"#),
        Send(AUTHORIZE),
        Wait,
    ],
    ids: Ids::Numbers,
    submit: SUBMIT_LAST,
    pads: true,
    rolls_versions: true,
    line_end: "\r\n",
    first_line_answers_subscribe: false,
    keepalive: None,
};

/// All at once, without waiting.
pub const BITAXE: Dialect = Dialect {
    name: "Bitaxe",
    opening: &[
        Send(
            r#"{"id": {id}, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "ffffffff"}]}"#,
        ),
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["bitaxe/BM1368/v2.4.1"]}"#),
        Send(AUTHORIZE),
        Send(r#"{"id": {id}, "method": "mining.suggest_difficulty", "params": [0.0000002]}"#),
        Send(EXTRANONCE),
    ],
    ids: Ids::Numbers,
    submit: SUBMIT,
    pads: true,
    rolls_versions: true,
    line_end: "\n",
    first_line_answers_subscribe: false,
    keepalive: Some(r#"{"id": {id}, "method": "mining.ping", "params": []}"#),
};

/// Takes the first line for the answer to its subscription, does not pad, and repeats its suggestion.
pub const NERDMINER: Dialect = Dialect {
    name: "NerdMiner",
    opening: &[
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["NerdMinerV2/1.6.3"]}"#),
        Wait,
        Send(r#"{"params": ["{user}", "{password}"], "id": {id}, "method": "mining.authorize"}"#),
        Send(r#"{"id": {id}, "method": "mining.suggest_difficulty", "params": [0.00000015]}"#),
    ],
    ids: Ids::Numbers,
    submit: SUBMIT,
    pads: false,
    rolls_versions: false,
    line_end: "\n",
    first_line_answers_subscribe: true,
    keepalive: Some(r#"{"id": {id}, "method": "mining.suggest_difficulty", "params": [0.00000015]}"#),
};

/// A market: asks for changes of its extranonce, and a pool that refuses is not taken.
pub const NICEHASH: Dialect = Dialect {
    name: "NiceHash",
    opening: &[
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["NiceHash/1.0.0"]}"#),
        Wait,
        Send(EXTRANONCE),
        Wait,
        Send(
            r#"{"id": {id}, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 16}]}"#,
        ),
        Wait,
        Send(AUTHORIZE),
        Wait,
    ],
    ids: Ids::Numbers,
    submit: SUBMIT,
    pads: true,
    rolls_versions: true,
    line_end: "\n",
    first_line_answers_subscribe: true,
    keepalive: None,
};

/// A market that authorizes first, and asks for what no pool has.
pub const MINING_RIG_RENTALS: Dialect = Dialect {
    name: "Mining Rig Rentals",
    opening: &[
        Send(AUTHORIZE),
        Wait,
        Send(r#"{"id": {id}, "method": "mining.subscribe", "params": ["mrr/1.0", null]}"#),
        Wait,
        Send(r#"{"id": {id}, "method": "mining.get_transactions", "params": ["1"]}"#),
        Send(EXTRANONCE),
        Wait,
    ],
    ids: Ids::Numbers,
    submit: SUBMIT,
    pads: true,
    rolls_versions: false,
    line_end: "\n",
    first_line_answers_subscribe: false,
    keepalive: None,
};

/// As little as there can be, with the same id for all.
pub const BARE: Dialect = Dialect {
    name: "bare",
    opening: &[
        Send(r#"{"id":{id},"method":"mining.subscribe"}"#),
        Wait,
        Send(r#"{"id":{id},"method":"mining.authorize","params":["{user}"]}"#),
        Wait,
    ],
    ids: Ids::Same,
    submit: r#"{"id":{id},"method":"mining.submit","params":{params}}"#,
    pads: false,
    rolls_versions: false,
    line_end: "\n",
    first_line_answers_subscribe: true,
    keepalive: None,
};

/// Ids that are texts, white space everywhere.
pub const TEXTS: Dialect = Dialect {
    name: "texts",
    opening: &[
        Send(
            r#"  { "id" : {id} , "jsonrpc" : "2.0" , "method" : "mining.subscribe" , "params" : [ "x" , null , "host" , 3333 ] }  "#,
        ),
        Send(r#"{"jsonrpc":"2.0","id":{id},"method":"mining.authorize","params":["{user}",null]}"#),
        Wait,
    ],
    ids: Ids::Texts,
    submit: r#"{ "jsonrpc" : "2.0" , "id" : {id} , "method" : "mining.submit" , "params" : {params} }"#,
    pads: true,
    rolls_versions: false,
    line_end: "\r\n\r\n",
    first_line_answers_subscribe: true,
    keepalive: Some(r#"{"id":{id},"method":"mining.ping"}"#),
};
