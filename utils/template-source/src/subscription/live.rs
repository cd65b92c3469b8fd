//! The templates that a solution may still come in for.

use std::collections::VecDeque;

use bitcoin::BlockHash;

use crate::TemplateId;

/// Tips whose templates are kept, the newest included: a late solution may make a block that wins after all.
pub(crate) const TIPS_KEPT: usize = 3;

/// Templates that are kept at most, the oldest going first. The node holds a block's transactions for each; with a new template
/// every ten seconds these reach back for twenty minutes.
pub(crate) const TEMPLATES_KEPT: usize = 128;

/// Templates by id, each with what is needed to use it (`T`: a handle). Dropping a handle lets the node free the template.
#[derive(Debug)]
pub(crate) struct Live<T> {
    templates: VecDeque<(TemplateId, BlockHash, T)>,
    tips: VecDeque<BlockHash>,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Self { templates: VecDeque::new(), tips: VecDeque::new() }
    }
}

impl<T> Live<T> {
    /// Adds a template that builds on `prev_hash`, and forgets those of old tips.
    pub(crate) fn insert(&mut self, id: TemplateId, prev_hash: BlockHash, template: T) {
        if self.tips.back() != Some(&prev_hash) {
            self.tips.retain(|tip| *tip != prev_hash);
            self.tips.push_back(prev_hash);
            if self.tips.len() > TIPS_KEPT {
                self.tips.pop_front();
            }
            self.templates.retain(|(_, tip, _)| self.tips.contains(tip));
        }
        self.templates.push_back((id, prev_hash, template));
        if self.templates.len() > TEMPLATES_KEPT {
            self.templates.pop_front();
        }
    }

    pub(crate) fn get(&self, id: TemplateId) -> Option<&T> {
        self.templates.iter().rev().find(|(other, _, _)| *other == id).map(|(_, _, template)| template)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn tip(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    #[test]
    fn the_templates_of_three_tips_are_kept() {
        let mut live = Live::default();
        for id in 0..10_u8 {
            live.insert(TemplateId(u64::from(id)), tip(id / 2), id);
        }
        let kept: Vec<u8> = (0..10).filter_map(|id| live.get(TemplateId(id)).copied()).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_tip_that_comes_back_is_the_newest_again() {
        let mut live = Live::default();
        for (id, byte) in [1, 2, 1, 3, 1, 4].into_iter().enumerate() {
            live.insert(TemplateId(u64::try_from(id).unwrap()), tip(byte), byte);
        }
        let kept: Vec<u8> = (0..6).filter_map(|id| live.get(TemplateId(id)).copied()).collect();
        assert_eq!(kept, [1, 1, 3, 1, 4]);
    }

    #[test]
    fn one_tip_has_a_bound_too() {
        let mut live = Live::default();
        let many = u64::try_from(TEMPLATES_KEPT).unwrap() + 5;
        for id in 0..many {
            live.insert(TemplateId(id), tip(1), id);
        }
        assert_eq!(live.get(TemplateId(4)), None);
        assert_eq!(live.get(TemplateId(5)), Some(&5));
        assert_eq!(live.get(TemplateId(many - 1)), Some(&(many - 1)));
    }
}
