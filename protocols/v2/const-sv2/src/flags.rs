//! Feature flags of `SetupConnection`; bit 0 is the least significant bit of the `u32`.

/// Flags a mining client sets in `SetupConnection.flags` (sv2-spec §5.3.1).
pub mod mining {
    /// The client takes standard jobs only; no group channels, no extended jobs.
    pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
    /// The client will send `SetCustomMiningJob` on this connection.
    pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
    /// The client needs jobs that allow version rolling.
    pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
    /// All flags a mining client may set; any other bit is unsupported.
    pub const ALL: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING;
}

/// Flags a mining server sets in `SetupConnection.Success.flags` (sv2-spec §5.3.1).
pub mod mining_success {
    /// The server accepts no change to the version field.
    pub const REQUIRES_FIXED_VERSION: u32 = 1 << 0;
    /// The server opens no standard channels.
    pub const REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;
    /// All flags a mining server may set.
    pub const ALL: u32 = REQUIRES_FIXED_VERSION | REQUIRES_EXTENDED_CHANNELS;
}

/// Flags a job declarator client sets in `SetupConnection.flags` (sv2-spec §6.4.1).
///
/// `SetupConnection.Success` defines none for this protocol.
pub mod job_declaration {
    /// The client reveals the template's transactions (full-template mode).
    pub const DECLARE_TX_DATA: u32 = 1 << 0;
    /// All flags a job declarator client may set.
    pub const ALL: u32 = DECLARE_TX_DATA;
}

/// The Template Distribution Protocol defines no flags, in either direction.
pub mod template_distribution {
    /// All flags a template client may set: none.
    pub const ALL: u32 = 0;
}

/// Flags a client of `protocol` may set; 0 for an unknown protocol.
#[must_use]
pub const fn known(protocol: u8) -> u32 {
    match protocol {
        crate::protocol::MINING => mining::ALL,
        crate::protocol::JOB_DECLARATION => job_declaration::ALL,
        crate::protocol::TEMPLATE_DISTRIBUTION => template_distribution::ALL,
        _ => 0,
    }
}
