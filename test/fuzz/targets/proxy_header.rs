//! What comes before a connection through a load balancer: a header is taken whole and nothing after it, or refused.
#![no_main]

use std::{cell::RefCell, time::Duration};

use libfuzzer_sys::fuzz_target;
use network_helpers::read_proxy_header;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with_borrow(|runtime| {
        let (mut bytes, minute) = (data, Duration::from_secs(60));
        let read = runtime.block_on(read_proxy_header(&mut bytes, minute));
        let header = &data[..data.len() - bytes.len()];
        assert!(header.len() <= 2048, "{} bytes taken", header.len());
        if let Ok(address) = read {
            // What follows has no part in it.
            let again = runtime.block_on(read_proxy_header(&mut &header[..], minute));
            assert_eq!(again.expect("the same header"), address);
        }
    });
});
