//! Frames of Stratum V2: header, Sv2Frame, NoiseFrame
