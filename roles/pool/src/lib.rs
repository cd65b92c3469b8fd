//! The Stratum V2 pool
