"""Makes `twistd twistedkv` known; everything else is in `twistedkv.tap`, imported when it is used."""

from twisted.application.service import ServiceMaker

twistedkv = ServiceMaker(
    "twistedkv",
    "twistedkv.tap",
    "A replicated, self-healing key-value store: coordinator, server, or a whole local cluster.",
    "twistedkv",
)
