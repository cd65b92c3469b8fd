//! Frames to handlers: one trait for each protocol and side, with one method for each message that the other side sends.
//!
//! [`Received::dispatch`](crate::protocol::Received) decodes a frame as what its number says and calls the method. The traits have
//! no defaults, so that no message can be forgotten; a message that its sender may not send does not get so far
//! ([`Violation::WrongSide`]). Nothing is allocated, and no enum of all messages is moved: for a share that counts.
//!
//! A handler gets what it needs besides the message (time, sink) as `C`, the context.
//!
//! # Example
//! ```
//! use binary_sv2::Message;
//! use framing_sv2::{Frame, Sv2Frame};
//! use roles_logic_sv2::{
//!     dispatch::TemplateDistributionServerHandler,
//!     protocol::{FromClient, Received, TemplateDistribution},
//!     session::Violation,
//! };
//! use template_distribution_sv2::*;
//!
//! /// Remembers which transactions were asked for.
//! struct Provider(Vec<u64>);
//!
//! impl TemplateDistributionServerHandler<()> for Provider {
//!     type Error = Violation;
//!
//!     fn coinbase_output_constraints(&mut self, _: &mut (), _: CoinbaseOutputConstraints) -> Result<(), Violation> {
//!         Ok(())
//!     }
//!     fn request_transaction_data(&mut self, _: &mut (), message: RequestTransactionData) -> Result<(), Violation> {
//!         self.0.push(message.template_id);
//!         Ok(())
//!     }
//!     fn submit_solution(&mut self, _: &mut (), _: SubmitSolution<'_>) -> Result<(), Violation> {
//!         Ok(())
//!     }
//! }
//!
//! let mut provider = Provider(vec![]);
//! let frame = Sv2Frame::from_message(&RequestTransactionData { template_id: 7 })?;
//! // In a role this comes out of the session.
//! let received = Received::<TemplateDistribution, FromClient>::new(frame.header(), frame.payload())?;
//! received.dispatch(&mut provider, &mut ())?;
//! assert_eq!(provider.0, [7]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use binary_sv2::{Decodable, DecodeError, Message, Reader, message_end};
use job_declaration_sv2::{
    AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJob, DeclareMiningJobError,
    DeclareMiningJobSuccess, ProvideMissingTransactions, ProvideMissingTransactionsSuccess, PushSolution,
};
use mining_sv2::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetCustomMiningJob,
    SetCustomMiningJobError, SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash,
    SetTarget, SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
    UpdateChannelError,
};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash as TemplateSetNewPrevHash, SubmitSolution,
};

use crate::{
    protocol::{FromClient, FromServer, JobDeclaration, Mining, Received, TemplateDistribution},
    session::Violation,
};

