//! The pool's side: one miner, one job.

use std::collections::HashSet;

use stratum_v1::{
    ErrorCode, Refusal,
    miner::Submit,
    pool::Notify,
    session::server::{Config, Event, Server},
};

use crate::{DIFFICULTY, Error, Lines, share};

/// Told to the miner, and the first part of the extranonce: what makes its search space its own.
const EXTRANONCE1: [u8; 4] = [0, 0, 0, 1];
const EXTRANONCE2_SIZE: usize = 8;

/// Serves a miner until it leaves; returns how many of its shares were credited.
pub fn serve(mut lines: Lines) -> Result<u32, Error> {
    let mut session = Server::new(Config::default());
    let job = job();
    let mut seen = HashSet::new();
    let mut credited = 0;
    while let Some(line) = lines.receive()? {
        match session.handle_line(&line)? {
            Some(Event::Subscribe { request, subscribe }) => {
                println!("pool: {} subscribes", subscribe.user_agent);
                session.subscribed(request, &EXTRANONCE1, EXTRANONCE2_SIZE);
                // The difficulty first: it holds for the jobs after it.
                session.set_difficulty(DIFFICULTY)?;
                session.notify(&job)?;
            }
            Some(Event::Authorize { request, authorize }) => session.authorized(request, &authorize.username),
            Some(Event::Submit { request, submit }) => match judge(&job, &submit, &mut seen) {
                Ok(()) => {
                    credited += 1;
                    session.accept(request);
                }
                Err(refusal) => session.refuse(request, &refusal),
            },
            Some(event) => println!("pool: {event:?}"),
            None => {}
        }
        lines.send(session.output())?;
    }
    Ok(credited)
}

/// A share counts when it is of the job, meets the difficulty, and is new.
fn judge(job: &Notify, share: &Submit, seen: &mut HashSet<[u8; 80]>) -> Result<(), Refusal> {
    if share.job_id != job.job_id {
        return Err(ErrorCode::JobNotFound.into());
    }
    if share.extranonce2.len() != EXTRANONCE2_SIZE || share.version_bits.is_some_and(|bits| bits != 0) {
        return Err(Refusal::with_reason(ErrorCode::Other, "Malformed share"));
    }
    let header = share::header(job, &EXTRANONCE1, share);
    if !share::target(DIFFICULTY).is_met_by(&header.hash()) {
        return Err(ErrorCode::LowDifficulty.into());
    }
    if !seen.insert(header.to_bytes()) {
        return Err(ErrorCode::Duplicate.into());
    }
    Ok(())
}

/// A job that no node has made: its parts have the right form and no value.
fn job() -> Notify {
    Notify {
        job_id: "1".into(),
        prev_hash: [7; 32],
        coinbase1: vec![1; 42],
        coinbase2: vec![2; 60],
        merkle_branch: vec![[3; 32], [4; 32]],
        version: 0x2000_0000,
        nbits: 0x1703_4219,
        ntime: 1_700_000_000,
        clean_jobs: true,
    }
}
