//! What a new template costs in all, from the template to encrypted messages, as channels grow in number.

use std::{hint::black_box, sync::Arc};

use codec_sv2::NoiseEncoder;
use roles_logic_sv2::{
    ChannelId, JobId,
    channel::server::Channel,
    job::{JobFactory, PreparedTemplate},
};
use stratum_bench::Row;

use crate::{
    fixture::{self, NOW},
    jobs,
};

/// Connections with ciphers of their own; more channels than this take turns on them.
const CONNECTIONS: usize = 1_000;

type Connections = Vec<(NoiseEncoder, Vec<u8>)>;

fn channels(count: usize, extended: bool) -> Vec<Channel> {
    fixture::slots(count).map(|slot| fixture::channel(slot, extended)).collect()
}

fn extended(name: &'static str, count: usize) -> Row<'static> {
    let (mut channels, mut connections) = (channels(count, true), jobs::connections(count.min(CONNECTIONS)));
    let mut number = 0;
    Row::new(name).ours(move || {
        number += 1;
        let job = Arc::new(fixture::factory(1).build(JobId(number), &fixture::template(number.into())).unwrap());
        for (index, channel) in channels.iter_mut().enumerate() {
            channel.on_new_job(NOW, job.clone(), None).unwrap();
            send(&mut connections, index, &job.message(channel.id(), None));
        }
    })
}

fn send(connections: &mut Connections, index: usize, message: &impl binary_sv2::Message) {
    let turn = index % connections.len();
    let (encoder, out) = &mut connections[turn];
    out.clear();
    encoder.encode(message, out).unwrap();
    black_box(&out);
}

pub fn one() -> Row<'static> {
    extended("a new template, encrypted to 1 extended channel", 1)
}

pub fn thousand() -> Row<'static> {
    extended("a new template, encrypted to 1,000 extended channels", 1_000)
}

pub fn hundred_thousand() -> Row<'static> {
    extended("a new template, encrypted to 100,000 extended channels", 100_000)
}

pub fn standard() -> Row<'static> {
    let (mut channels, mut connections) = (channels(10_000, false), jobs::connections(CONNECTIONS));
    let mut number = 0;
    Row::new("a new template, encrypted to 10,000 standard channels").ours(move || {
        number += 1;
        let job = Arc::new(fixture::factory(1).build(JobId(number), &fixture::template(number.into())).unwrap());
        for (index, channel) in channels.iter_mut().enumerate() {
            channel.on_new_job(NOW, job.clone(), None).unwrap();
            send(&mut connections, index, &channel.new_mining_job(JobId(number)).unwrap());
        }
    })
}

/// A coinbase of its own for each address.
pub fn solo() -> Row<'static> {
    let (mut channels, mut connections) = (channels(10_000, true), jobs::connections(CONNECTIONS));
    let factory = fixture::factory(0);
    let factories: Vec<JobFactory> =
        (0..10_000_u32).map(|payee| factory.for_payout(fixture::payout(payee as u8)).unwrap()).collect();
    let mut number = 0;
    Row::new("a new template, encrypted to 10,000 solo addresses").ours(move || {
        number += 1;
        let prepared = PreparedTemplate::new(fixture::template(number.into())).unwrap();
        for (index, (channel, factory)) in channels.iter_mut().zip(&factories).enumerate() {
            let job = Arc::new(factory.build_prepared(JobId(number), &prepared, 0).unwrap());
            send(&mut connections, index, &job.message(ChannelId(2), None));
            channel.on_new_job(NOW, job, None).unwrap();
        }
    })
}
