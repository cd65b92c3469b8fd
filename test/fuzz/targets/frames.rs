//! Bytes as one frame: read, written again, and what is said of those that are none.
#![no_main]

use framing_sv2::{EitherFrame, Error, Frame, NoiseFrame, Sv2Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Sv2Frame::from_bytes(data) {
        Ok(frame) => {
            let mut again = vec![];
            frame.serialize(&mut again);
            assert_eq!(again, data);
            assert_eq!(frame.header().payload_len(), frame.payload().len());
            assert_eq!(Sv2Frame::from_bytes_unchecked(data), frame);
            assert_eq!(frame.clone().into_owned(), frame);
            EitherFrame::from(frame).serialize(&mut again);
            assert_eq!(again.len(), 2 * data.len());
        }
        Err(Error::MissingBytes(missing)) => {
            // Exactly so many more make a frame, or let it say more.
            assert!(missing > 0);
            if data.len() >= 6 && missing < 10_000 {
                let mut longer = data.to_vec();
                longer.resize(data.len() + missing, 0);
                assert!(Sv2Frame::from_bytes(&longer).is_ok());
            }
        }
        Err(Error::TrailingBytes(trailing)) => assert!(Sv2Frame::from_bytes(&data[..data.len() - trailing]).is_ok()),
        Err(error) => panic!("{error}"),
    }
    let _ = Sv2Frame::from_bytes_unchecked(data).channel_id();
    assert_eq!(NoiseFrame::from_bytes(data).is_ok(), data.len() <= 65_535);
});
