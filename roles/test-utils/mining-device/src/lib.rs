//! A CPU miner for tests and demonstrations
