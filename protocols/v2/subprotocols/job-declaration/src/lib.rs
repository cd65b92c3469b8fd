//! Messages of Stratum V2: job declaration
