//! Messages of Stratum V2: template distribution
