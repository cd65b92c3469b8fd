//! The server's side.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};

use hex_conservative::DisplayHex;
use serde_json::{Map, Value, json};

use crate::{
    envelope::{Envelope, Request, Response, write_request, write_response},
    error::{ErrorCode, InvalidLine, Misuse, Refusal},
    id::Id,
    miner::{Authorize, Configure, Info, MAX_TEXT_LEN, MinerRequest, Submit, Subscribe},
    pool::{EncodedNotify, Notify, PoolRequest, Reconnect, SetExtranonce},
};

/// Workers that one connection may authorize. A proxy may have some dozens behind one connection.
pub const MAX_WORKERS: usize = 256;

/// What a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bits of nVersion that miners may roll; 0 offers no version rolling.
    pub version_mask: u32,
}

impl Default for Config {
    /// The 16 bits of BIP 320.
    fn default() -> Self {
        Self { version_mask: 0x1fff_e000 }
    }
}

/// A request that is to be answered once: whoever has it, answers.
#[must_use = "the miner waits for an answer"]
#[derive(Debug, PartialEq, Eq)]
pub struct Pending(Id);

/// What a miner wants or says.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// To be answered with [`Server::subscribed`] or [`Server::refuse`].
    Subscribe {
        /// What the answer consumes.
        request: Pending,
        /// Device and session.
        subscribe: Subscribe,
    },
    /// To be answered with [`Server::authorized`] or [`Server::refuse`].
    Authorize {
        /// What the answer consumes.
        request: Pending,
        /// Who, with which password.
        authorize: Authorize,
    },
    /// A share of an authorized worker, to be answered with [`Server::accept`] or [`Server::refuse`].
    Submit {
        /// What the answer consumes.
        request: Pending,
        /// The share.
        submit: Submit,
    },
    /// Capabilities were agreed on; the answer is written.
    Configured {
        /// Bits of nVersion that this miner rolls from now on; 0 is none.
        version_mask: u32,
        /// Least difficulty that it wants.
        minimum_difficulty: Option<f64>,
        /// What it says of itself.
        info: Option<Info>,
    },
    /// A difficulty that the miner would like; the answer is written.
    SuggestDifficulty(f64),
    /// A target that the miner would like, most significant byte first; the answer is written.
    SuggestTarget([u8; 32]),
    /// The miner understands `mining.set_extranonce`; the answer is written.
    ExtranonceSubscribed,
    /// The answer to [`Server::get_version`], at most 255 bytes.
    UserAgent(String),
    /// The miner answered a ping, or sent one: it is alive.
    Alive,
    /// A request was refused here, and the answer is written.
    Refused {
        /// Its method.
        method: String,
        /// Why.
        refusal: Refusal,
        /// A share of a worker that was not authorized: it counts for nobody, but it may be a block.
        share: Option<Submit>,
    },
}

/// One miner's connection.
#[derive(Debug)]
pub struct Server {
    config: Config,
    subscribed: bool,
    extranonce_subscribed: bool,
    version_mask: u32,
    workers: BTreeSet<String>,
    /// Counts requests of this side up.
    last_id: u64,
    /// A `client.get_version` that waits for its answer.
    version_asked: Option<u64>,
    output: Vec<u8>,
}

