//! The pool as miners, nodes and attackers meet it.

mod bad_input;
mod crash;
mod devnet;
mod failover;
mod key_log;
mod ledger;
mod load;
mod node;
mod vardiff;
