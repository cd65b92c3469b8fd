//! Every message type, with random values, in both directions.
//!
//! For the same values our bytes equal SRI's, SRI's bytes decode in ours to those values, and our
//! bytes decode in SRI's to those values. The vectors in `test/vectors/messages.txt` are SRI's bytes.

mod fields;
mod table;
mod tlv;
mod vectors;
