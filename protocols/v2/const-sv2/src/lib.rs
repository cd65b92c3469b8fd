//! Constants of the Stratum V2 protocol
