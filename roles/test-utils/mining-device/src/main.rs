//! The miner as a program of its own.

fn main() {}
