//! Events that wait for a reader, without those that newer ones have overtaken.

use std::collections::VecDeque;

use crate::Event;

/// Events that wait before more should be taken in; the events beyond it are answers that were on their way.
///
/// Only future templates and answers add up: everything else replaces what it supersedes.
pub const QUEUED_EVENTS: usize = 128;

/// A queue of events for a reader that may stall.
///
/// [`Event::Tip`] removes the tip before it and the templates before it, but for the one that it names and younger future
/// ones. A template for the present tip removes an older one of the kind. [`Event::Down`] removes all news. Answers
/// ([`Event::is_answer`]) always stay.
#[derive(Debug, Default)]
pub struct EventQueue {
    events: VecDeque<Event>,
}

impl EventQueue {
    /// Adds an event and removes those that it supersedes.
    pub fn push(&mut self, event: Event) {
        match &event {
            Event::Template(template) if !template.future => {
                self.events.retain(|old| !matches!(old, Event::Template(old) if !old.future));
            }
            Event::Tip(tip) => self.events.retain(|old| match old {
                Event::Template(old) => old.id == tip.template_id || (old.future && old.id > tip.template_id),
                Event::Tip(_) => false,
                _ => true,
            }),
            Event::Down { .. } => self.events.retain(Event::is_answer),
            _ => {}
        }
        self.events.push_back(event);
    }

    /// Takes the oldest event.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether so much waits that nothing more should be taken in.
    pub fn is_full(&self) -> bool {
        self.events.len() >= QUEUED_EVENTS
    }

    /// Forgets all events.
    pub fn clear(&mut self) {
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bitcoin::{BlockHash, hashes::Hash};

    use super::*;
    use crate::{CoinbaseTemplate, Template, TemplateId, Tip};

    fn template(id: u64, future: bool) -> Event {
        let coinbase = CoinbaseTemplate {
            version: 2,
            script_sig_prefix: vec![],
            sequence: 0,
            value_remaining: 0,
            outputs_count: 0,
            outputs: vec![],
            lock_time: 0,
        };
        let id = TemplateId(id);
        Event::Template(Arc::new(Template { id, future, height: 1, version: 1, coinbase, merkle_path: vec![] }))
    }

    fn tip(id: u64) -> Event {
        let prev_hash = BlockHash::all_zeros();
        Event::Tip(Tip { template_id: TemplateId(id), prev_hash, header_timestamp: 0, nbits: 0, target: [0; 32] })
    }

    fn answer(id: u64) -> Event {
        Event::Transactions { id: TemplateId(id), result: Err("no".into()) }
    }

    fn down() -> Event {
        Event::Down { reason: "gone".into(), retry_in: Duration::ZERO }
    }

    /// What comes out of the queue, in short.
    fn left(events: Vec<Event>) -> String {
        let mut queue = EventQueue::default();
        events.into_iter().for_each(|event| queue.push(event));
        let mut text = vec![];
        while let Some(event) = queue.pop() {
            text.push(match event {
                Event::Template(template) => format!("{}{}", if template.future { "f" } else { "t" }, template.id.0),
                Event::Tip(tip) => format!("tip{}", tip.template_id.0),
                Event::Transactions { id, .. } => format!("a{}", id.0),
                Event::Down { .. } => "down".into(),
                _ => "other".into(),
            });
        }
        text.join(" ")
    }

    #[test]
    fn only_what_still_matters_is_left() {
        assert_eq!(left(vec![template(1, true), tip(1), template(2, false), template(3, true)]), "f1 tip1 t2 f3");
        assert_eq!(left(vec![tip(1), template(2, false), template(3, true), template(4, false)]), "tip1 f3 t4");
        assert_eq!(left(vec![tip(1), template(2, true), template(3, true), answer(1), tip(3)]), "f3 a1 tip3");
        assert_eq!(left(vec![template(2, true), template(3, true), tip(2)]), "f2 f3 tip2");
        assert_eq!(left(vec![tip(1), answer(1), template(2, false), tip(0)]), "a1 tip0", "its template left before");
        assert_eq!(left(vec![down(), template(1, true), answer(1), tip(1), down()]), "a1 down");
    }
}