/// Defines a handler and [`Received::dispatch`] for it.
macro_rules! handler {
    (
        $(#[$meta:meta])*
        $handler:ident takes $protocol:ident $sender:ident {
            $($(#[$doc:meta])* $method:ident($message:ty $(, $fields:ident)?);)+
        }
    ) => {
        $(#[$meta])*
        pub trait $handler<C> {
            /// What a method may fail with; the connection ends then.
            type Error: From<Violation>;
            $(
                $(#[$doc])*
                fn $method(
                    &mut self,
                    context: &mut C,
                    message: $message
                    $(, $fields: &[u8])?
                ) -> Result<(), Self::Error>;
            )+
        }

        impl Received<'_, $protocol, $sender> {
            /// Decodes the message and hands it to its method.
            #[inline]
            pub fn dispatch<C, H: $handler<C>>(self, handler: &mut H, context: &mut C) -> Result<(), H::Error> {
                match self.message_type() {
                    $(
                        <$message as Message>::MESSAGE_TYPE => {
                            let (message, _fields) = decode::<$message>(self.payload())?;
                            handler.$method(context, message $(, { let $fields = _fields; $fields })?)
                        }
                    )+
                    // Never made: see the test that each message has its method.
                    number => Err(Violation::Undecodable(DecodeError::UnknownMessageType(number)).into()),
                }
            }
        }
    };
}

/// A message, and the well-formed TLV fields behind it.
#[inline(always)]
fn decode<'a, M: Message + Decodable<'a>>(payload: &'a [u8]) -> Result<(M, &'a [u8]), Violation> {
    let mut r = Reader::new(payload);
    match M::decode(&mut r) {
        Ok(message) => {
            if !r.rest().is_empty() {
                message_end(&r, M::NAME)?;
            }
            Ok((message, r.rest()))
        }
        Err(error) => Err(DecodeError::Malformed { message: M::NAME, error }.into()),
    }
}

handler! {
    /// What a mining server does with its clients' messages.
    MiningServerHandler takes Mining FromClient {
        /// See sv2-spec §5.3.2.
        open_standard_mining_channel(OpenStandardMiningChannel<'_>);
        /// See sv2-spec §5.3.4.
        open_extended_mining_channel(OpenExtendedMiningChannel<'_>);
        /// See sv2-spec §5.3.7.
        update_channel(UpdateChannel);
        /// See sv2-spec §5.3.9.
        close_channel(CloseChannel<'_>);
        /// See sv2-spec §5.3.11.
        submit_shares_standard(SubmitSharesStandard);
        /// See sv2-spec §5.3.12. `fields` are the TLV fields behind it: see
        /// [`user_identity`](extensions_sv2::tlv::user_identity).
        submit_shares_extended(SubmitSharesExtended, fields);
        /// See sv2-spec §5.3.18.
        set_custom_mining_job(SetCustomMiningJob<'_>);
    }
}

handler! {
    /// What a mining client does with its server's messages.
    MiningClientHandler takes Mining FromServer {
        /// See sv2-spec §5.3.3.
        open_standard_mining_channel_success(OpenStandardMiningChannelSuccess);
        /// See sv2-spec §5.3.5.
        open_extended_mining_channel_success(OpenExtendedMiningChannelSuccess);
        /// See sv2-spec §5.3.6.
        open_mining_channel_error(OpenMiningChannelError<'_>);
        /// See sv2-spec §5.3.8.
        update_channel_error(UpdateChannelError<'_>);
        /// See sv2-spec §5.3.9.
        close_channel(CloseChannel<'_>);
        /// See sv2-spec §5.3.10.
        set_extranonce_prefix(SetExtranoncePrefix);
        /// See sv2-spec §5.3.13.
        submit_shares_success(SubmitSharesSuccess);
        /// See sv2-spec §5.3.14.
        submit_shares_error(SubmitSharesError<'_>);
        /// See sv2-spec §5.3.15.
        new_mining_job(NewMiningJob);
        /// See sv2-spec §5.3.16.
        new_extended_mining_job(NewExtendedMiningJob<'_>);
        /// See sv2-spec §5.3.17.
        set_new_prev_hash(SetNewPrevHash);
        /// See sv2-spec §5.3.19.
        set_custom_mining_job_success(SetCustomMiningJobSuccess);
        /// See sv2-spec §5.3.20.
        set_custom_mining_job_error(SetCustomMiningJobError<'_>);
        /// See sv2-spec §5.3.21.
        set_target(SetTarget);
        /// See sv2-spec §5.3.22.
        set_group_channel(SetGroupChannel<'_>);
    }
}

handler! {
    /// What a Job Declarator Server does with its clients' messages.
    JobDeclarationServerHandler takes JobDeclaration FromClient {
        /// See sv2-spec §6.4.2.
        allocate_mining_job_token(AllocateMiningJobToken<'_>);
        /// See sv2-spec §6.4.4.
        declare_mining_job(DeclareMiningJob<'_>);
        /// See sv2-spec §6.4.8.
        provide_missing_transactions_success(ProvideMissingTransactionsSuccess<'_>);
        /// See sv2-spec §6.4.9.
        push_solution(PushSolution);
    }
}

handler! {
    /// What a Job Declarator Client does with its server's messages.
    JobDeclarationClientHandler takes JobDeclaration FromServer {
        /// See sv2-spec §6.4.3.
        allocate_mining_job_token_success(AllocateMiningJobTokenSuccess<'_>);
        /// See sv2-spec §6.4.5.
        declare_mining_job_success(DeclareMiningJobSuccess<'_>);
        /// See sv2-spec §6.4.6.
        declare_mining_job_error(DeclareMiningJobError<'_>);
        /// See sv2-spec §6.4.7.
        provide_missing_transactions(ProvideMissingTransactions<'_>);
    }
}

handler! {
    /// What a Template Provider does with its clients' messages.
    TemplateDistributionServerHandler takes TemplateDistribution FromClient {
        /// See sv2-spec §7.1.
        coinbase_output_constraints(CoinbaseOutputConstraints);
        /// See sv2-spec §7.4.
        request_transaction_data(RequestTransactionData);
        /// See sv2-spec §7.7.
        submit_solution(SubmitSolution<'_>);
    }
}

handler! {
    /// What a Template Provider's client does with its messages.
    TemplateDistributionClientHandler takes TemplateDistribution FromServer {
        /// See sv2-spec §7.2.
        new_template(NewTemplate<'_>);
        /// See sv2-spec §7.3.
        set_new_prev_hash(TemplateSetNewPrevHash);
        /// See sv2-spec §7.5.
        request_transaction_data_success(RequestTransactionDataSuccess<'_>);
        /// See sv2-spec §7.6.
        request_transaction_data_error(RequestTransactionDataError<'_>);
    }
}

#[cfg(test)]
mod tests;
