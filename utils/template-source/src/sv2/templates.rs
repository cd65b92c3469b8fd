//! The templates of one connection: from the wire into our terms, and the two ids of each.

use std::collections::BTreeMap;

use bitcoin::consensus::encode;
use const_sv2::limits::COINBASE_PREFIX_MAX;
use template_distribution_sv2::NewTemplate;

use crate::{CoinbaseTemplate, Template, TemplateId};

/// Future templates of one connection whose ids are known; the oldest make room. A Template Provider has one or two.
pub const KNOWN_FUTURES: usize = 64;

/// Other templates of one connection whose ids are known, for requests and late solutions; the oldest make room.
pub const KNOWN_TEMPLATES: usize = 256;

/// Why a `NewTemplate` is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// The scriptSig prefix is too long.
    #[error("expected a coinbase_prefix of at most {COINBASE_PREFIX_MAX} bytes, got {0}")]
    PrefixTooLong(usize),
    /// The scriptSig prefix does not begin with a height.
    #[error("expected coinbase_prefix to begin with the block's height (BIP 34), got bytes {0:02x?}")]
    NoHeight(Vec<u8>),
    /// The outputs are not as many as the message says, or no outputs at all.
    #[error("expected coinbase_tx_outputs to hold exactly {0} outputs")]
    Outputs(u32),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    local: TemplateId,
    future: bool,
    /// Grows with each template that comes or is activated; the smallest goes first.
    age: u64,
}

/// Ids of the templates that the present connection brought.
///
/// Remote ids begin anew with each connection; local ones are ours, and increase over the whole subscription.
#[derive(Debug, Default)]
pub(super) struct Templates {
    by_remote: BTreeMap<u64, Known>,
    last_local: u64,
    last_age: u64,
}

impl Templates {
    /// Forgets the remote ids, as their connection is gone.
    pub fn new_connection(&mut self) {
        self.by_remote.clear();
    }

    /// Takes a template in and gives it an id of ours. A repeated remote id replaces the template that had it.
    pub fn add(&mut self, message: &NewTemplate<'_>) -> Result<Template, BadTemplate> {
        let local = TemplateId(self.last_local + 1);
        let template = template(local, message)?;
        self.last_local += 1;
        self.last_age += 1;
        self.by_remote.insert(message.template_id, Known { local, future: template.future, age: self.last_age });
        self.make_room(true, KNOWN_FUTURES);
        self.make_room(false, KNOWN_TEMPLATES);
        Ok(template)
    }

    fn make_room(&mut self, future: bool, most: usize) {
        let of_kind = || self.by_remote.iter().filter(|(_, known)| known.future == future);
        if of_kind().count() > most
            && let Some(oldest) = of_kind().min_by_key(|(_, known)| known.age).map(|(id, _)| *id)
        {
            self.by_remote.remove(&oldest);
        }
    }

    /// Our id of a future template that a tip names. It is an ordinary one from then on, and older future ones are void
    /// (sv2-spec §7.3).
    pub fn activate(&mut self, remote: u64) -> Option<TemplateId> {
        let known = self.by_remote.get_mut(&remote).filter(|known| known.future)?;
        known.future = false;
        self.last_age += 1;
        known.age = self.last_age;
        let local = known.local;
        self.by_remote.retain(|_, known| !known.future || known.local > local);
        Some(local)
    }

    /// Our id for a remote one.
    pub fn local(&self, remote: u64) -> Option<TemplateId> {
        self.by_remote.get(&remote).map(|known| known.local)
    }

    /// The remote id for one of ours.
    pub fn remote(&self, local: TemplateId) -> Option<u64> {
        self.by_remote.iter().rev().find(|(_, known)| known.local == local).map(|(remote, _)| *remote)
    }
}

fn template(id: TemplateId, message: &NewTemplate<'_>) -> Result<Template, BadTemplate> {
    let prefix = message.coinbase_prefix.as_bytes();
    if prefix.len() > COINBASE_PREFIX_MAX {
        return Err(BadTemplate::PrefixTooLong(prefix.len()));
    }
    let outputs = message.coinbase_tx_outputs.as_bytes();
    if !holds_outputs(outputs, message.coinbase_tx_outputs_count) {
        return Err(BadTemplate::Outputs(message.coinbase_tx_outputs_count));
    }
    Ok(Template {
        id,
        future: message.future_template,
        height: height(prefix).ok_or_else(|| BadTemplate::NoHeight(prefix.to_vec()))?,
        version: message.version,
        coinbase: CoinbaseTemplate {
            version: message.coinbase_tx_version,
            script_sig_prefix: prefix.to_vec(),
            sequence: message.coinbase_tx_input_sequence,
            value_remaining: message.coinbase_tx_value_remaining,
            outputs_count: message.coinbase_tx_outputs_count,
            outputs: outputs.to_vec(),
            lock_time: message.coinbase_tx_locktime,
        },
        merkle_path: message.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect(),
    })
}

