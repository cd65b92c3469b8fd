// Every vector of test/vectors/messages.txt, decoded and encoded again to the same bytes.
#include "check.h"

static int is_of_the_subset(uint32_t kind) {
    return kind <= SV2_RECONNECT || (kind >= SV2_COINBASE_OUTPUT_CONSTRAINTS && kind <= SV2_SUBMIT_SOLUTION);
}

static Sv2Frame frame_of(unsigned extension, unsigned type, unsigned channel, const uint8_t *payload, size_t len) {
    Sv2Frame frame = {(uint16_t)extension, (uint8_t)type, (uint8_t)channel, {payload, len}};
    return frame;
}

// Decodes every beginning of a payload, each in memory of exactly its size: nothing may be read behind it.
static void cut_short(Sv2Frame frame) {
    for (size_t len = 0; len < frame.payload.len; len++) {
        uint8_t *copy = malloc(len + 1);
        CHECK(copy);
        memcpy(copy + 1, frame.payload.data, len);
        Sv2Frame cut = frame_of(frame.extension_type, frame.message_type, 0, copy + 1, len);
        Sv2Message message;
        char text[256];
        size_t text_len;
        EXPECT(sv2_message_decode(&cut, &message), SV2_ERROR_MALFORMED);
        if (len == frame.payload.len / 2) {
            OK(sv2_message_explain(&cut, text, sizeof text, &text_len));
            CHECK(strlen(text) == text_len && strncmp(text, "malformed ", 10) == 0);
        }
        free(copy);
    }
}

// Decodes a payload with one byte changed, in turn each; whatever it is then can be encoded again.
static void change_bytes(Sv2Frame frame) {
    uint8_t *copy = malloc(frame.payload.len + 1), *out = malloc(frame.payload.len + 1);
    CHECK(copy && out);
    memcpy(copy + 1, frame.payload.data, frame.payload.len);
    frame.payload.data = copy + 1;
    for (size_t at = 0; at < frame.payload.len; at++) {
        const uint8_t change = at % 2 ? 0x80 : 0xff;
        Sv2Message message;
        size_t len;
        copy[1 + at] ^= change;
        Sv2Status status = sv2_message_decode(&frame, &message);
        CHECK(status == SV2_OK || status == SV2_ERROR_MALFORMED);
        if (status == SV2_OK) {
            OK(sv2_message_encode(&message, out, frame.payload.len, &len));
            CHECK(len == frame.payload.len);
        }
        copy[1 + at] ^= change;
    }
    free(copy);
    free(out);
}

