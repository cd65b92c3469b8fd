// The client side of a channel: Bitcoin's first block, mined again.
#include "check.h"

static Sv2U256 reversed(const char *hex) {
    size_t len;
    uint8_t *bytes = from_hex(hex, &len);
    Sv2U256 number;
    CHECK(len == 32);
    for (int i = 0; i < 32; i++) number.bytes[i] = bytes[31 - i];
    free(bytes);
    return number;
}

static const uint8_t first_header[80] = {
    1,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e,
    0x67, 0x76, 0x8f, 0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa,
    0x4b, 0x1e, 0x5e, 0x4a, 0x29, 0xab, 0x5f, 0x49, 0xff, 0xff, 0x00, 0x1d, 0x1d, 0xac, 0x2b, 0x7c,
};

static void handle(Sv2Channel *channel, const Sv2Message *message, Sv2Change expected) {
    Sv2Change change;
    OK(sv2_channel_handle(channel, 1000, message, &change));
    CHECK(change == expected);
}

static Sv2Message new_tip(uint32_t channel_id, uint32_t job_id) {
    Sv2Message tip = {0};
    tip.kind = SV2_MINING_SET_NEW_PREV_HASH;
    tip.body.mining_set_new_prev_hash.channel_id = channel_id;
    tip.body.mining_set_new_prev_hash.job_id = job_id;
    tip.body.mining_set_new_prev_hash.min_ntime = 1231006505;
    tip.body.mining_set_new_prev_hash.nbits = 0x1d00ffff;
    return tip;
}

