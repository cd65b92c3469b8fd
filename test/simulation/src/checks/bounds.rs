//! STYLE: "put a limit on everything". What waits for a peer or a source, the channels of a connection, and what the hub keeps, stay within
//! what the pool says; found blocks within what a Template Provider says.

use std::time::Duration;

use pool::{
    blocks::{MAX_FOUND_BLOCKS, MAX_OPEN_BLOCKS},
    hub::{Load, MAX_FUTURE_TEMPLATES, MAX_INCOMPLETE_BLOCKS, MAX_JOBS, MAX_TEMPLATES_WITH_TRANSACTIONS},
};
use template_provider::PENDING_SOLUTIONS;
use template_source::COMMAND_QUEUE;

use super::{Check, Observation, Outcome, View};
use crate::pool::MAX_CHANNELS;

/// What one input can add after the last look at the limit: the answers to one read.
const ONE_INPUT: usize = 64 * 1024;
/// What one snapshot can add for a channel.
const ONE_NOTICE: usize = 8 * 1024;

pub struct Bounds;

impl Check for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn observe(&mut self, _now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::Unsent { conn, bytes, limit } => {
                let channels = view.channel_count(*conn);
                if channels > MAX_CHANNELS {
                    return Err(format!("connection {conn} has {channels} channels"));
                }
                if *bytes > limit + ONE_INPUT + ONE_NOTICE * channels {
                    return Err(format!("{bytes} bytes wait on connection {conn}, where {limit} may"));
                }
            }
            Observation::Commands { count } if *count > COMMAND_QUEUE => {
                return Err(format!("{count} commands wait for a source"));
            }
            Observation::Hub { load } => return within(load),
            // Those that wait for the node's answer, and those on their way to it.
            Observation::Pending { count } if *count > 2 * PENDING_SOLUTIONS => {
                return Err(format!("{count} found blocks of one client wait at the Template Provider"));
            }
            _ => {}
        }
        Ok(())
    }
}

fn within(load: &Load) -> Outcome {
    for (what, count, most) in [
        ("future templates", load.future_templates, MAX_FUTURE_TEMPLATES),
        ("jobs", load.jobs, MAX_JOBS),
        ("templates with a job", load.templates, load.jobs),
        ("templates with transactions", load.transactions, MAX_TEMPLATES_WITH_TRANSACTIONS),
        ("blocks without transactions", load.incomplete_blocks, MAX_INCOMPLETE_BLOCKS),
        ("found blocks", load.found_blocks, MAX_FOUND_BLOCKS),
        ("offered blocks", load.offered_blocks, MAX_OPEN_BLOCKS),
    ] {
        if count > most {
            return Err(format!("the hub keeps {count} {what}, where {most} may be"));
        }
    }
    Ok(())
}
