"""librdkafka's in-process cluster, by the part of its C interface that Python's client does not have."""

import ctypes

from confluent_kafka import cimpl

# Milliseconds an empty group waits for more members before the first one may read. The cluster's own are 3,000.
FIRST_JOIN = 100

_PRODUCER = 0


def start_cluster(brokers: int = 1) -> str:
    """Its address. It lives as long as the process. Raises RuntimeError."""
    kafka = ctypes.CDLL(cimpl.__file__)  # what it is linked with is found by way of it
    for name, result, *arguments in _FUNCTIONS:
        function = getattr(kafka, name)
        function.restype, function.argtypes = result, arguments
    why = ctypes.create_string_buffer(512)
    client = kafka.rd_kafka_new(_PRODUCER, _quiet(kafka), why, len(why))
    cluster = kafka.rd_kafka_mock_cluster_new(client, brokers) if client else None
    if not cluster:
        raise RuntimeError(f"the in-process cluster does not start: {why.value.decode()}")
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, FIRST_JOIN)
    address: bytes = kafka.rd_kafka_mock_cluster_bootstraps(cluster)
    return address.decode()


def _quiet(kafka: ctypes.CDLL) -> ctypes.c_void_p:
    conf: ctypes.c_void_p = kafka.rd_kafka_conf_new()
    kafka.rd_kafka_conf_set(conf, b"log_level", b"3", None, 0)
    return conf


_FUNCTIONS: tuple[tuple[str, type | None, *tuple[type, ...]], ...] = (
    ("rd_kafka_conf_new", ctypes.c_void_p),
    (
        "rd_kafka_conf_set",
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ),
    ("rd_kafka_new", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, ctypes.c_void_p),
    ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, ctypes.c_void_p, ctypes.c_int32),
)