static void standard(void) {
    Sv2Message message = {0};
    message.kind = SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
    message.body.open_standard_mining_channel_success.channel_id = 5;
    message.body.open_standard_mining_channel_success.group_channel_id = 4;
    memset(&message.body.open_standard_mining_channel_success.target, 0xff, 32);
    Sv2Channel *channel;
    uint32_t id;
    OK(sv2_channel_new(&message, &channel));
    OK(sv2_channel_id(channel, &id));
    CHECK(id == 5);

    memset(&message, 0, sizeof message);
    message.kind = SV2_NEW_MINING_JOB;
    message.body.new_mining_job.channel_id = 5;
    message.body.new_mining_job.job_id = 8;
    message.body.new_mining_job.version = 1;
    message.body.new_mining_job.merkle_root =
        reversed("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    handle(channel, &message, SV2_CHANGE_NONE);
    Sv2Change change;
    Sv2Message tip = new_tip(6, 8);
    EXPECT(sv2_channel_handle(channel, 1000, &tip, &change), SV2_ERROR_NOT_FOR_CHANNEL);
    tip = new_tip(5, 9);
    EXPECT(sv2_channel_handle(channel, 1000, &tip, &change), SV2_ERROR_PROTOCOL);
    tip = new_tip(4, 8); // by its group
    handle(channel, &tip, SV2_CHANGE_NEW_TIP);

    Sv2Work *work;
    Sv2WorkFields fields;
    Sv2Header header;
    Sv2U256 hash, block_target;
    uint8_t yes;
    uint32_t ntime;
    OK(sv2_channel_work(channel, &work));
    OK(sv2_work_fields(work, &fields));
    CHECK(fields.job_id == 8 && fields.version == 1 && fields.version_mask == 0x1fffffe0);
    CHECK(fields.min_ntime == 1231006505 && fields.nbits == 0x1d00ffff && fields.extranonce.len == 0);
    OK(sv2_target_from_nbits(0x1d00ffff, &block_target));
    CHECK(memcmp(&fields.block_target, &block_target, 32) == 0);
    OK(sv2_work_header(work, 1, fields.min_ntime, 2083236893, &header));
    CHECK(memcmp(header.bytes, first_header, 80) == 0);
    OK(sv2_work_hash(work, 1, fields.min_ntime, 2083236893, &hash));
    Sv2U256 expected = reversed("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
    CHECK(memcmp(&hash, &expected, 32) == 0);
    OK(sv2_target_is_met(&fields.block_target, &hash, &yes));
    CHECK(yes == 1);
    OK(sv2_target_is_met(&hash, &hash, &yes));
    CHECK(yes == 1);
    OK(sv2_target_is_met(&hash, &fields.block_target, &yes));
    CHECK(yes == 0);
    OK(sv2_work_max_ntime(work, 1010, &ntime));
    CHECK(ntime == 1231006515);

    Sv2Message share;
    for (uint32_t i = 0; i < 2; i++) {
        OK(sv2_channel_submit(channel, work, 1, fields.min_ntime, 2083236893, &share));
        CHECK(share.kind == SV2_SUBMIT_SHARES_STANDARD);
        CHECK(share.body.submit_shares_standard.sequence_number == i);
        CHECK(share.body.submit_shares_standard.channel_id == 5 && share.body.submit_shares_standard.job_id == 8);
        CHECK(share.body.submit_shares_standard.nonce == 2083236893);
    }
    OK(sv2_channel_is_current(channel, work, &yes));
    CHECK(yes == 1);
    message.body.new_mining_job.job_id = 10;
    handle(channel, &message, SV2_CHANGE_NONE);
    tip = new_tip(5, 10);
    tip.body.mining_set_new_prev_hash.prev_hash = hash;
    handle(channel, &tip, SV2_CHANGE_NEW_TIP);
    OK(sv2_channel_is_current(channel, work, &yes));
    CHECK(yes == 0);
    sv2_channel_free(channel); // the work outlives it
    OK(sv2_work_header(work, 1, fields.min_ntime, 2083236893, &header));
    CHECK(memcmp(header.bytes, first_header, 80) == 0);
    sv2_work_free(work);
}

static void extended(void) {
    Sv2Message message = {0};
    message.kind = SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
    message.body.open_extended_mining_channel_success.channel_id = 1;
    message.body.open_extended_mining_channel_success.extranonce_size = 1;
    message.body.open_extended_mining_channel_success.extranonce_prefix.len = 4;
    memset(&message.body.open_extended_mining_channel_success.target, 0xff, 32);
    Sv2Channel *channel;
    OK(sv2_channel_new(&message, &channel));

    // Lists and byte strings are copied: the job's memory may go.
    uint8_t storage[64], coinbase[100];
    Sv2U256 hash;
    Sv2Message job = {0};
    job.kind = SV2_NEW_EXTENDED_MINING_JOB;
    job.body.new_extended_mining_job.channel_id = 1;
    job.body.new_extended_mining_job.job_id = 3;
    job.body.new_extended_mining_job.version = 0x20000000;
    memset(&hash, 0x11, 32);
    OK(sv2_seq_add_u256(&job.body.new_extended_mining_job.merkle_path, storage, sizeof storage, &hash));
    memset(coinbase, 0x22, sizeof coinbase);
    job.body.new_extended_mining_job.coinbase_tx_prefix.data = coinbase;
    job.body.new_extended_mining_job.coinbase_tx_prefix.len = sizeof coinbase;
    job.body.new_extended_mining_job.coinbase_tx_suffix.data = coinbase;
    job.body.new_extended_mining_job.coinbase_tx_suffix.len = 10;
    handle(channel, &job, SV2_CHANGE_NONE);
    memset(coinbase, 0, sizeof coinbase);
    memset(storage, 0, sizeof storage);
    Sv2Message tip = new_tip(1, 3);
    handle(channel, &tip, SV2_CHANGE_NEW_TIP);

    Sv2U256 last = {{0}};
    Sv2Work *work;
    for (int i = 0; i < 256; i++) {
        Sv2WorkFields fields;
        OK(sv2_channel_work(channel, &work));
        OK(sv2_work_fields(work, &fields));
        CHECK(fields.version_mask == 0 && fields.extranonce.len == 1);
        CHECK(memcmp(&last, &fields.merkle_root, 32) != 0); // each has a root of its own
        last = fields.merkle_root;
        Sv2Message share;
        OK(sv2_channel_submit(channel, work, 0x20000000, fields.min_ntime, 1, &share));
        CHECK(share.kind == SV2_SUBMIT_SHARES_EXTENDED);
        CHECK(share.body.submit_shares_extended.extranonce.len == 1);
        CHECK(share.body.submit_shares_extended.extranonce.bytes[0] == fields.extranonce.bytes[0]);
        sv2_work_free(work);
    }
    EXPECT(sv2_channel_work(channel, &work), SV2_END); // all 256 extranonces are used

    Sv2Message target = {0}, prefix = {0}, group = {0};
    target.kind = SV2_SET_TARGET;
    target.body.set_target.channel_id = 1;
    handle(channel, &target, SV2_CHANGE_NEW_WORK);
    prefix.kind = SV2_SET_EXTRANONCE_PREFIX;
    prefix.body.set_extranonce_prefix.channel_id = 1;
    prefix.body.set_extranonce_prefix.extranonce_prefix.len = 4;
    handle(channel, &prefix, SV2_CHANGE_NONE);
    Sv2Change change;
    prefix.body.set_extranonce_prefix.extranonce_prefix.len = 5;
    EXPECT(sv2_channel_handle(channel, 1000, &prefix, &change), SV2_ERROR_PROTOCOL);
    group.kind = SV2_SET_GROUP_CHANNEL;
    group.body.set_group_channel.group_channel_id = 99;
    EXPECT(sv2_channel_handle(channel, 1000, &group, &change), SV2_ERROR_NOT_FOR_CHANNEL);
    OK(sv2_seq_add_u32(&group.body.set_group_channel.channel_ids, storage, sizeof storage, 1));
    handle(channel, &group, SV2_CHANGE_NONE);
    target.body.set_target.channel_id = 99;
    handle(channel, &target, SV2_CHANGE_NONE);
    sv2_channel_free(channel);
}

void test_channel(void) {
    standard();
    extended();
}
