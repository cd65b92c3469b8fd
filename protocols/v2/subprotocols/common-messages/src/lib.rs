//! Messages of Stratum V2: common messages
