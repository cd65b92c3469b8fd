// The Template Provider of interop-cpp on the subset library, over a plain connection: interop-cpp-no-cargo [PORT]
#include <cstdlib>
#include <iostream>

#include "../interop-cpp/connection.hpp"
#include "../interop-cpp/listener.hpp"
#include "../interop-cpp/template_provider.hpp"

int main(int argc, char **argv) try {
    const sv2::Listener listener(static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
    std::cout << "listening on stratum2+tcp://127.0.0.1:" << listener.port() << std::endl;

    const sv2::Socket socket(listener.accept());
    sv2::Connection connection(socket.get(), sv2::Owned<Sv2Decoder>(sv2_decoder_new()),
                               sv2::Owned<Sv2Encoder>(sv2_encoder_new()));
    sv2::TemplateProvider(connection).serve();
    std::cout << "the client has gone" << std::endl;
    return EXIT_SUCCESS;
} catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return EXIT_FAILURE;
}
