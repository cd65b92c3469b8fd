//! Sv2 data types to bytes and back
