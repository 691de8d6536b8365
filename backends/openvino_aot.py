"""OpenVINO behind AOTAutograd, as its option `aot_autograd` asks for."""

from conformance.backends.openvino import engaged, listening

from conformance.backend import Backend

backend = Backend(
    name="openvino_aot",
    compile={"options": {"aot_autograd": True}},
    factory=listening,
    engaged=engaged,
    packages=("openvino",),
    tags=frozenset({"slow_compile"}),
    description="OpenVINO on CPU, options={'aot_autograd': True}",
)
