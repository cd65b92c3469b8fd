//! Templates to jobs of a thousand extended channels, and those to messages.

use std::{hint::black_box, sync::Arc};

use codec_sv2::NoiseEncoder;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use roles_logic_sv2::{
    ChannelId, JobId,
    channel::{group::Channels, server::Channel},
    job::Job,
};
use sri_channels_sv2::server::extended::ExtendedChannel;
use sri_codec_sv2::NoiseEncoder as SriNoiseEncoder;
use sri_framing_sv2::framing::MessageFrame;
use sri_mining_sv2::{CHANNEL_BIT_NEW_EXTENDED_MINING_JOB, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB};
use stratum_bench::Row;

use crate::{
    fixture::{self, NOW, ROLLED},
    handshake,
};

const CHANNELS: usize = 1_000;
/// Bytes of a frame's header.
const HEADER: usize = 6;

/// All channels in one group, so that the jobs are theirs by one call.
struct Ours {
    channels: Channels<Channel>,
    group: ChannelId,
    number: u64,
}

impl Ours {
    fn new() -> Self {
        let mut channels = Channels::new();
        let group = channels.open_group(20).unwrap();
        for slot in fixture::slots(CHANNELS) {
            let id = channels.next_id().unwrap();
            channels.insert(Channel::extended(fixture::open(slot, id, group), ROLLED).unwrap()).unwrap();
        }
        Self { channels, group, number: 0 }
    }

    fn template(&mut self) -> JobId {
        self.number += 1;
        let id = JobId(self.number as u32);
        let job = fixture::factory(1).build(id, &fixture::template(self.number)).unwrap();
        self.channels.on_new_job(NOW, self.group, &Arc::new(job), None).unwrap();
        id
    }

    fn prev_hash(&mut self, id: JobId) {
        self.channels.on_set_new_prev_hash(NOW, self.group, id, &fixture::tip(self.number)).unwrap();
    }
}

struct Sri {
    channels: Vec<ExtendedChannel>,
    number: u64,
}

impl Sri {
    fn new() -> Self {
        let mut allocator = fixture::sri_allocator();
        Self { channels: (0..CHANNELS).map(|_| fixture::sri_extended(&mut allocator)).collect(), number: 0 }
    }

    fn template(&mut self) {
        self.number += 1;
        let (template, outputs) = (fixture::sri_template(self.number), fixture::outputs());
        for channel in &mut self.channels {
            channel.on_new_template(template.clone(), outputs.clone()).unwrap();
        }
    }

    fn prev_hash(&mut self) {
        let tip = fixture::sri_tip(self.number);
        for channel in &mut self.channels {
            channel.on_set_new_prev_hash(tip.clone()).unwrap();
        }
    }
}

pub fn template() -> Row<'static> {
    let (mut ours, mut sri) = (Ours::new(), Sri::new());
    Row::new("a new template into jobs for 1,000 extended channels")
        .target(100_000.0)
        .ours(move || {
            black_box(ours.template());
        })
        .sri(move || sri.template())
}

pub fn prev_hash() -> Row<'static> {
    let (mut ours, mut sri) = (Ours::new(), Sri::new());
    Row::new("the same, and then a new previous hash that starts them")
        .target(200_000.0)
        .ours(move || {
            let id = ours.template();
            ours.prev_hash(id);
        })
        .sri(move || {
            sri.template();
            sri.prev_hash();
        })
}

pub fn job() -> Job {
    fixture::factory(1).build(JobId(1), &fixture::template(1)).unwrap()
}

/// The server's encoders of this many connections, each with its buffer.
pub fn connections(count: usize) -> Vec<(NoiseEncoder, Vec<u8>)> {
    (0..count).map(|_| (NoiseEncoder::new(handshake::connected().1.send), Vec::new())).collect()
}

pub fn messages() -> Row<'static> {
    let mut connections = connections(CHANNELS);
    let job = job();
    let len = binary_sv2::to_bytes(&job.message(ChannelId(2), None)).unwrap().len();
    let ours = move || {
        for (encoder, out) in &mut connections {
            out.clear();
            encoder.encode(black_box(&job.message(ChannelId(2), None)), out).unwrap();
        }
    };
    Row::new("the same 1,000 job messages encoded and encrypted")
        .target_at(500_000.0, 300_000.0)
        .ours(ours)
        .sri(sri_messages())
        .limit(limit(len))
}

fn sri_messages() -> impl FnMut() {
    let mut connections: Vec<_> =
        (0..CHANNELS).map(|_| (SriNoiseEncoder::new(), handshake::sri_connected().1.split().0)).collect();
    let mut channel = fixture::sri_extended(&mut fixture::sri_allocator());
    channel.on_new_template(fixture::sri_template(1), fixture::outputs()).unwrap();
    let id = channel.get_future_job_id_from_template_id(1).unwrap();
    let message = channel.get_future_job(id).unwrap().get_job_message().clone();
    move || {
        for (encoder, encrypt) in &mut connections {
            let (number, bit) = (MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB);
            let frame = MessageFrame::from_message(black_box(message.clone()), number, 0, bit).unwrap();
            black_box(&encoder.encode_transport(frame, encrypt).unwrap());
        }
    }
}

/// A copy and two calls of the cipher for each.
fn limit(len: usize) -> impl FnMut() {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap());
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let (source, mut header, mut out) = (vec![7; len], [0; HEADER], vec![0; len]);
    move || {
        for _ in 0..CHANNELS {
            out.copy_from_slice(black_box(&source));
            for data in [header.as_mut_slice(), out.as_mut_slice()] {
                let _ = black_box(key.seal_in_place_separate_tag(nonce(), Aad::empty(), data).unwrap());
            }
        }
    }
}
