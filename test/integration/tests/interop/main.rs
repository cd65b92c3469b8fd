//! Our wire stack against the reference implementation's published crates (SRI), byte for byte.

mod messages;
mod noise;
