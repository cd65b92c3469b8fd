//! The client side of a mining channel: what a firmware or a gateway needs beyond messages (sv2-spec §5).

use core::time::Duration;

use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix, SetNewPrevHash, SetTarget, SubmitSharesExtended, SubmitSharesStandard,
};
use roles_logic_sv2::{
    ChannelId, Target,
    channel::client::{Change, ClientChannel, ClientError, Submission, Work},
};

use crate::{
    border::{Result, border, check_out, exclusive, free, put, shared},
    messages::{Sv2Kind, Sv2Message, message_of},
    status::Sv2Status::{self, SV2_END, SV2_ERROR_NOT_FOR_CHANNEL, SV2_ERROR_PROTOCOL},
    types::{Field, Sv2B032, Sv2U256},
};

/// One open channel, standard or extended.
pub struct Sv2Channel(ClientChannel);

/// Something to hash. Does not change; any number of threads may use one.
pub struct Sv2Work(Work);

/// What a message changed for whoever is hashing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are C's")]
pub enum Sv2Change {
    /// Go on with the work at hand.
    SV2_CHANGE_NONE = 0,
    /// Take new work soon; shares for the work at hand still count.
    SV2_CHANGE_NEW_WORK = 1,
    /// Take new work now: shares for the work at hand are stale.
    SV2_CHANGE_NEW_TIP = 2,
}

/// The fields of a work.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2WorkFields {
    /// The job.
    pub job_id: u32,
    /// Header field, before rolling.
    pub version: u32,
    /// Bits of `version` that may be rolled; 0 when none may.
    pub version_mask: u32,
    /// Header field.
    pub prev_hash: Sv2U256,
    /// Header field.
    pub merkle_root: Sv2U256,
    /// First ntime to use, unix seconds.
    pub min_ntime: u32,
    /// Header field, compact target of a block.
    pub nbits: u32,
    /// Hashes at or below it are shares.
    pub target: Sv2U256,
    /// Hashes at or below it are blocks, and to be submitted whatever `target` says.
    pub block_target: Sv2U256,
    /// The rolled extranonce; empty on a standard channel.
    pub extranonce: Sv2B032,
}

/// A block header, serialised.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Header {
    /// As it is hashed.
    pub bytes: [u8; 80],
}

/// Makes a channel from the server's answer: `OpenStandardMiningChannel.Success` or `OpenExtendedMiningChannel.Success`.
///
/// `SV2_ERROR_NOT_FOR_CHANNEL` for other messages. Free it with `sv2_channel_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_new(success: *const Sv2Message, channel: *mut *mut Sv2Channel) -> Sv2Status {
    border(|| {
        check_out(channel)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let message = unsafe { shared(success) }?;
        // SAFETY: the kind says which member of the body is initialised.
        let opened = unsafe {
            if message.kind == Sv2Kind::SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS as u32 {
                let success =
                    OpenStandardMiningChannelSuccess::borrow(&message.body.open_standard_mining_channel_success)?;
                ClientChannel::standard(&success)
            } else if message.kind == Sv2Kind::SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS as u32 {
                let success =
                    OpenExtendedMiningChannelSuccess::borrow(&message.body.open_extended_mining_channel_success)?;
                ClientChannel::extended(&success)?
            } else {
                return Err(SV2_ERROR_NOT_FOR_CHANNEL);
            }
        };
        // SAFETY: as above.
        unsafe { put(channel, Box::into_raw(Box::new(Sv2Channel(opened)))) }
    })
}

/// Frees a channel; nothing for NULL. Work that came from it stays usable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_free(channel: *mut Sv2Channel) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(channel) }
}

/// Takes up a message of the server's: NewMiningJob, NewExtendedMiningJob, SetNewPrevHash, SetTarget, SetExtranoncePrefix
/// or SetGroupChannel.
///
/// `now` is in seconds, on any clock that does not run backwards. `SV2_ERROR_NOT_FOR_CHANNEL` for a message of another
/// kind, channel or group: a connection with several channels offers each message to each. `SV2_ERROR_PROTOCOL` when
/// the server broke the protocol; the channel is then as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_handle(
    channel: *mut Sv2Channel,
    now: u64,
    message: *const Sv2Message,
    change: *mut Sv2Change,
) -> Sv2Status {
    border(|| {
        check_out(change)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (channel, message) = unsafe { (exclusive(channel)?, shared(message)?) };
        // SAFETY: as above.
        let changed = match unsafe { handle(&mut channel.0, Duration::from_secs(now), message) }? {
            Change::None => Sv2Change::SV2_CHANGE_NONE,
            Change::NewWork => Sv2Change::SV2_CHANGE_NEW_WORK,
            Change::NewTip => Sv2Change::SV2_CHANGE_NEW_TIP,
        };
        // SAFETY: as above.
        unsafe { put(change, changed) }
    })
}

