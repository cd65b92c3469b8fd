//! First inputs for the fuzz targets, from the vectors in `test/vectors` and a few conversations.

use std::{fs, path::Path};

use crate::command::{Failure, Result, at};

/// Extension type of the frames that steer a session's test (`test/fuzz/targets`).
const STEER: u16 = 0x7fff;
const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

/// A message of `test/vectors/messages.txt`.
struct Message {
    extension: u16,
    number: u8,
    channel: bool,
    payload: Vec<u8>,
}

struct Vectors {
    messages: Vec<Message>,
    tlv: Vec<Vec<u8>>,
    act1: Vec<u8>,
    certificate: Vec<u8>,
    block_template: Vec<u8>,
}

/// Writes the seeds of each target into its folder below `corpus`. What a fuzzer found there before stays.
pub(super) fn write(root: &Path, corpus: &Path, targets: &[String]) -> Result<()> {
    let vectors = Vectors::read(&root.join("test/vectors"))?;
    for target in targets {
        let folder = corpus.join(target);
        at(&folder, fs::create_dir_all(&folder))?;
        for (number, seed) in vectors.seeds(target).iter().enumerate() {
            let path = folder.join(format!("seed-{number:03}"));
            at(&path, fs::write(&path, seed))?;
        }
    }
    Ok(())
}

