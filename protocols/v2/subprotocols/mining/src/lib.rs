//! Messages of the Mining Protocol (sv2-spec §5.3).
//!
//! One struct per message, fields named and ordered as in the specification's tables, and
//! [`Mining`], the enum of all of them. Messages that every share or job costs are `Copy`; those
//! with long fields borrow from the frame they came in.
//!
//! **What it refuses.** Payloads whose fields end early or exceed their type, unknown message
//! numbers, bytes behind a message that are not TLV fields. What values *mean* (targets, sizes,
//! channel ids) is for `roles_logic_sv2` to judge.
//!
//! **Limits.** Decoding allocates nothing; no payload panics.
//!
//! ```
//! use binary_sv2::{B0_32, Message, from_bytes, to_bytes};
//! use mining_sv2::{Mining, SubmitSharesExtended};
//!
//! let share = SubmitSharesExtended {
//!     channel_id: 1,
//!     sequence_number: 0,
//!     job_id: 7,
//!     nonce: 0x1234_5678,
//!     ntime: 1_700_000_000,
//!     version: 0x2000_0000,
//!     extranonce: B0_32::try_from([1, 2, 3, 4])?,
//! };
//! let payload = to_bytes(&share)?;
//! assert_eq!(from_bytes(&payload), Ok(share));
//!
//! let message = Mining::decode(SubmitSharesExtended::MESSAGE_TYPE, &payload)?;
//! assert_eq!(message, Mining::from(share));
//! assert!(message.channel_msg());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod channel;
mod custom_job;
mod job;
mod share;

use const_sv2::message_type::mining;

pub use channel::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetExtranoncePrefix, SetGroupChannel, SetTarget,
    UpdateChannel, UpdateChannelError,
};
pub use custom_job::{SetCustomMiningJob, SetCustomMiningJobError, SetCustomMiningJobSuccess};
pub use job::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
pub use share::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess};

binary_sv2::protocol! {
    /// Every message of the Mining Protocol (sv2-spec §5.3).
    pub enum Mining<'a> from mining {
        OpenStandardMiningChannel(OpenStandardMiningChannel<'a>) = OPEN_STANDARD_MINING_CHANNEL,
        OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess) = OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        OpenMiningChannelError(OpenMiningChannelError<'a>) = OPEN_MINING_CHANNEL_ERROR,
        OpenExtendedMiningChannel(OpenExtendedMiningChannel<'a>) = OPEN_EXTENDED_MINING_CHANNEL,
        OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess) = OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        NewMiningJob(NewMiningJob) = NEW_MINING_JOB,
        UpdateChannel(UpdateChannel) = UPDATE_CHANNEL,
        UpdateChannelError(UpdateChannelError<'a>) = UPDATE_CHANNEL_ERROR,
        CloseChannel(CloseChannel<'a>) = CLOSE_CHANNEL,
        SetExtranoncePrefix(SetExtranoncePrefix) = SET_EXTRANONCE_PREFIX,
        SubmitSharesStandard(SubmitSharesStandard) = SUBMIT_SHARES_STANDARD,
        SubmitSharesExtended(SubmitSharesExtended) = SUBMIT_SHARES_EXTENDED,
        SubmitSharesSuccess(SubmitSharesSuccess) = SUBMIT_SHARES_SUCCESS,
        SubmitSharesError(SubmitSharesError<'a>) = SUBMIT_SHARES_ERROR,
        NewExtendedMiningJob(NewExtendedMiningJob<'a>) = NEW_EXTENDED_MINING_JOB,
        SetNewPrevHash(SetNewPrevHash) = SET_NEW_PREV_HASH,
        SetTarget(SetTarget) = SET_TARGET,
        SetCustomMiningJob(SetCustomMiningJob<'a>) = SET_CUSTOM_MINING_JOB,
        SetCustomMiningJobSuccess(SetCustomMiningJobSuccess) = SET_CUSTOM_MINING_JOB_SUCCESS,
        SetCustomMiningJobError(SetCustomMiningJobError<'a>) = SET_CUSTOM_MINING_JOB_ERROR,
        SetGroupChannel(SetGroupChannel<'a>) = SET_GROUP_CHANNEL,
    }
}
