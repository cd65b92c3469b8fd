//! The pool as miners, nodes and attackers meet it.

mod abuse;
mod bad_input;
mod crash;
mod devnet;
mod failover;
mod handover;
mod http;
mod key_log;
mod ledger;
mod load;
mod node;
mod notify;
mod translator;
mod v1;
mod vardiff;