static void round_trip(const char *name, Sv2Frame frame) {
    Sv2Message message;
    OK(sv2_message_decode(&frame, &message));
    CHECK(message.kind == frame.extension_type * 256u + frame.message_type);
    CHECK(strcmp(sv2_message_name(message.kind), name) == 0);
    CHECK(message.tlv_fields.len == 0);

    // To a payload, in memory of exactly its size.
    uint8_t *out = malloc(frame.payload.len + 1);
    CHECK(out);
    size_t len = 0;
    EXPECT(sv2_message_encode(&message, out, frame.payload.len - 1, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    CHECK(len == frame.payload.len);
    OK(sv2_message_encode(&message, out + 1, len, &len));
    CHECK(same(frame.payload, out + 1, len));
    free(out);

    // To a frame and back.
    Sv2Encoder *encoder = sv2_encoder_new();
    Sv2Decoder *decoder = sv2_decoder_new();
    OK(sv2_encoder_add(encoder, &message));
    OK(sv2_encoder_add_frame(encoder, &frame));
    carry(encoder, decoder, 5);
    for (int i = 0; i < 2; i++) {
        Sv2Frame got;
        OK(sv2_decoder_next_frame(decoder, &got));
        CHECK(got.extension_type == frame.extension_type && got.message_type == frame.message_type);
        CHECK(got.channel_msg == frame.channel_msg);
        CHECK(same(got.payload, frame.payload.data, frame.payload.len));
    }
    sv2_encoder_free(encoder);
    sv2_decoder_free(decoder);
}

void test_messages(const char *vectors) {
    char path[4096];
    snprintf(path, sizeof path, "%s/messages.txt", vectors);
    FILE *file = fopen(path, "r");
    CHECK(file);
    static char line[1 << 20];
    int tested = 0, unknown = 0;
    while (fgets(line, sizeof line, file)) {
        char name[128];
        unsigned extension, type, channel;
        int at;
        if (line[0] == '#' || sscanf(line, "%127s %u %u %u %n", name, &extension, &type, &channel, &at) != 4) continue;
        size_t len;
        uint8_t *payload = from_hex(line + at, &len);
        Sv2Frame frame = frame_of(extension, type, channel, payload, len);
        int expected = is_of_the_subset(extension * 256 + type);
#ifdef SV2_FULL
        expected = 1;
#endif
        if (expected) {
            round_trip(name, frame);
            cut_short(frame);
            change_bytes(frame);
            tested++;
        } else {
            Sv2Message message;
            EXPECT(sv2_message_decode(&frame, &message), SV2_ERROR_UNKNOWN_MESSAGE);
            unknown++;
        }
        free(payload);
    }
    fclose(file);
#ifdef SV2_FULL
    CHECK(tested > 100 && unknown == 0);
#else
    CHECK(tested > 30 && unknown > 60);
#endif
}

// Lists of each kind of element, read and built.
void test_lists(void) {
    uint8_t storage[256];
    Sv2Seq numbers = {0}, ids = {0}, hashes = {0}, transactions = {0};
    uint16_t number;
    uint32_t id;
    Sv2U256 hash, other;
    Sv2Bytes transaction;

    for (uint16_t i = 0; i < 128; i++) OK(sv2_seq_add_u16(&numbers, storage, sizeof storage, i * 257));
    EXPECT(sv2_seq_add_u16(&numbers, storage, sizeof storage, 1), SV2_ERROR_BUFFER_TOO_SMALL);
    CHECK(numbers.count == 128 && numbers.len == 256);
    for (uint16_t i = 0; i < 128; i++) {
        OK(sv2_seq_next_u16(&numbers, &number));
        CHECK(number == i * 257);
    }
    EXPECT(sv2_seq_next_u16(&numbers, &number), SV2_END);

    OK(sv2_seq_add_u32(&ids, storage, sizeof storage, 0xdeadbeef));
    OK(sv2_seq_next_u32(&ids, &id));
    CHECK(id == 0xdeadbeef && ids.count == 0);

    memset(&hash, 7, sizeof hash);
    OK(sv2_seq_add_u256(&hashes, storage, sizeof storage, &hash));
    Sv2Seq copy = hashes;
    OK(sv2_seq_next_u256(&copy, &other));
    CHECK(memcmp(&hash, &other, sizeof hash) == 0);

    // A template with that list keeps it through encoding and decoding.
    Sv2Message message = {0}, decoded;
    message.kind = SV2_NEW_TEMPLATE;
    message.body.new_template.template_id = 9;
    message.body.new_template.merkle_path = hashes;
    uint8_t payload[256];
    size_t len;
    OK(sv2_message_encode(&message, payload, sizeof payload, &len));
    Sv2Frame frame = {0, SV2_NEW_TEMPLATE, 0, {payload, len}};
    OK(sv2_message_decode(&frame, &decoded));
    CHECK(decoded.body.new_template.merkle_path.count == 1);
    OK(sv2_seq_next_u256(&decoded.body.new_template.merkle_path, &other));
    CHECK(memcmp(&hash, &other, sizeof hash) == 0);
    message.body.new_template.merkle_path.count = 2; // more than its bytes hold
    EXPECT(sv2_message_encode(&message, payload, sizeof payload, &len), SV2_ERROR_MALFORMED);
    message.body.new_template.merkle_path.count = 256; // more than the type holds
    EXPECT(sv2_message_encode(&message, payload, sizeof payload, &len), SV2_ERROR_VALUE_TOO_LONG);
    message.body.new_template.merkle_path.count = 0; // bytes left over
    EXPECT(sv2_message_encode(&message, payload, sizeof payload, &len), SV2_ERROR_MALFORMED);

    OK(sv2_seq_add_bytes(&transactions, storage, sizeof storage, sv2_text("first")));
    OK(sv2_seq_add_bytes(&transactions, storage, sizeof storage, sv2_text("")));
    CHECK(transactions.count == 2 && transactions.len == 3 + 5 + 3);
    OK(sv2_seq_next_bytes(&transactions, &transaction));
    CHECK(same(transaction, "first", 5));
    OK(sv2_seq_next_bytes(&transactions, &transaction));
    CHECK(transaction.len == 0 && transactions.len == 0);
}

void test_tlv(const char *vectors) {
    char path[4096], line[1024], value_hex[512], field_hex[512];
    snprintf(path, sizeof path, "%s/tlv.txt", vectors);
    FILE *file = fopen(path, "r");
    CHECK(file);
    int tested = 0;
    while (fgets(line, sizeof line, file)) {
        unsigned extension, type;
        if (line[0] == '#' || sscanf(line, "%u %u %511s %511s", &extension, &type, value_hex, field_hex) != 4) continue;
        size_t value_len, field_len, len = 0;
        uint8_t *value = from_hex(value_hex, &value_len), *encoded = from_hex(field_hex, &field_len), out[512];
        Sv2Tlv field = {(uint16_t)extension, (uint8_t)type, {value, value_len}}, read;
        OK(sv2_tlv_append(out, sizeof out, &len, &field));
        CHECK(len == field_len && memcmp(out, encoded, len) == 0);
        Sv2Bytes rest = {encoded, field_len};
        OK(sv2_tlv_next(&rest, &read));
        CHECK(read.extension_type == extension && read.field_type == type && same(read.value, value, value_len));
        EXPECT(sv2_tlv_next(&rest, &read), SV2_END);
        rest.data = encoded;
        rest.len = field_len - 1;
        EXPECT(sv2_tlv_next(&rest, &read), SV2_ERROR_MALFORMED);
#ifdef SV2_FULL
        // Behind a share and back.
        Sv2Message share = {0}, decoded;
        share.kind = SV2_SUBMIT_SHARES_EXTENDED;
        share.tlv_fields.data = encoded;
        share.tlv_fields.len = field_len;
        OK(sv2_message_encode(&share, out, sizeof out, &len));
        Sv2Frame frame = {0, SV2_SUBMIT_SHARES_EXTENDED, 1, {out, len}};
        OK(sv2_message_decode(&frame, &decoded));
        OK(sv2_tlv_user_identity(decoded.tlv_fields, &rest));
        CHECK(same(rest, value, value_len));
        share.tlv_fields.len = field_len - 1;
        EXPECT(sv2_message_encode(&share, out, sizeof out, &len), SV2_ERROR_MALFORMED);
#endif
        free(value);
        free(encoded);
        tested++;
    }
    fclose(file);
    CHECK(tested > 0);
}

// Limits and errors of a plain stream.
void test_stream(void) {
    Sv2Decoder *decoder = sv2_decoder_new();
    Sv2Encoder *encoder = sv2_encoder_new();
    Sv2Message message = {0};
    Sv2Frame frame;
    size_t missing;
    message.kind = SV2_RECONNECT;
    message.body.reconnect.new_host = sv2_text("example.com");
    OK(sv2_encoder_add(encoder, &message));
    carry(encoder, decoder, 1);
    OK(sv2_decoder_missing_bytes(decoder, &missing));
    CHECK(missing == 0);
    OK(sv2_decoder_next_frame(decoder, &frame));
    OK(sv2_message_decode(&frame, &message));
    CHECK(same(message.body.reconnect.new_host, "example.com", 11));
    EXPECT(sv2_decoder_next_frame(decoder, &frame), SV2_MISSING_BYTES);

    // A value that is too long for its field leaves nothing behind.
    static const uint8_t long_text[256];
    message.body.reconnect.new_host.data = long_text;
    message.body.reconnect.new_host.len = sizeof long_text;
    Sv2Bytes pending;
    EXPECT(sv2_encoder_add(encoder, &message), SV2_ERROR_VALUE_TOO_LONG);
    OK(sv2_encoder_pending(encoder, &pending));
    CHECK(pending.len == 0);

    // A frame over the limit is refused from its header on, for good.
    OK(sv2_decoder_set_max_payload(decoder, 4));
    message.body.reconnect.new_host.len = 3;
    OK(sv2_encoder_add(encoder, &message));
    carry(encoder, decoder, 6);
    EXPECT(sv2_decoder_next_frame(decoder, &frame), SV2_ERROR_PAYLOAD_TOO_LONG);
    EXPECT(sv2_decoder_next_frame(decoder, &frame), SV2_ERROR_PAYLOAD_TOO_LONG);
    EXPECT(sv2_decoder_missing_bytes(decoder, &missing), SV2_ERROR_PAYLOAD_TOO_LONG);
    sv2_decoder_free(decoder);
    sv2_encoder_free(encoder);
}