/// Whether `bytes` are exactly `count` serialised outputs.
fn holds_outputs(bytes: &[u8], count: u32) -> bool {
    let mut rest = bytes;
    for _ in 0..count {
        // Each output takes bytes, so a count beyond the truth ends here.
        let Ok((_, used)) = encode::deserialize_partial::<bitcoin::TxOut>(rest) else { return false };
        rest = rest.get(used..).unwrap_or_default();
    }
    rest.is_empty()
}

/// The height at the front of a scriptSig (BIP 34): `OP_1` to `OP_16`, or a push of a little-endian number.
fn height(script_sig: &[u8]) -> Option<u32> {
    let (&first, rest) = script_sig.split_first()?;
    match first {
        0x51..=0x60 => Some(u32::from(first - 0x50)),
        // A height needs four bytes until the year 40,000 or so; the top bit of the last is a sign.
        1..=4 => {
            let pushed = rest.get(..usize::from(first))?;
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(pushed).for_each(|(to, from)| *to = *from);
            (pushed.last()? & 0x80 == 0).then_some(u32::from_le_bytes(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use binary_sv2::{B0_64K, B0_255, Seq0_255};
    use proptest::prelude::*;

    use super::*;

    fn message(id: u64, future: bool) -> NewTemplate<'static> {
        NewTemplate {
            template_id: id,
            future_template: future,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0_255::try_from(&[2, 0x2c, 0x01]).unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: B0_64K::EMPTY,
            coinbase_tx_locktime: 0,
            merkle_path: Seq0_255::empty(),
        }
    }

    #[test]
    fn heights() {
        assert_eq!(height(&[0x51]), Some(1));
        assert_eq!(height(&[0x60, 0]), Some(16));
        assert_eq!(height(&[1, 17]), Some(17));
        assert_eq!(height(&[2, 0x80, 0]), Some(128));
        assert_eq!(height(&[3, 0x40, 0x0d, 0x0d, 9]), Some(855_360));
        assert_eq!(height(&[4, 0, 0, 0, 1]), Some(1 << 24));
        for bad in [&[][..], &[0], &[3, 1, 2], &[1, 0x80], &[5, 1, 1, 1, 1, 1], &[0x50], &[0x61]] {
            assert_eq!(height(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn malformed_templates_say_what_was_expected() {
        let refused = |change: fn(&mut NewTemplate<'static>)| {
            let mut message = message(1, true);
            change(&mut message);
            Templates::default().add(&message).unwrap_err()
        };
        let long = refused(|m| m.coinbase_prefix = B0_255::try_from(&[1, 17, 0, 0, 0, 0, 0, 0, 0]).unwrap());
        assert_eq!(long, BadTemplate::PrefixTooLong(9));
        let none = refused(|m| m.coinbase_prefix = B0_255::EMPTY);
        assert_eq!(none, BadTemplate::NoHeight(vec![]));
        assert_eq!(refused(|m| m.coinbase_tx_outputs_count = 1), BadTemplate::Outputs(1));
        let left_over = refused(|m| m.coinbase_tx_outputs = B0_64K::try_from(&[0]).unwrap());
        assert_eq!(left_over, BadTemplate::Outputs(0));
    }

    #[test]
    fn ids_stay_unique_over_connections() {
        let mut templates = Templates::default();
        let first = templates.add(&message(7, true)).unwrap().id;
        assert_eq!(templates.activate(7), Some(first));
        templates.new_connection();
        assert_eq!((templates.local(7), templates.remote(first)), (None, None));
        let second = templates.add(&message(7, true)).unwrap().id;
        assert!(second > first);
        assert_eq!((templates.local(7), templates.remote(second)), (Some(second), Some(7)));
    }

    #[test]
    fn a_tip_voids_older_future_templates() {
        let mut templates = Templates::default();
        for id in 1..=3 {
            templates.add(&message(id, true)).unwrap();
        }
        assert!(templates.activate(3).is_some());
        assert_eq!((templates.activate(1), templates.activate(4)), (None, None));
    }

    #[test]
    fn fee_updates_do_not_push_out_the_prepared_template() {
        let mut templates = Templates::default();
        let prepared = templates.add(&message(1, true)).unwrap().id;
        for id in 2..2_000 {
            templates.add(&message(id, false)).unwrap();
        }
        assert_eq!(templates.by_remote.len(), 1 + KNOWN_TEMPLATES);
        assert_eq!(templates.local(2), None);
        assert_eq!(templates.activate(1), Some(prepared));
        for id in 2_000..4_000 {
            templates.add(&message(id, true)).unwrap();
        }
        assert_eq!(templates.by_remote.len(), KNOWN_FUTURES + KNOWN_TEMPLATES);
        assert_eq!(templates.remote(prepared), Some(1), "its miners have only begun");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn heights_of_real_script_sigs(wanted in 1u32..0x7fff_ffff) {
            let script = bitcoin::script::Builder::new().push_int(i64::from(wanted)).into_script();
            prop_assert_eq!(height(script.as_bytes()), Some(wanted));
        }

        #[test]
        fn no_prefix_or_outputs_panic(prefix: [u8; 8], outputs in proptest::collection::vec(any::<u8>(), 0..60), count: u32) {
            let _ = height(&prefix);
            let _ = holds_outputs(&outputs, count);
        }
    }
}