/// # Safety
/// The member of the message's body that its kind says is initialised.
unsafe fn handle(channel: &mut ClientChannel, now: Duration, message: &Sv2Message) -> Result<Change> {
    const NEW_MINING_JOB: u32 = Sv2Kind::SV2_NEW_MINING_JOB as u32;
    const NEW_EXTENDED_MINING_JOB: u32 = Sv2Kind::SV2_NEW_EXTENDED_MINING_JOB as u32;
    const SET_NEW_PREV_HASH: u32 = Sv2Kind::SV2_MINING_SET_NEW_PREV_HASH as u32;
    const SET_TARGET: u32 = Sv2Kind::SV2_SET_TARGET as u32;
    const SET_EXTRANONCE_PREFIX: u32 = Sv2Kind::SV2_SET_EXTRANONCE_PREFIX as u32;
    const SET_GROUP_CHANNEL: u32 = Sv2Kind::SV2_SET_GROUP_CHANNEL as u32;

    let addressed = |id: u32| if channel.is_addressed(id) { Ok(()) } else { Err(SV2_ERROR_NOT_FOR_CHANNEL) };
    let body = &message.body;
    // SAFETY: by this function's contract.
    unsafe {
        match message.kind {
            NEW_MINING_JOB => {
                let job = NewMiningJob::borrow(&body.new_mining_job)?;
                addressed(job.channel_id)?;
                Ok(channel.on_new_mining_job(&job)?)
            }
            NEW_EXTENDED_MINING_JOB => {
                let job = NewExtendedMiningJob::borrow(&body.new_extended_mining_job)?;
                addressed(job.channel_id)?;
                Ok(channel.on_new_extended_mining_job(&job)?)
            }
            SET_NEW_PREV_HASH => {
                let tip = SetNewPrevHash::borrow(&body.mining_set_new_prev_hash)?;
                addressed(tip.channel_id)?;
                Ok(channel.on_set_new_prev_hash(now, &tip)?)
            }
            SET_TARGET => {
                let target = SetTarget::borrow(&body.set_target)?;
                addressed(target.channel_id)?;
                Ok(channel.on_set_target(&target))
            }
            SET_EXTRANONCE_PREFIX => {
                let prefix = SetExtranoncePrefix::borrow(&body.set_extranonce_prefix)?;
                addressed(prefix.channel_id)?;
                channel.on_set_extranonce_prefix(&prefix)?;
                Ok(Change::None)
            }
            SET_GROUP_CHANNEL => {
                let group = mining_sv2::SetGroupChannel::borrow(&body.set_group_channel)?;
                if !group.channel_ids.iter().any(|id| id == channel.id().0) {
                    return Err(SV2_ERROR_NOT_FOR_CHANNEL);
                }
                channel.set_group_id(ChannelId(group.group_channel_id));
                Ok(Change::None)
            }
            _ => Err(SV2_ERROR_NOT_FOR_CHANNEL),
        }
    }
}

/// The channel's id, which messages to the server carry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_id(channel: *const Sv2Channel, channel_id: *mut u32) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        unsafe { put(channel_id, shared(channel)?.0.id().0) }
    })
}

/// Makes work from the current job. `SV2_END` when there is no job yet, or no extranonce left for it.
///
/// On an extended channel each call takes the next extranonce, so that no two works overlap: give each thread or chip its
/// own, and take a new one when all nonces, versions and ntimes are through. On a standard channel all works of a job are
/// the same. Free it with `sv2_work_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_work(channel: *mut Sv2Channel, work: *mut *mut Sv2Work) -> Sv2Status {
    border(|| {
        check_out(work)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let next = unsafe { exclusive(channel) }?.0.work().ok_or(SV2_END)?;
        // SAFETY: as above.
        unsafe { put(work, Box::into_raw(Box::new(Sv2Work(next)))) }
    })
}

/// Writes 1 to `*current` when shares for the work still count, as far as is known, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_is_current(
    channel: *const Sv2Channel,
    work: *const Sv2Work,
    current: *mut u8,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (channel, work) = unsafe { (shared(channel)?, shared(work)?) };
        // SAFETY: as above.
        unsafe { put(current, u8::from(channel.0.is_current(&work.0))) }
    })
}