impl Vectors {
    fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            at(&path, fs::read_to_string(&path))
        };
        let handshake = text("noise/handshake.csv")?;
        let value = |name: &str| {
            let line = handshake.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
            line.and_then(hex).ok_or_else(|| Failure::Other(format!("handshake.csv has no `{name}`")))
        };
        Ok(Self {
            messages: lines(&text("messages.txt")?).filter_map(message).collect(),
            tlv: lines(&text("tlv.txt")?).filter_map(|line| hex(line.split_whitespace().last()?)).collect(),
            act1: value("act1")?,
            certificate: value("certificate")?,
            block_template: text("block-template.json")?.into_bytes(),
        })
    }

    fn seeds(&self, target: &str) -> Vec<Vec<u8>> {
        let frames = || self.messages.iter().map(Message::frame);
        let stream: Vec<u8> = frames().flatten().collect();
        match target {
            "messages" | "engines" | "reference" => self.messages.iter().map(Message::typed).collect(),
            "frames" => frames().collect(),
            "plain_decoder" => frames().chain([stream]).map(|bytes| after(&[40, 255], &bytes)).collect(),
            "noise_decoder" => self.encrypted(&stream),
            "handshake_responder" => vec![self.act1.clone(), after(&self.act1, &[0; 22])],
            "handshake_initiator" => vec![vec![0; 234], after(&[0; 100], &[1; 4])],
            "tlv" => self.tlv.iter().cloned().chain([after(&[2, 0, 1, 3, 0], b"abc")]).collect(),
            "url" => texts(&["stratum2+tcp://pool.example:34254", &format!("stratum2+tcp://[::1]:3333/{KEY}")]),
            "keys" => [texts(&[KEY]), vec![after(&self.certificate, &self.act1)]].concat(),
            "proxy_header" => {
                let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
                binary.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0x85, 0xce]);
                [texts(&["PROXY TCP4 192.0.2.1 192.0.2.2 5000 34254\r\n", "PROXY UNKNOWN\r\n"]), vec![binary]].concat()
            }
            "detect" => {
                let hello = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
                [texts(V1_LINES), vec![hello, self.act1.clone()], frames().collect()].concat()
            }
            "key_log" => vec![key_line()],
            "share_log" => vec![share_log()],
            "data_types" => self.typed_data(),
            "buffer_pool" => vec![vec![2, 8, 0, 3, 0, 1, 1, 2, 2, 0, 6, 0, 7, 0, 8, 0, 7, 0], vec![80; 60]],
            "user_identity" => texts(&["pool:alice.rig%2E7;donate=2.5", "solo:bc1qxyz.rig"]),
            "client_channel" => self.client_channel(),
            "routing" => self.routing(),
            "pool_session" => vec![miner(false), miner(true)],
            // With room for all, and for one.
            "block_template" => [[0, 0, 0], [243, 12, 1]].map(|room| after(&room, &self.block_template)).to_vec(),
            "remote_template_provider" => vec![template_provider()],
            "template_provider_session" => vec![template_client()],
            "v1_sessions" => texts(V1_LINES),
            "inspect_stream" => vec![stream.clone(), to_hex(&stream).into_bytes()],
            "inspect_capture" => vec![capture(&stream), capture(&self.act1)],
            _ => Vec::new(),
        }
    }

    /// Whole, cut into pieces, changed in one place, with long payloads, and not encrypted at all.
    fn encrypted(&self, stream: &[u8]) -> Vec<Vec<u8>> {
        // Not all of it: encrypting is slow under a sanitizer, and short inputs are changed in more telling ways.
        let stream = &stream[..stream.len().min(1_500)];
        let change = after(&[1, 1, 100, 0, 0, 0, 0, 0, 0, 0, 8], stream);
        let long = frame(0, true, 0xfe, &[7; 50]);
        vec![
            after(&[255, 0], stream),
            after(&[0, 0], &stream[..stream.len().min(200)]),
            change,
            after(&[99, 0], &long),
            vec![3, 0xff, 9, 9],
        ]
    }

    /// Payloads behind the number of each data type, and the start of some lists.
    fn typed_data(&self) -> Vec<Vec<u8>> {
        let payloads = (0..18u8).map(|number| after(&[number], &self.messages[usize::from(number)].payload));
        let lists = [[11, 1], [12, 1], [13, 1], [14, 1]].map(|start| after(&after(&start, &[0]), &[5; 70]));
        payloads.chain(lists).collect()
    }

    /// Every message at tables that hold something, and both sides of a set-up.
    fn routing(&self) -> Vec<Vec<u8>> {
        let all: Vec<u8> = self.messages.iter().flat_map(Message::frame).collect();
        let tables = [[0u8, 1, 9, 0], [0, 2, 9, 0], [1, 1, 3, 5], [1, 2, 4, 5], [5, 3, 7, 1], [5, 3, 8, 2]];
        let tables: Vec<u8> = tables.iter().flat_map(|step| frame(STEER, false, step[0], &step[1..])).collect();
        let foreign = [frame(0x4000, true, 1, &[9, 0, 0, 0, 1]), frame(0x4000, true, 1, &[5, 0, 0, 0])].concat();
        let request = frame(1, false, 0x00, &[1, 0, 2, 0, 2, 0, 3, 0]);
        let server = [setup_connection(0), request].concat();
        let granted = [frame(0, false, 0x01, &[2, 0, 0, 0, 0, 0]), frame(1, false, 0x01, &[1, 0, 1, 0, 2, 0])].concat();
        vec![after(&tables, &foreign), after(&tables, &all), after(&server, &miner(true)), after(&granted, &all)]
    }

    fn client_channel(&self) -> Vec<Vec<u8>> {
        let mining = self.messages.iter().filter(|message| (0x10..0x50).contains(&message.number));
        let all: Vec<u8> = mining.flat_map(Message::frame).collect();
        let standard = [frame(0, true, 0x15, &new_mining_job()), frame(0, true, 0x20, &tip_for_job())].concat();
        let extended = [frame(0, true, 0x1f, &new_extended_job()), frame(0, true, 0x20, &tip_for_job())].concat();
        vec![after(&[0], &all), after(&[8], &all), after(&[0], &standard), after(&[8], &extended)]
    }
}

impl Message {
    fn frame(&self) -> Vec<u8> {
        frame(self.extension, self.channel, self.number, &self.payload)
    }

    fn typed(&self) -> Vec<u8> {
        after(&[self.extension as u8, self.number], &self.payload)
    }
}

