// Runs the C tests: main VECTORS, where VECTORS is the folder test/vectors of the tree.
#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    test_null();
    test_messages(argv[1]);
    test_lists();
    test_tlv(argv[1]);
    test_stream();
#ifdef SV2_FULL
    test_noise(argv[1]);
    test_keys();
    test_channel();
#endif
    puts("all passed");
    return 0;
}