/// Makes the message for a share: `SubmitSharesStandard` or `SubmitSharesExtended`, to be passed to `sv2_encoder_add`.
///
/// Counts the sequence number up, from 0. The share itself is not checked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_channel_submit(
    channel: *mut Sv2Channel,
    work: *const Sv2Work,
    version: u32,
    ntime: u32,
    nonce: u32,
    message: *mut Sv2Message,
) -> Sv2Status {
    border(|| {
        check_out(message)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (channel, work) = unsafe { (exclusive(channel)?, shared(work)?) };
        let share = match channel.0.submit(&work.0, version, ntime, nonce) {
            Submission::Standard(share) => message_of::<SubmitSharesStandard>(|body| {
                body.submit_shares_standard = share.lend();
            }),
            Submission::Extended(share) => message_of::<SubmitSharesExtended>(|body| {
                body.submit_shares_extended = share.lend();
            }),
        };
        // SAFETY: as above.
        unsafe { put(message, share) }
    })
}

/// Frees a work; nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_work_free(work: *mut Sv2Work) {
    // SAFETY: the caller keeps the crate's rules on pointers.
    unsafe { free(work) }
}

/// The fields of a work, to put into a chip's registers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_work_fields(work: *const Sv2Work, fields: *mut Sv2WorkFields) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let work = &unsafe { shared(work) }?.0;
        let number = |bytes| Sv2U256 { bytes };
        let result = Sv2WorkFields {
            job_id: work.job_id.0,
            version: work.version,
            version_mask: work.version_mask,
            prev_hash: number(*work.prev_hash.as_ref()),
            merkle_root: number(work.merkle_root),
            min_ntime: work.min_ntime,
            nbits: work.nbits,
            target: number(work.target.to_le_bytes()),
            block_target: number(work.network_target().to_le_bytes()),
            extranonce: work.extranonce.map(binary_sv2::B0_32::from).unwrap_or_default().lend(),
        };
        // SAFETY: as above.
        unsafe { put(fields, result) }
    })
}

/// The latest ntime that may be submitted at `now`, in seconds on the clock of `sv2_channel_handle` (sv2-spec §5.3.11).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_work_max_ntime(work: *const Sv2Work, now: u64, ntime: *mut u32) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        unsafe { put(ntime, shared(work)?.0.max_ntime(Duration::from_secs(now))) }
    })
}

/// Builds the block header with these rolled fields.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_work_header(
    work: *const Sv2Work,
    version: u32,
    ntime: u32,
    nonce: u32,
    header: *mut Sv2Header,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let bytes = unsafe { shared(work) }?.0.header(version, ntime, nonce).to_bytes();
        // SAFETY: as above.
        unsafe { put(header, Sv2Header { bytes }) }
    })
}

/// The hash of the block header with these rolled fields.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_work_hash(
    work: *const Sv2Work,
    version: u32,
    ntime: u32,
    nonce: u32,
    hash: *mut Sv2U256,
) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let result = unsafe { shared(work) }?.0.header(version, ntime, nonce).hash();
        // SAFETY: as above.
        unsafe { put(hash, Sv2U256 { bytes: *result.as_ref() }) }
    })
}

/// Writes 1 to `*met` when the hash is at or below the target, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_target_is_met(target: *const Sv2U256, hash: *const Sv2U256, met: *mut u8) -> Sv2Status {
    border(|| {
        // SAFETY: the caller keeps the crate's rules on pointers.
        let (target, hash) = unsafe { (shared(target)?, shared(hash)?) };
        let is_met = Target::from_le_bytes(hash.bytes) <= Target::from_le_bytes(target.bytes);
        // SAFETY: as above.
        unsafe { put(met, u8::from(is_met)) }
    })
}

/// Expands a compact target. `SV2_ERROR_LENGTH` for one that no block can have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sv2_target_from_nbits(nbits: u32, target: *mut Sv2U256) -> Sv2Status {
    border(|| {
        let expanded = Target::from_compact(nbits).map_err(|_| Sv2Status::SV2_ERROR_LENGTH)?;
        // SAFETY: the caller keeps the crate's rules on pointers.
        unsafe { put(target, Sv2U256 { bytes: expanded.to_le_bytes() }) }
    })
}

impl From<ClientError> for Sv2Status {
    fn from(_: ClientError) -> Self {
        SV2_ERROR_PROTOCOL
    }
}