fn message(line: &str) -> Option<Message> {
    let mut words = line.split_whitespace().skip(1);
    let (extension, number, channel) = (words.next()?, words.next()?, words.next()?);
    Some(Message {
        extension: extension.parse().ok()?,
        number: number.parse().ok()?,
        channel: channel == "1",
        payload: hex(words.next().unwrap_or(""))?,
    })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.trim().chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn after(start: &[u8], rest: &[u8]) -> Vec<u8> {
    [start, rest].concat()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn key_line() -> Vec<u8> {
    format!("SV2_NOISE {} {} {}", "00".repeat(64), "11".repeat(32), "22".repeat(32)).into_bytes()
}

/// A segment with two batches of a share each, the second one twice, and a summary that was cut short.
fn share_log() -> Vec<u8> {
    let share = [&[1, 9, 0, 0, 0, 0, 0, 0, 0, 0xa0, 1, 0, 0, 0][..], &[5; 12], &[0, 0, 0x80, 0x3f]].concat();
    let batch = |number| [&[1, number, share.len() as u8][..], &share].concat();
    [&[9, 0, 0][..], &[3, 1, 0], &batch(1), &batch(2), &batch(2), &[0, 0, 3, 9, 9, 9]].concat()
}

/// Header (sv2-spec §3.2) and payload.
fn frame(extension: u16, channel: bool, number: u8, payload: &[u8]) -> Vec<u8> {
    let extension = extension | u16::from(channel) << 15;
    let [a, b] = extension.to_le_bytes();
    let [l0, l1, l2, _] = (payload.len() as u32).to_le_bytes();
    after(&[a, b, number, l0, l1, l2], payload)
}

fn steer(what: u8, with: u8) -> Vec<u8> {
    frame(STEER, false, what, &[with])
}

fn text(text: &str) -> Vec<u8> {
    after(&[text.len() as u8], text.as_bytes())
}

/// SetupConnection for version 2 of a protocol.
fn setup_connection(protocol: u8) -> Vec<u8> {
    let numbers = [&[protocol, 2, 0, 2, 0][..], &[0; 4]].concat();
    let texts = [text("host"), vec![1, 2], text("vendor"), text("hardware"), text("firmware"), text("device")];
    frame(0, false, 0x00, &after(&numbers, &texts.concat()))
}

/// A miner that opens a channel, submits shares, sees a new block and leaves.
fn miner(extended: bool) -> Vec<u8> {
    let open = [&[9, 0, 0, 0][..], &text("alice.1"), &1e12f32.to_le_bytes(), &[0xff; 32]].concat();
    let open = if extended { frame(0, false, 0x13, &after(&open, &[8, 0])) } else { frame(0, false, 0x10, &open) };
    let share = |nonce: u8| {
        let numbers = [2u32, nonce.into(), 1, nonce.into(), 1_800_000_000, 0x2000_0000];
        let fields: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        match extended {
            true => frame(0, true, 0x1b, &after(&fields, &[8, 1, 2, 3, 4, 5, 6, 7, 8])),
            false => frame(0, true, 0x1a, &fields),
        }
    };
    let update = [&2u32.to_le_bytes()[..], &1e9f32.to_le_bytes(), &[0xff; 32]].concat();
    let close = after(&2u32.to_le_bytes(), &text("bye"));
    let extensions = frame(1, false, 0x00, &[1, 0, 1, 0, 2, 0]);
    let shares: Vec<u8> = (0..8).flat_map(share).collect();
    let rest = [steer(0, 0), share(9), steer(1, 5), share(10), steer(5, 0), frame(0, true, 0x16, &update)].concat();
    [setup_connection(0), extensions, open, shares, rest, frame(0, true, 0x18, &close)].concat()
}

fn new_template() -> Vec<u8> {
    let start = [&1u64.to_le_bytes()[..], &[1], &0x2000_0000u32.to_le_bytes(), &2u32.to_le_bytes()].concat();
    let prefix = [3, 2, 101, 0];
    let rest = [&[0xff; 4][..], &5_000_000_000u64.to_le_bytes(), &[0; 4], &[0, 0], &[0; 4], &[1], &[7; 32]].concat();
    [start, prefix.to_vec(), rest].concat()
}

/// A Template Provider's side: set up, a template, its tip, and answers to requests.
fn template_provider() -> Vec<u8> {
    let success = frame(0, false, 0x01, &[2, 0, 0, 0, 0, 0]);
    let tip = [&1u64.to_le_bytes()[..], &[3; 32], &[0, 0, 0, 0x60], &[0xff, 0xff, 0x7f, 0x20], &[0xff; 32]].concat();
    let transactions = [&1u64.to_le_bytes()[..], &[0, 0], &[1, 0, 2, 0, 0, 9, 9]].concat();
    let (template, tip) = (frame(0, false, 0x71, &new_template()), frame(0, false, 0x72, &tip));
    let answers = [steer(1, 1), frame(0, false, 0x74, &transactions), steer(3, 1), steer(4, 0), steer(0, 9)];
    [success, template, tip, answers.concat()].concat()
}

/// A client's side: set up, constraints, a request, a solution.
fn template_client() -> Vec<u8> {
    let constraints = frame(0, false, 0x70, &[100, 0, 0, 0, 4, 0]);
    let news = [steer(1, 0), steer(2, 1), steer(1, 5)].concat();
    let request = frame(0, false, 0x73, &1u64.to_le_bytes());
    let solution = [&1u64.to_le_bytes()[..], &[0; 12], &[2, 0, 9, 9]].concat();
    [setup_connection(2), constraints, news, request, steer(3, 1), frame(0, false, 0x76, &solution), steer(4, 0)]
        .concat()
}

fn new_mining_job() -> Vec<u8> {
    [&[2, 0, 0, 0, 1, 0, 0, 0][..], &[0], &[0, 0, 0, 0x20], &[5; 32]].concat()
}

fn new_extended_job() -> Vec<u8> {
    let path = after(&[2], &[6; 64]);
    [&[2, 0, 0, 0, 1, 0, 0, 0][..], &[0], &[0, 0, 0, 0x20, 1], &path, &[3, 0, 1, 1, 1], &[2, 0, 2, 2]].concat()
}

fn tip_for_job() -> Vec<u8> {
    [&[2, 0, 0, 0, 1, 0, 0, 0][..], &[3; 32], &[0, 0, 0, 0x60], &[0xff, 0xff, 0x7f, 0x20]].concat()
}

/// A pcap file with one connection: a segment of `data` one way.
fn capture(data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(1_400)];
    let file = [&0xa1b2_c3d4u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &[0xff, 0xff, 0, 0], &[1, 0, 0, 0]].concat();
    let ethernet = [&[2; 12][..], &[8, 0]].concat();
    let [high, low] = (40 + data.len() as u16).to_be_bytes();
    let ip = [0x45, 0, high, low, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let tcp = [0x86, 0x06, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    let packet = [&ethernet, &ip[..], &tcp, data].concat();
    let length = (packet.len() as u32).to_le_bytes();
    [file, vec![0; 8], length.to_vec(), length.to_vec(), packet].concat()
}

/// A miner's and a pool's side of a conversation.
const V1_LINES: &[&str] = &[
    r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}
{"id":2,"method":"mining.subscribe","params":["bitaxe/1"]}
{"id":3,"method":"mining.authorize","params":["bc1q.a","x"]}
{"id":4,"method":"mining.suggest_difficulty","params":[512]}
{"id":5,"method":"mining.submit","params":["bc1q.a","1","0000000000000001","504e86ed","b2957c02","00002000"]}
"#,
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}
{"id":2,"result":[[["mining.notify","ae6812eb"]],"08000002",4],"error":null}
{"id":null,"method":"mining.set_difficulty","params":[0.5]}
{"id":null,"method":"mining.set_extranonce","params":["08000003",4]}
{"id":9,"method":"client.reconnect","params":["pool.example",3333,1]}
"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vectors {
        Vectors::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/vectors")).unwrap()
    }

    #[test]
    fn every_target_has_seeds() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        let programs = manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|part| part.split('"').next());
        let vectors = vectors();
        let without: Vec<&str> = programs.clone().filter(|target| vectors.seeds(target).is_empty()).collect();
        assert_eq!(without, Vec::<&str>::new());
        assert!(programs.count() > 10);
    }

    #[test]
    fn vectors_are_read() {
        let vectors = vectors();
        assert!(vectors.messages.len() >= 44);
        assert_eq!((vectors.act1.len(), vectors.certificate.len()), (64, 74));
        assert_eq!(frame(1, true, 2, &[3]), [1, 0x80, 2, 1, 0, 0, 3]);
    }
}
