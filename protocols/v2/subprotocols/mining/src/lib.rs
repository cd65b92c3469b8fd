//! Messages of Stratum V2: mining
