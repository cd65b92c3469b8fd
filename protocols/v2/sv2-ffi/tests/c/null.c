// Every function takes NULL and wrong lengths with a status, and does nothing.
#include "check.h"

#define NONE(call) EXPECT(call, SV2_ERROR_NULL)

static void codec(void) {
    sv2_decoder_free(NULL);
    sv2_encoder_free(NULL);
    Sv2Decoder *decoder = sv2_decoder_new();
    Sv2Encoder *encoder = sv2_encoder_new();
    CHECK(decoder && encoder);
    uint8_t *room = NULL, small[1] = {0};
    size_t len = 7;
    char text[1] = {'x'};
    Sv2Frame frame = {0};
    Sv2Message message = {0};
    Sv2Bytes bytes = {0};

    NONE(sv2_decoder_set_max_payload(NULL, 1));
    NONE(sv2_decoder_writable(NULL, &room, &len));
    NONE(sv2_decoder_writable(decoder, NULL, &len));
    NONE(sv2_decoder_writable(decoder, &room, NULL));
    CHECK(room == NULL && len == 7);
    NONE(sv2_decoder_advance(NULL, 0));
    OK(sv2_decoder_advance(decoder, 0));
    EXPECT(sv2_decoder_advance(decoder, 1), SV2_ERROR_LENGTH);
    OK(sv2_decoder_writable(decoder, &room, &len));
    EXPECT(sv2_decoder_advance(decoder, len + 1), SV2_ERROR_LENGTH);
    EXPECT(sv2_decoder_advance(decoder, SIZE_MAX), SV2_ERROR_LENGTH);
    NONE(sv2_decoder_next_frame(NULL, &frame));
    NONE(sv2_decoder_next_frame(decoder, NULL));
    EXPECT(sv2_decoder_next_frame(decoder, &frame), SV2_MISSING_BYTES);
    EXPECT(sv2_decoder_advance(decoder, 1), SV2_ERROR_LENGTH); // frames were asked for since
    NONE(sv2_decoder_missing_bytes(NULL, &len));
    NONE(sv2_decoder_missing_bytes(decoder, NULL));
    OK(sv2_decoder_missing_bytes(decoder, &len));
    CHECK(len == 6);

    NONE(sv2_message_decode(NULL, &message));
    NONE(sv2_message_decode(&frame, NULL));
    frame.payload.len = 1; // and no data
    NONE(sv2_message_decode(&frame, &message));
    NONE(sv2_encoder_add_frame(encoder, &frame));
    frame.payload.data = small;
    frame.payload.len = SIZE_MAX;
    EXPECT(sv2_message_decode(&frame, &message), SV2_ERROR_LENGTH);
    frame.payload.len = 0;
    EXPECT(sv2_message_decode(&frame, &message), SV2_ERROR_MALFORMED);
    NONE(sv2_message_explain(NULL, text, sizeof text, &len));
    NONE(sv2_message_explain(&frame, text, sizeof text, NULL));
    EXPECT(sv2_message_explain(&frame, NULL, 0, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    EXPECT(sv2_message_explain(&frame, text, 1, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    CHECK(len > 10 && len < 255 && text[0] == 'x');

    NONE(sv2_message_encode(NULL, small, 1, &len));
    NONE(sv2_message_encode(&message, small, 1, NULL));
    EXPECT(sv2_message_encode(&message, NULL, 0, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    EXPECT(sv2_message_encode(&message, small, 1, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    CHECK(len > 1 && small[0] == 0);
    NONE(sv2_message_encode(&message, NULL, len, &len));
    message.body.setup_connection.vendor.len = 1; // and no data
    NONE(sv2_message_encode(&message, small, 1, &len));
    message.kind = 0xffffffff;
    EXPECT(sv2_message_encode(&message, small, 1, &len), SV2_ERROR_UNKNOWN_MESSAGE);
    CHECK(strcmp(sv2_message_name(0xffffffff), "unknown message") == 0);
    CHECK(strcmp(sv2_message_name(SV2_NEW_TEMPLATE), "NewTemplate") == 0);
    CHECK(strcmp(sv2_error_string(-1), "not a status of this library") == 0);

    NONE(sv2_encoder_add(NULL, &message));
    NONE(sv2_encoder_add(encoder, NULL));
    EXPECT(sv2_encoder_add(encoder, &message), SV2_ERROR_UNKNOWN_MESSAGE);
    NONE(sv2_encoder_add_frame(NULL, &frame));
    NONE(sv2_encoder_add_frame(encoder, NULL));
    frame.extension_type = 0x8000;
    EXPECT(sv2_encoder_add_frame(encoder, &frame), SV2_ERROR_LENGTH);
    NONE(sv2_encoder_pending(NULL, &bytes));
    NONE(sv2_encoder_pending(encoder, NULL));
    OK(sv2_encoder_pending(encoder, &bytes));
    CHECK(bytes.len == 0);
    NONE(sv2_encoder_consume(NULL, 0));
    OK(sv2_encoder_consume(encoder, 0));
    EXPECT(sv2_encoder_consume(encoder, 1), SV2_ERROR_LENGTH);
    sv2_decoder_free(decoder);
    sv2_encoder_free(encoder);
}

static void lists(void) {
    CHECK(sv2_text(NULL).len == 0);
    Sv2Seq empty = {0}, lies = {NULL, 8, 1};
    uint16_t a;
    uint32_t b;
    Sv2U256 c = {{0}};
    Sv2Bytes d = {0};
    uint8_t storage[4];
    NONE(sv2_seq_next_u16(NULL, &a));
    EXPECT(sv2_seq_next_u16(&empty, &a), SV2_END);
    NONE(sv2_seq_next_u16(&lies, &a));
    NONE(sv2_seq_next_u32(NULL, &b));
    NONE(sv2_seq_next_u32(&lies, &b));
    NONE(sv2_seq_next_u256(NULL, &c));
    EXPECT(sv2_seq_next_u256(&empty, &c), SV2_END);
    NONE(sv2_seq_next_bytes(NULL, &d));
    lies.data = storage;
    memset(storage, 0xff, sizeof storage);
    lies.len = sizeof storage;
    NONE(sv2_seq_next_u16(&lies, NULL));
    CHECK(lies.count == 1 && lies.len == sizeof storage);
    EXPECT(sv2_seq_next_u256(&lies, &c), SV2_ERROR_MALFORMED);
    EXPECT(sv2_seq_next_bytes(&lies, &d), SV2_ERROR_MALFORMED);
    NONE(sv2_seq_add_u16(NULL, storage, sizeof storage, 1));
    NONE(sv2_seq_add_u16(&empty, NULL, sizeof storage, 1));
    EXPECT(sv2_seq_add_u16(&empty, storage, 1, 1), SV2_ERROR_BUFFER_TOO_SMALL);
    NONE(sv2_seq_add_u32(NULL, storage, sizeof storage, 1));
    EXPECT(sv2_seq_add_u32(&empty, NULL, 0, 1), SV2_ERROR_BUFFER_TOO_SMALL);
    NONE(sv2_seq_add_u256(&empty, storage, sizeof storage, NULL));
    EXPECT(sv2_seq_add_u256(&empty, storage, sizeof storage, &c), SV2_ERROR_BUFFER_TOO_SMALL);
    d.len = 1; // and no data
    NONE(sv2_seq_add_bytes(&empty, storage, sizeof storage, d));
    d.len = 0;
    NONE(sv2_seq_add_bytes(NULL, storage, sizeof storage, d));
    Sv2Seq full = {storage, SIZE_MAX - 1, 1};
    EXPECT(sv2_seq_add_u16(&full, storage, SIZE_MAX, 1), SV2_ERROR_LENGTH);
    CHECK(empty.count == 0 && empty.len == 0 && empty.data == NULL);

    Sv2Tlv field = {0};
    size_t len = 0;
    NONE(sv2_tlv_next(NULL, &field));
    EXPECT(sv2_tlv_next(&d, &field), SV2_END);
    Sv2Bytes five = {(const uint8_t *)"\0\2\1\0\0", 5};
    NONE(sv2_tlv_next(&five, NULL));
    CHECK(five.len == 5);
    NONE(sv2_tlv_append(NULL, 5, &len, &field));
    NONE(sv2_tlv_append(storage, sizeof storage, NULL, &field));
    NONE(sv2_tlv_append(storage, sizeof storage, &len, NULL));
    EXPECT(sv2_tlv_append(storage, sizeof storage, &len, &field), SV2_ERROR_BUFFER_TOO_SMALL);
    len = SIZE_MAX;
    EXPECT(sv2_tlv_append(storage, sizeof storage, &len, &field), SV2_ERROR_LENGTH);
}

#ifdef SV2_FULL
static void noise(void) {
    sv2_initiator_free(NULL);
    sv2_identity_free(NULL);
    Sv2Key key = {{0}}, secret = {{1}};
    Sv2Randomness random = {{0}};
    Sv2Act1 act1 = {{0}};
    Sv2Act2 act2 = {{0}};
    Sv2Certificate certificate = {{0}};
    Sv2Url url;
    Sv2Initiator *initiator = NULL;
    Sv2Identity *identity = NULL;
    Sv2Decoder *decoder = NULL;
    Sv2Encoder *encoder = NULL;
    Sv2Bytes none = {0}, missing = {NULL, 1}, found;
    size_t len;

    NONE(sv2_url_parse(missing, &url));
    EXPECT(sv2_url_parse(none, &url), SV2_ERROR_URL);
    NONE(sv2_url_parse(sv2_text("stratum2+tcp://host:1"), NULL));
    NONE(sv2_public_key_parse(missing, &key));
    EXPECT(sv2_public_key_parse(none, &key), SV2_ERROR_KEY);
    NONE(sv2_public_key_text(NULL, NULL, 0, &len));
    EXPECT(sv2_public_key_text(&key, NULL, 0, &len), SV2_ERROR_KEY); // all zero is none
    NONE(sv2_public_key_of(NULL, &key));
    NONE(sv2_public_key_of(&secret, NULL));
    EXPECT(sv2_public_key_of(&key, &key), SV2_ERROR_KEY);
    NONE(sv2_secret_key_parse(missing, &key));
    EXPECT(sv2_secret_key_parse(sv2_text("\xff"), &key), SV2_ERROR_KEY);
    OK(sv2_public_key_of(&secret, &key));
    EXPECT(sv2_public_key_text(&key, NULL, 0, &len), SV2_ERROR_BUFFER_TOO_SMALL);
    NONE(sv2_public_key_text(&key, NULL, 64, &len));
    NONE(sv2_certificate_verify(NULL, &key, &key, 0));
    NONE(sv2_certificate_verify(&certificate, NULL, &key, 0));
    NONE(sv2_certificate_verify(&certificate, &key, NULL, 0));
    EXPECT(sv2_certificate_verify(&certificate, &key, &key, 0), SV2_ERROR_CERTIFICATE_SIGNATURE);

    NONE(sv2_randomness(NULL));
    NONE(sv2_initiator_new(NULL, NULL, &act1, &initiator));
    NONE(sv2_initiator_new(NULL, &random, NULL, &initiator));
    NONE(sv2_initiator_new(NULL, &random, &act1, NULL));
    EXPECT(sv2_initiator_new(NULL, &random, &act1, &initiator), SV2_ERROR_RANDOMNESS); // all zero is no key
    CHECK(initiator == NULL);
    OK(sv2_randomness(&random));
    OK(sv2_initiator_new(NULL, &random, &act1, &initiator));
    NONE(sv2_initiator_finish(NULL, &act2, 0, &decoder, &encoder));
    NONE(sv2_initiator_finish(initiator, NULL, 0, &decoder, &encoder));
    NONE(sv2_initiator_finish(initiator, &act2, 0, NULL, &encoder));
    NONE(sv2_initiator_finish(initiator, &act2, 0, &decoder, NULL));
    EXPECT(sv2_initiator_finish(initiator, &act2, 0, &decoder, &encoder), SV2_ERROR_DECRYPT);
    EXPECT(sv2_initiator_finish(initiator, &act2, 0, &decoder, &encoder), SV2_ERROR_STATE);
    sv2_initiator_free(initiator);

    NONE(sv2_identity_new(NULL, 0, 1, &random, &identity));
    NONE(sv2_identity_new(&secret, 0, 1, NULL, &identity));
    NONE(sv2_identity_new(&secret, 0, 1, &random, NULL));
    OK(sv2_identity_new(&secret, 0, 1, &random, &identity));
    NONE(sv2_responder_step(NULL, &act1, &random, &act2, &decoder, &encoder));
    NONE(sv2_responder_step(identity, NULL, &random, &act2, &decoder, &encoder));
    NONE(sv2_responder_step(identity, &act1, NULL, &act2, &decoder, &encoder));
    NONE(sv2_responder_step(identity, &act1, &random, NULL, &decoder, &encoder));
    NONE(sv2_responder_step(identity, &act1, &random, &act2, NULL, &encoder));
    NONE(sv2_responder_step(identity, &act1, &random, &act2, &decoder, NULL));
    CHECK(decoder == NULL && encoder == NULL);
    sv2_identity_free(identity);
    NONE(sv2_tlv_user_identity(missing, &found));
    EXPECT(sv2_tlv_user_identity(none, &found), SV2_END);
}

static void channel(void) {
    sv2_channel_free(NULL);
    sv2_work_free(NULL);
    Sv2Message message = {0};
    Sv2Channel *channel = NULL;
    Sv2Work *work = NULL;
    Sv2Change change;
    Sv2WorkFields fields;
    Sv2Header header;
    Sv2U256 number = {{0}};
    uint32_t id;
    uint8_t flag;
    NONE(sv2_channel_new(NULL, &channel));
    NONE(sv2_channel_new(&message, NULL));
    EXPECT(sv2_channel_new(&message, &channel), SV2_ERROR_NOT_FOR_CHANNEL);
    message.kind = SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
    message.body.open_standard_mining_channel_success.extranonce_prefix.len = 33;
    EXPECT(sv2_channel_new(&message, &channel), SV2_ERROR_VALUE_TOO_LONG);
    message.body.open_standard_mining_channel_success.extranonce_prefix.len = 32;
    OK(sv2_channel_new(&message, &channel));
    NONE(sv2_channel_handle(NULL, 0, &message, &change));
    NONE(sv2_channel_handle(channel, 0, NULL, &change));
    NONE(sv2_channel_handle(channel, 0, &message, NULL));
    EXPECT(sv2_channel_handle(channel, 0, &message, &change), SV2_ERROR_NOT_FOR_CHANNEL);
    NONE(sv2_channel_id(NULL, &id));
    NONE(sv2_channel_id(channel, NULL));
    NONE(sv2_channel_work(NULL, &work));
    NONE(sv2_channel_work(channel, NULL));
    EXPECT(sv2_channel_work(channel, &work), SV2_END);
    NONE(sv2_channel_is_current(NULL, work, &flag));
    NONE(sv2_channel_is_current(channel, NULL, &flag));
    NONE(sv2_channel_submit(NULL, NULL, 0, 0, 0, &message));
    NONE(sv2_channel_submit(channel, NULL, 0, 0, 0, &message));
    NONE(sv2_channel_submit(channel, NULL, 0, 0, 0, NULL));
    NONE(sv2_work_fields(NULL, &fields));
    NONE(sv2_work_max_ntime(NULL, 0, &id));
    NONE(sv2_work_header(NULL, 0, 0, 0, &header));
    NONE(sv2_work_hash(NULL, 0, 0, 0, &number));
    NONE(sv2_target_is_met(NULL, &number, &flag));
    NONE(sv2_target_is_met(&number, NULL, &flag));
    NONE(sv2_target_is_met(&number, &number, NULL));
    NONE(sv2_target_from_nbits(0x207fffff, NULL));
    EXPECT(sv2_target_from_nbits(0, &number), SV2_ERROR_LENGTH);
    sv2_channel_free(channel);
}
#endif

void test_null(void) {
    codec();
    lists();
#ifdef SV2_FULL
    noise();
    channel();
#endif
}
