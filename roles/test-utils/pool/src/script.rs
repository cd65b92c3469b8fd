//! What a connection does wrong, and when.

use std::time::Duration;

use binary_sv2::Message;
use framing_sv2::{Frame as _, Header, Sv2Frame};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: with [`Script::instead`] the message is left out.
    Nothing,
    /// Lets time pass. Neither is anything read meanwhile.
    Wait(Duration),
    /// Sends nothing more, but goes on reading.
    Silence,
    /// Reads nothing more, but goes on sending.
    Deaf,
    /// Sends a frame.
    Send(Sv2Frame<'static>),
    /// Sends the message at hand; with [`Script::after`] once more.
    Again,
    /// Sends the message at hand with these bytes of its payload, from the first given on.
    Patch {
        /// Where the bytes begin.
        at: usize,
        /// The bytes.
        with: Vec<u8>,
    },
    /// Sends no more than so many bytes of the message's payload, in a frame of that length.
    Truncate(usize),
    /// Sends bytes that are no frame; on an encrypted connection, beside the encryption.
    Raw(Vec<u8>),
    /// Sends what is queued, then closes the connection.
    Close,
    /// Breaks the connection off.
    Reset,
}

impl Act {
    /// Sends a message.
    ///
    /// # Panics
    /// When the message is too long for a frame, which is a mistake of the test's.
    pub fn send<M: Message>(message: &M) -> Self {
        Self::Send(Sv2Frame::from_message(message).expect("a message that fits a frame"))
    }

    /// Sends a frame with any numbers and bytes.
    ///
    /// # Panics
    /// When the header can not be, which is a mistake of the test's.
    pub fn frame(extension_type: u16, channel_msg: bool, message_type: u8, payload: Vec<u8>) -> Self {
        let header = Header::new(extension_type, channel_msg, message_type, payload.len()).expect("a header");
        Self::Send(Sv2Frame::new(header, payload).expect("a frame of its header's length"))
    }

    /// Sends the message at hand with another id in its first field: the request of an answer that opens a channel, the
    /// channel of most others.
    pub fn wrong_id() -> Self {
        Self::Patch { at: 0, with: vec![0xee; 4] }
    }
}

/// When something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The connection was accepted; the handshake has not begun.
    Accepted,
    Before(Number),
    Instead(Number),
    After(Number),
    /// A message came and is not handled yet.
    Arrived(Number),
}

/// Extension and number of a message.
pub(crate) type Number = (u16, u8);

pub(crate) fn number(header: Header) -> Number {
    (header.extension_type(), header.message_type())
}

const fn number_of<M: Message>() -> Number {
    (M::EXTENSION_TYPE, M::MESSAGE_TYPE)
}

/// What one connection does otherwise than an honest pool. Each rule is followed once, at the first occasion; where several are
/// for the same occasion, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct Script(Vec<(When, Act)>);

impl Script {
    /// Honest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the handshake.
    #[must_use]
    pub fn at_accept(self, act: Act) -> Self {
        self.with(When::Accepted, act)
    }

    /// Before message `M` is sent.
    #[must_use]
    pub fn before<M: Message>(self, act: Act) -> Self {
        self.with(When::Before(number_of::<M>()), act)
    }

    /// Instead of message `M`. Several acts take the place of one message together.
    #[must_use]
    pub fn instead<M: Message>(self, act: Act) -> Self {
        self.with(When::Instead(number_of::<M>()), act)
    }

    /// After message `M` was sent.
    #[must_use]
    pub fn after<M: Message>(self, act: Act) -> Self {
        self.with(When::After(number_of::<M>()), act)
    }

    /// When the client's message `M` has come, before it is handled.
    #[must_use]
    pub fn on<M: Message>(self, act: Act) -> Self {
        self.with(When::Arrived(number_of::<M>()), act)
    }

    fn with(mut self, when: When, act: Act) -> Self {
        self.0.push((when, act));
        self
    }

    /// Takes out what is to be done now.
    pub(crate) fn take(&mut self, when: When) -> Vec<Act> {
        let (now, later) = std::mem::take(&mut self.0).into_iter().partition(|(at, _)| *at == when);
        self.0 = later;
        now.into_iter().map(|(_, act): (When, Act)| act).collect()
    }
}

#[cfg(test)]
mod tests {
    use mining_sv2::{NewMiningJob, SetNewPrevHash};

    use super::*;

    #[test]
    fn rules_are_followed_once_and_in_order() {
        let mut script = Script::new()
            .before::<NewMiningJob>(Act::Silence)
            .after::<NewMiningJob>(Act::Again)
            .before::<SetNewPrevHash>(Act::Close)
            .before::<NewMiningJob>(Act::Deaf);
        assert_eq!(script.take(When::Before(number_of::<NewMiningJob>())), [Act::Silence, Act::Deaf]);
        assert!(script.take(When::Before(number_of::<NewMiningJob>())).is_empty());
        assert_eq!(script.take(When::After(number_of::<NewMiningJob>())), [Act::Again]);
        assert!(script.take(When::Arrived(number_of::<SetNewPrevHash>())).is_empty());
        assert_eq!(script.take(When::Before(number_of::<SetNewPrevHash>())), [Act::Close]);
    }
}
