// A Template Provider with a made-up chain (sv2-spec §7): it shows the conversation, a real one asks a Bitcoin node.
#pragma once

#include <array>
#include <cstdint>
#include <iostream>
#include <vector>

#include "connection.hpp"

namespace sv2 {

class TemplateProvider {
public:
    explicit TemplateProvider(Connection &connection) : connection_(connection) {}

    // Talks with one client until it hangs up.
    void serve() {
        if (!set_up()) return;
        Sv2Message message;
        while (connection_.receive(message)) {
            switch (message.kind) {
                case SV2_COINBASE_OUTPUT_CONSTRAINTS:
                    say("constraints", message.body.coinbase_output_constraints.coinbase_output_max_additional_size);
                    new_block();
                    break;
                case SV2_REQUEST_TRANSACTION_DATA:
                    transactions(message.body.request_transaction_data.template_id);
                    break;
                case SV2_SUBMIT_SOLUTION:
                    say("solution", message.body.submit_solution.template_id);
                    prev_hash_.bytes[0]++; // the made-up chain takes every solution
                    new_block();
                    break;
                default:
                    throw std::runtime_error(std::string("not for a Template Provider: ") + sv2_message_name(message.kind));
            }
            connection_.flush();
        }
    }

private:
    // The first message must ask for this protocol in its one version.
    bool set_up() {
        Sv2Message message;
        if (!connection_.receive(message)) return false;
        if (message.kind != SV2_SETUP_CONNECTION) throw std::runtime_error("expected SetupConnection");
        const Sv2SetupConnection &setup = message.body.setup_connection;
        Sv2Message answer = {};
        const char *refusal = nullptr;
        if (setup.protocol != SV2_PROTOCOL_TEMPLATE_DISTRIBUTION) {
            refusal = SV2_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL;
        } else if (setup.min_version > SV2_PROTOCOL_VERSION || setup.max_version < SV2_PROTOCOL_VERSION) {
            refusal = SV2_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH;
        }
        if (refusal) {
            answer.kind = SV2_SETUP_CONNECTION_ERROR;
            answer.body.setup_connection_error.error_code = sv2_text(refusal);
        } else {
            std::cout << "client " << text(setup.vendor) << std::endl;
            answer.kind = SV2_SETUP_CONNECTION_SUCCESS;
            answer.body.setup_connection_success.used_version = SV2_PROTOCOL_VERSION;
        }
        connection_.queue(answer);
        connection_.flush();
        return !refusal;
    }

    // A future template and the previous hash that activates it.
    void new_block() {
        height_++;
        template_id_++;
        // BIP 34: the height in the fewest bytes, least significant first, is a push of the scriptSig.
        const std::array<uint8_t, 3> height = {2, static_cast<uint8_t>(height_), static_cast<uint8_t>(height_ >> 8)};
        std::array<uint8_t, 32> path;
        Sv2Message message = {};
        message.kind = SV2_NEW_TEMPLATE;
        Sv2NewTemplate &fresh = message.body.new_template;
        fresh.template_id = template_id_;
        fresh.future_template = 1;
        fresh.version = 0x20000000;
        fresh.coinbase_tx_version = 2;
        fresh.coinbase_prefix = {height.data(), height.size()};
        fresh.coinbase_tx_input_sequence = 0xfffffffe;
        fresh.coinbase_tx_value_remaining = 5000000000;
        fresh.coinbase_tx_locktime = height_ - 1;
        check(sv2_seq_add_u256(&fresh.merkle_path, path.data(), path.size(), &transaction_id), "merkle path");
        connection_.queue(message);

        message = {};
        message.kind = SV2_TEMPLATE_SET_NEW_PREV_HASH;
        Sv2TemplateSetNewPrevHash &tip = message.body.template_set_new_prev_hash;
        tip.template_id = template_id_;
        tip.prev_hash = prev_hash_;
        tip.header_timestamp = 1700000000 + height_;
        tip.n_bits = 0x207fffff; // the easiest, as on regtest
        for (size_t i = 0; i < 32; i++) tip.target.bytes[i] = i < 29 ? 0 : i < 31 ? 0xff : 0x7f;
        connection_.queue(message);
        say("template", template_id_);
    }

    void transactions(uint64_t template_id) {
        Sv2Message message = {};
        std::array<uint8_t, 256> list;
        if (template_id == 0 || template_id > template_id_) {
            message.kind = SV2_REQUEST_TRANSACTION_DATA_ERROR;
            message.body.request_transaction_data_error.template_id = template_id;
            message.body.request_transaction_data_error.error_code =
                sv2_text(SV2_CODE_REQUEST_TRANSACTION_DATA_TEMPLATE_ID_NOT_FOUND);
        } else {
            message.kind = SV2_REQUEST_TRANSACTION_DATA_SUCCESS;
            Sv2RequestTransactionDataSuccess &data = message.body.request_transaction_data_success;
            data.template_id = template_id;
            const Sv2Bytes one = {transaction.data(), transaction.size()};
            check(sv2_seq_add_bytes(&data.transaction_list, list.data(), list.size(), one), "transaction list");
        }
        connection_.queue(message);
        say("transactions", template_id);
    }

    static void say(const char *what, uint64_t number) { std::cout << what << ' ' << number << std::endl; }

    // The only transaction of each block, and its id in wire order.
    static constexpr std::array<uint8_t, 61> transaction = {
        0x02, 0x00, 0x00, 0x00, 0x01, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00, 0x00};
    static constexpr Sv2U256 transaction_id = {
        {0xb7, 0x00, 0x53, 0x85, 0x0c, 0x5b, 0xda, 0xf0, 0x2e, 0xf8, 0x05, 0xa6, 0x60, 0xff, 0x07, 0x7a,
         0xbb, 0x2d, 0x45, 0x62, 0x71, 0x59, 0x9d, 0xa4, 0xf6, 0x81, 0x9b, 0x0b, 0xf7, 0x48, 0xf2, 0x6c}};

    Connection &connection_;
    Sv2U256 prev_hash_ = {};
    uint32_t height_ = 999;
    uint64_t template_id_ = 0;
};

} // namespace sv2
