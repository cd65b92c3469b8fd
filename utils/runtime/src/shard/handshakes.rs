//! Whose handshake is computed next: a few in each turn of the loop, addresses in turn.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use tokio::sync::{Notify, oneshot};

use crate::gate::AddressKey;

/// Handshakes computed in one turn of the loop, about 0.1 ms each, after all that established connections have to do.
pub(super) const HANDSHAKES_PER_TURN: usize = 4;

/// Connections that have sent their part of the handshake and wait for ours. As many as are half-open at the most.
#[derive(Default)]
pub(super) struct Handshakes {
    waiting: RefCell<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    of: BTreeMap<AddressKey, VecDeque<oneshot::Sender<()>>>,
    /// Addresses with somebody waiting, the next one first.
    turns: VecDeque<AddressKey>,
}

impl Handshakes {
    /// Waits for the turn of a connection from `address`.
    pub async fn turn(&self, address: AddressKey) {
        let (sender, turn) = oneshot::channel();
        self.waiting.borrow_mut().push(address, sender);
        self.arrived.notify_one();
        // The other end is only dropped with the shard.
        let _ = turn.await;
    }

    /// Lets a few have their turn, again and again.
    pub async fn grant(&self) {
        loop {
            let mut granted = 0;
            while granted < HANDSHAKES_PER_TURN {
                let Some(next) = self.waiting.borrow_mut().pop() else { break };
                // Those that gave up while they waited cost nothing.
                granted += usize::from(next.send(()).is_ok());
            }
            if granted == 0 {
                self.arrived.notified().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, address: AddressKey, turn: oneshot::Sender<()>) {
        let of = self.of.entry(address).or_default();
        if of.is_empty() {
            self.turns.push_back(address);
        }
        of.push_back(turn);
    }

    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        let address = self.turns.pop_front()?;
        let of = self.of.get_mut(&address)?;
        let next = of.pop_front();
        if of.is_empty() {
            self.of.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn addresses_take_turns() {
        let mut waiting = Waiting::default();
        let mut turns = Vec::new();
        for (name, address) in [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("a4", 1), ("c1", 3), ("b2", 2)] {
            let (sender, turn) = oneshot::channel();
            waiting.push(AddressKey::from(IpAddr::from([192, 0, 2, address])), sender);
            turns.push((name, turn));
        }
        let mut order = Vec::new();
        while let Some(next) = waiting.pop() {
            next.send(()).unwrap();
            let granted = turns.iter_mut().position(|(_, turn)| turn.try_recv().is_ok()).unwrap();
            order.push(turns.remove(granted).0);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert!(waiting.of.is_empty() && waiting.turns.is_empty());
    }
}