impl Server {
    /// A session at its beginning.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            subscribed: false,
            extranonce_subscribed: false,
            version_mask: 0,
            workers: BTreeSet::new(),
            last_id: 0,
            version_asked: None,
            output: Vec::new(),
        }
    }

    /// Lines to send, in order; take them out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether the miner knows its extranonce, so that jobs make sense to it.
    pub const fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Whether it understands `mining.set_extranonce`.
    pub const fn is_extranonce_subscribed(&self) -> bool {
        self.extranonce_subscribed
    }

    /// Bits of nVersion that it rolls; 0 is none.
    pub const fn version_mask(&self) -> u32 {
        self.version_mask
    }

    /// Whether this user name was authorized.
    pub fn is_authorized(&self, username: &str) -> bool {
        self.workers.contains(username)
    }

    /// Takes a line of the miner, without its newline.
    ///
    /// # Errors
    /// When it is no message: end this session.
    pub fn handle_line(&mut self, line: &[u8]) -> Result<Option<Event>, InvalidLine> {
        match Envelope::parse(line)? {
            Envelope::Request(request) => Ok(self.handle_request(request)),
            Envelope::Response(response) => Ok(Some(self.handle_response(response))),
        }
    }

    fn handle_request(&mut self, request: Request) -> Option<Event> {
        let parsed = match MinerRequest::parse(&request) {
            Ok(parsed) => parsed,
            Err(error) => return Some(self.refused(&request, error.into())),
        };
        let id = request.id.clone();
        match parsed {
            MinerRequest::Configure(configure) => Some(self.configure(&id, &configure)),
            MinerRequest::Subscribe(subscribe) => Some(Event::Subscribe { request: Pending(id), subscribe }),
            MinerRequest::Authorize(authorize) => {
                let known = self.is_authorized(&authorize.username);
                if !known && self.workers.len() >= MAX_WORKERS {
                    let refusal = Refusal::with_reason(ErrorCode::Unauthorized, "Too many workers on one connection");
                    return Some(self.refused(&request, refusal));
                }
                Some(Event::Authorize { request: Pending(id), authorize })
            }
            MinerRequest::Submit(_) if !self.subscribed => {
                Some(self.refused(&request, ErrorCode::NotSubscribed.into()))
            }
            MinerRequest::Submit(submit) if !self.is_authorized(&submit.username) => {
                let refusal = Refusal::from(ErrorCode::Unauthorized);
                write_response(&mut self.output, &request.id, Err(&refusal));
                Some(Event::Refused { method: request.method, refusal, share: Some(submit) })
            }
            MinerRequest::Submit(submit) => Some(Event::Submit { request: Pending(id), submit }),
            MinerRequest::ExtranonceSubscribe => {
                self.extranonce_subscribed = true;
                self.answer(&id, &json!(true));
                Some(Event::ExtranonceSubscribed)
            }
            MinerRequest::SuggestDifficulty(difficulty) => {
                self.answer(&id, &json!(true));
                Some(Event::SuggestDifficulty(difficulty))
            }
            MinerRequest::SuggestTarget(target) => {
                self.answer(&id, &json!(true));
                Some(Event::SuggestTarget(target))
            }
            MinerRequest::MultiVersion => {
                self.answer(&id, &json!(true));
                None
            }
            MinerRequest::Ping => {
                self.answer(&id, &json!("pong"));
                Some(Event::Alive)
            }
            MinerRequest::Pong => Some(Event::Alive),
            MinerRequest::Unknown(_) => {
                let refusal = Refusal::with_reason(ErrorCode::Other, "Unknown method");
                Some(self.refused(&request, refusal))
            }
        }
    }

    fn handle_response(&mut self, response: Response) -> Event {
        let asked = self.version_asked.take_if(|id| response.id.as_number() == Some(*id));
        match (asked, response.result) {
            (Some(_), Ok(Value::String(agent))) => {
                let mut end = agent.len().min(MAX_TEXT_LEN);
                while !agent.is_char_boundary(end) {
                    end -= 1;
                }
                Event::UserAgent(agent[..end].to_string())
            }
            // An answer that nobody asked for, or to a ping.
            _ => Event::Alive,
        }
    }

    fn configure(&mut self, id: &Id, configure: &Configure) -> Event {
        let mut result = Map::new();
        if let Some(asked) = configure.version_rolling {
            let mask = self.config.version_mask & asked.mask;
            let enough = mask != 0 && mask.count_ones() >= asked.min_bit_count.min(32);
            self.version_mask = if enough { mask } else { 0 };
            result.insert("version-rolling".into(), json!(enough));
            if enough {
                result.insert("version-rolling.mask".into(), json!(alloc::format!("{mask:08x}")));
            }
        }
        if configure.minimum_difficulty.is_some() {
            result.insert("minimum-difficulty".into(), json!(true));
        }
        if configure.subscribe_extranonce {
            self.extranonce_subscribed = true;
            result.insert("subscribe-extranonce".into(), json!(true));
        }
        if configure.info.is_some() {
            result.insert("info".into(), json!(true));
        }
        for name in &configure.unknown {
            result.insert(name.clone(), json!(false));
        }
        self.answer(id, &Value::Object(result));
        Event::Configured {
            version_mask: self.version_mask,
            minimum_difficulty: configure.minimum_difficulty,
            info: configure.info.clone(),
        }
    }

    /// Answers a subscribe. Both parts have at most 32 bytes; 4 and 8 are what every device takes.
    pub fn subscribed(&mut self, request: Pending, extranonce1: &[u8], extranonce2_size: usize) {
        let extranonce1 = extranonce1.to_lower_hex_string();
        let subscriptions = json!([["mining.set_difficulty", extranonce1], ["mining.notify", extranonce1]]);
        self.subscribed = true;
        self.answer(&request.0, &json!([subscriptions, extranonce1, extranonce2_size]));
    }

    /// Answers an authorize: shares of this worker are taken from now on.
    pub fn authorized(&mut self, request: Pending, username: &str) {
        if self.workers.len() < MAX_WORKERS {
            self.workers.insert(username.into());
        }
        self.answer(&request.0, &json!(true));
    }

    /// Answers a share: it counts.
    pub fn accept(&mut self, request: Pending) {
        self.answer(&request.0, &json!(true));
    }

    /// Answers a request with an error.
    pub fn refuse(&mut self, request: Pending, refusal: &Refusal) {
        write_response(&mut self.output, &request.0, Err(refusal));
    }

    /// Sets the difficulty of the jobs to come, over zero.
    ///
    /// # Errors
    /// Before the miner has subscribed, as all that follows.
    pub fn set_difficulty(&mut self, difficulty: f64) -> Result<(), Misuse> {
        self.tell(&PoolRequest::SetDifficulty(difficulty))
    }

    /// Gives out a job.
    ///
    /// # Errors
    /// See [`set_difficulty`](Self::set_difficulty).
    pub fn notify(&mut self, job: &Notify) -> Result<(), Misuse> {
        self.tell(&PoolRequest::Notify(job.clone()))
    }

    /// Gives out a job that was encoded before.
    ///
    /// # Errors
    /// See [`set_difficulty`](Self::set_difficulty).
    pub fn notify_encoded(&mut self, job: &EncodedNotify) -> Result<(), Misuse> {
        if !self.subscribed {
            return Err(Misuse::NotSubscribed);
        }
        self.output.extend_from_slice(job.as_bytes());
        Ok(())
    }

    /// Changes the extranonce of the jobs to come.
    ///
    /// # Errors
    /// When the miner did not ask for it: disconnect it instead, so that it subscribes anew.
    pub fn set_extranonce(&mut self, extranonce1: &[u8], extranonce2_size: usize) -> Result<(), Misuse> {
        if !self.extranonce_subscribed {
            return Err(Misuse::ExtranonceNotSubscribed);
        }
        self.tell(&PoolRequest::SetExtranonce(SetExtranonce { extranonce1: extranonce1.to_vec(), extranonce2_size }))
    }

    /// Offers other bits of nVersion; the miner rolls those that it asked for and that are offered.
    ///
    /// # Errors
    /// See [`set_difficulty`](Self::set_difficulty).
    pub fn set_version_mask(&mut self, mask: u32) -> Result<(), Misuse> {
        self.tell(&PoolRequest::SetVersionMask(mask))?;
        self.config.version_mask = mask;
        self.version_mask = mask;
        Ok(())
    }

    /// Asks what the miner runs on.
    pub fn get_version(&mut self) {
        self.last_id += 1;
        self.version_asked = Some(self.last_id);
        let request = PoolRequest::GetVersion;
        write_request(&mut self.output, Some(self.last_id), request.method(), &request.params());
    }

    /// Asks for a sign of life; not every device answers.
    pub fn ping(&mut self) {
        self.last_id += 1;
        write_request(&mut self.output, Some(self.last_id), PoolRequest::Ping.method(), &json!([]));
    }

    /// Sends the miner elsewhere, or to the same place again.
    pub fn reconnect(&mut self, reconnect: &Reconnect) {
        let request = PoolRequest::Reconnect(reconnect.clone());
        write_request(&mut self.output, None, request.method(), &request.params());
    }

    /// Shows a text to a person.
    pub fn show_message(&mut self, text: &str) {
        let request = PoolRequest::ShowMessage(text.into());
        write_request(&mut self.output, None, request.method(), &request.params());
    }

    fn tell(&mut self, request: &PoolRequest) -> Result<(), Misuse> {
        if !self.subscribed {
            return Err(Misuse::NotSubscribed);
        }
        write_request(&mut self.output, None, request.method(), &request.params());
        Ok(())
    }

    fn answer(&mut self, id: &Id, result: &Value) {
        write_response(&mut self.output, id, Ok(result));
    }

    fn refused(&mut self, request: &Request, refusal: Refusal) -> Event {
        write_response(&mut self.output, &request.id, Err(&refusal));
        Event::Refused { method: request.method.clone(), refusal, share: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(server: &mut Server) -> Vec<Value> {
        let text = String::from_utf8(core::mem::take(server.output())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn subscribe(server: &mut Server) {
        match server.handle_line(br#"{"id":1,"method":"mining.subscribe","params":[]}"#) {
            Ok(Some(Event::Subscribe { request, .. })) => server.subscribed(request, &[0xaa, 0xbb, 0xcc, 0xdd], 8),
            other => panic!("{other:?}"),
        }
    }

    fn authorize(server: &mut Server, name: &str) {
        let line = alloc::format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}"]}}"#);
        match server.handle_line(line.as_bytes()) {
            Ok(Some(Event::Authorize { request, authorize })) => server.authorized(request, &authorize.username),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_answer_to_subscribe_names_notify() {
        let mut server = Server::new(Config::default());
        subscribe(&mut server);
        let subscriptions = json!([["mining.set_difficulty", "aabbccdd"], ["mining.notify", "aabbccdd"]]);
        assert_eq!(lines(&mut server), [json!({"id": 1, "result": [subscriptions, "aabbccdd", 8], "error": null})]);
    }

    #[test]
    fn shares_need_a_subscription_and_an_authorized_worker() {
        let mut server = Server::new(Config::default());
        let share = br#"{"id":"s","method":"mining.submit","params":["bob","1","00","1","1"]}"#;
        let error = |server: &mut Server| lines(server).pop().map(|line| line["error"][0].clone());
        assert!(matches!(server.handle_line(share), Ok(Some(Event::Refused { .. }))));
        assert_eq!(error(&mut server), Some(json!(25)));
        subscribe(&mut server);
        assert!(matches!(server.handle_line(share), Ok(Some(Event::Refused { share: Some(_), .. }))));
        assert_eq!(error(&mut server), Some(json!(24)));
        authorize(&mut server, "bob");
        lines(&mut server);
        let Ok(Some(Event::Submit { request, .. })) = server.handle_line(share) else { panic!() };
        server.refuse(request, &ErrorCode::Duplicate.into());
        let answer = json!({"id": "s", "result": null, "error": [22, "Duplicate share", null]});
        assert_eq!(lines(&mut server), [answer]);
    }

    #[test]
    fn version_bits_are_those_that_both_want_and_enough_of_them() {
        let configure = |mask: &str, least: u32| {
            let mut server = Server::new(Config { version_mask: 0x1fff_e000 });
            let line = alloc::format!(
                r#"{{"id":1,"method":"mining.configure","params":[["version-rolling"],{{"version-rolling.mask":"{mask}","version-rolling.min-bit-count":{least}}}]}}"#
            );
            server.handle_line(line.as_bytes()).unwrap();
            (server.version_mask(), lines(&mut server)[0]["result"]["version-rolling"].clone())
        };
        assert_eq!(configure("ffffffff", 2), (0x1fff_e000, json!(true)));
        assert_eq!(configure("00006000", 2), (0x0000_6000, json!(true)));
        assert_eq!(configure("00006000", 3), (0, json!(false)));
        assert_eq!(configure("00000fff", 0), (0, json!(false)));
    }

    #[test]
    fn nothing_is_told_before_the_subscription_and_no_extranonce_without_consent() {
        let mut server = Server::new(Config::default());
        assert_eq!(server.set_difficulty(1.0), Err(Misuse::NotSubscribed));
        subscribe(&mut server);
        assert_eq!(server.set_extranonce(&[1], 8), Err(Misuse::ExtranonceNotSubscribed));
        server.handle_line(br#"{"id":3,"method":"mining.extranonce.subscribe"}"#).unwrap();
        assert_eq!(server.set_extranonce(&[1], 8), Ok(()));
    }

    #[test]
    fn a_job_that_was_encoded_before_is_the_same() {
        let job = Notify {
            job_id: "7".into(),
            prev_hash: [3; 32],
            coinbase1: alloc::vec![1],
            coinbase2: alloc::vec![2],
            merkle_branch: alloc::vec![[4; 32]],
            version: 1,
            nbits: 2,
            ntime: 3,
            clean_jobs: true,
        };
        let encoded = EncodedNotify::new(&job);
        let mut server = Server::new(Config::default());
        assert_eq!(server.notify_encoded(&encoded), Err(Misuse::NotSubscribed));
        subscribe(&mut server);
        server.output().clear();
        server.notify(&job).unwrap();
        assert_eq!(server.output(), encoded.as_bytes());
        server.notify_encoded(&encoded).unwrap();
        assert_eq!(server.output().len(), 2 * encoded.as_bytes().len());
    }

    #[test]
    fn an_unknown_method_is_answered_and_no_json_ends_the_session() {
        let mut server = Server::new(Config::default());
        let event = server.handle_line(br#"{"id":null,"method":"mining.get_transactions","params":["1"]}"#);
        assert!(matches!(event, Ok(Some(Event::Refused { .. }))));
        assert_eq!(lines(&mut server)[0]["error"], json!([20, "Unknown method", null]));
        assert!(server.handle_line(b"\x16\x03\x01 client hello").is_err());
    }

    #[test]
    fn workers_of_a_connection_are_bounded() {
        let mut server = Server::new(Config::default());
        subscribe(&mut server);
        for number in 0..MAX_WORKERS {
            authorize(&mut server, &alloc::format!("w{number}"));
        }
        let event = server.handle_line(br#"{"id":9,"method":"mining.authorize","params":["one-more"]}"#);
        assert!(matches!(event, Ok(Some(Event::Refused { .. }))));
        authorize(&mut server, "w0");
    }

    #[test]
    fn a_version_that_was_asked_for_is_told() {
        let mut server = Server::new(Config::default());
        assert_eq!(server.handle_line(br#"{"id":1,"result":"x","error":null}"#), Ok(Some(Event::Alive)));
        server.get_version();
        let event = server.handle_line(br#"{"id":"1","result":"bmminer/2.0","error":null}"#);
        assert_eq!(event, Ok(Some(Event::UserAgent("bmminer/2.0".into()))));
    }
}
