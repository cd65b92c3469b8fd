//! Noise NX handshake and transport ciphers of Stratum V2
