//! The miner's side.

use std::ops::ControlFlow;

use stratum_v1::{
    ErrorCode,
    miner::Submit,
    pool::Notify,
    session::client::{Client, Config, Event},
};

use crate::{Error, Lines, share};

const WORKER: &str = "alice.cpu";

/// Mines this many shares, sends the first one twice, and returns how many were accepted.
pub fn mine(mut lines: Lines, shares: u32) -> Result<u32, Error> {
    // Without version rolling: a processor does not run out of nonces that fast.
    let config = Config { user_agent: "example-miner/1.0".into(), version_mask: 0, ..Config::default() };
    let mut session = Client::new(config);
    session.start()?;
    session.authorize(WORKER, "x")?;
    let mut state = State::default();
    loop {
        lines.send(session.output())?;
        let Some(line) = lines.receive()? else { return Err("the pool has left".into()) };
        let Some(event) = session.handle_line(&line)? else { continue };
        if state.handle(&mut session, event, shares)?.is_break() {
            return Ok(state.accepted);
        }
    }
}

#[derive(Default)]
struct State {
    authorized: bool,
    job: Option<Notify>,
    /// Where the search goes on.
    nonce: u32,
    first: Option<Submit>,
    accepted: u32,
}

impl State {
    fn handle(&mut self, session: &mut Client, event: Event, shares: u32) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Authorized { result, .. } => {
                result?;
                self.authorized = true;
                self.search(session)?;
            }
            Event::Notify(job) => {
                println!("miner: job {} at difficulty {:?}", job.job_id, session.difficulty());
                self.job = Some(job);
                self.search(session)?;
            }
            Event::Submitted { result: Ok(()), .. } => {
                self.accepted += 1;
                println!("miner: share {} accepted", self.accepted);
                match &self.first {
                    Some(first) if self.accepted == shares => {
                        println!("miner: the first share once more");
                        session.submit(first)?;
                    }
                    _ => self.search(session)?,
                }
            }
            Event::Submitted { result: Err(refusal), .. } => {
                println!("miner: share refused: {refusal}");
                if refusal.code == ErrorCode::Duplicate && self.accepted == shares {
                    return Ok(ControlFlow::Break(()));
                }
                return Err(refusal.into());
            }
            other => println!("miner: {other:?}"),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Looks for the next share and submits it, once there is a job and the pool knows the worker.
    fn search(&mut self, session: &mut Client) -> Result<(), Error> {
        let (Some(job), true) = (&self.job, self.authorized) else { return Ok(()) };
        let extranonce1 = session.extranonce1().ok_or("a job before the subscription")?;
        let target = share::target(session.difficulty().unwrap_or(1.0));
        let mut candidate = Submit {
            username: WORKER.into(),
            job_id: job.job_id.clone(),
            extranonce2: vec![0; session.extranonce2_size().unwrap_or(0)],
            ntime: job.ntime,
            nonce: self.nonce,
            version_bits: None,
        };
        let mut header = share::header(job, extranonce1, &candidate);
        while !target.is_met_by(&header.hash()) {
            header.nonce = header.nonce.wrapping_add(1);
        }
        candidate.nonce = header.nonce;
        self.nonce = header.nonce.wrapping_add(1);
        self.first.get_or_insert_with(|| candidate.clone());
        session.submit(&candidate)?;
        Ok(())
    }
}
