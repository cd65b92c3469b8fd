//! Act 2 at the client: a genuine one with any changes, or any bytes. Only the genuine one is taken.
//!
//! Input: act 2 as difference (exclusive or) from the genuine one.
#![no_main]

use std::sync::LazyLock;

use fuzz::Counter;
use libfuzzer_sys::fuzz_target;
use noise_sv2::{
    ACT1_LENGTH, ACT2_LENGTH, AuthorityPublicKey, AuthoritySecretKey, Initiator, InitiatorWaiting, Responder,
    ServerIdentity, Validity,
};

const NOW: u32 = 1_000;

#[derive(Clone, Copy)]
struct Fixed {
    authority: AuthorityPublicKey,
    act2: [u8; ACT2_LENGTH],
}

fn waiting(authority: Option<AuthorityPublicKey>) -> (InitiatorWaiting, [u8; ACT1_LENGTH]) {
    Initiator::new(authority, &mut Counter(9)).expect("act 1")
}

static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let secret = AuthoritySecretKey::generate(&mut Counter(1)).expect("a key");
    let validity = Validity { from: NOW - 1, until: NOW + 1 };
    let identity = ServerIdentity::issue(&secret, validity, &mut Counter(2)).expect("an identity");
    let (act2, _) = Responder::new(&identity).step(&waiting(None).1, &mut Counter(3)).expect("act 2");
    Fixed { authority: secret.public_key(), act2 }
});

fuzz_target!(|data: &[u8]| {
    let Fixed { authority, mut act2 } = *LazyLock::force(&FIXED);
    act2.iter_mut().zip(data).for_each(|(byte, change)| *byte ^= change);
    let genuine = data.iter().take(ACT2_LENGTH).all(|change| *change == 0);
    for authority in [Some(authority), None] {
        assert_eq!(waiting(authority).0.finish(&act2, NOW).is_ok(), genuine);
    }
});
