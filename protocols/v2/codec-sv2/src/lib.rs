//! Encoders and decoders of Stratum V2 frames, plain and encrypted
