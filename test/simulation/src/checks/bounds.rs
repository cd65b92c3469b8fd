//! STYLE: "put a limit on everything". What waits for a peer or a source, and the channels of a connection, stay within what the pool says.

use std::time::Duration;

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
            _ => {}
        }
        Ok(())
    }
}
