//! With the feature `full`, one dependency brings the whole stack.
#![cfg(feature = "full")]

use roles_logic_sv2::{
    ChannelId, Target,
    binary_sv2::Message,
    codec_sv2::{Encoder, StandardSv2Decoder},
    common_messages_sv2::SetupConnectionSuccess,
    const_sv2::protocol,
    extensions_sv2::RequestExtensions,
    framing_sv2::Header,
    job_declaration_sv2::PushSolution,
    mining_sv2::SetTarget,
    noise_sv2::url::EndpointUrl,
    template_distribution_sv2::CoinbaseOutputConstraints,
};

#[test]
fn the_stack_below_comes_along() {
    let message = SetTarget { channel_id: ChannelId(7).0, maximum_target: Target::MAX.into() };
    let mut bytes = vec![];
    Encoder::new().encode(&message, &mut bytes).unwrap();
    let mut decoder = StandardSv2Decoder::new();
    decoder.writable()[..bytes.len()].copy_from_slice(&bytes);
    decoder.advance(bytes.len());
    let frame = decoder.next_frame().unwrap();
    assert_eq!(frame.header(), Header::of::<SetTarget>(36).unwrap());
    let numbers = [
        SetupConnectionSuccess::MESSAGE_TYPE,
        RequestExtensions::MESSAGE_TYPE,
        PushSolution::MESSAGE_TYPE,
        CoinbaseOutputConstraints::MESSAGE_TYPE,
    ];
    assert_eq!((numbers, protocol::VERSION), ([0x01, 0x00, 0x60, 0x70], 2));
    assert!("stratum2+tcp://pool.example:3333".parse::<EndpointUrl>().is_ok());
}
