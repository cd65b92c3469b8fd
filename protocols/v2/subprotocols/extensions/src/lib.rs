//! Messages of Stratum V2: extensions
