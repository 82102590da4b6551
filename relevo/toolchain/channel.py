"""How our plugins and the engine talk: the options of every gRPC channel and server."""

# Bytes in one message; the engine's own limit (sdk/go/common/util/rpcutil).
_MESSAGE_LIMIT = 400 * 1024 * 1024
GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    # Else a proxy of the environment would be asked for 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
]
