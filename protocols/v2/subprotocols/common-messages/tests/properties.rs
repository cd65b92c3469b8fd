//! Laws of every message, and the vectors of another implementation.

#[path = "../../test-support/properties.rs"]
mod properties;

use common_messages_sv2::*;
use proptest::collection::vec;
use proptest::prelude::*;

properties::check_protocol! {
    CommonMessages from const_sv2::message_type::common::ALL {
        setup_connection: SetupConnection {
            protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version,
            firmware, device_id
        }
        setup_connection_success: SetupConnectionSuccess { used_version, flags }
        setup_connection_error: SetupConnectionError { flags, error_code }
        channel_endpoint_changed: ChannelEndpointChanged { channel_id }
        reconnect: Reconnect { new_host, new_port }
    }
}
