//! Text as an endpoint's URL: what is taken is shown in a form that is taken again and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noise_sv2::url::EndpointUrl;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<EndpointUrl>() {
        Ok(url) => {
            assert!(url.port() != 0 && !url.host().is_empty());
            assert_eq!(url.to_string().parse::<EndpointUrl>().as_ref(), Ok(&url));
            assert_eq!(EndpointUrl::new(url.host(), url.port(), url.authority()).as_ref(), Ok(&url));
            assert!(url.address().ends_with(&url.port().to_string()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(url) = EndpointUrl::new(text, 1, None) {
        assert_eq!(url.to_string().parse::<EndpointUrl>(), Ok(url));
    }
});
