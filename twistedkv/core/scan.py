"""One page of a SCAN: keys of a shard in the order of slots, and of keys within a slot."""

from twistedkv.clustermap import Configuration
from twistedkv.limits import SCAN_KEYS_MAX, SCAN_PAGE_BYTES
from twistedkv.messages.client import Scan, ScanItem, ScanPage
from twistedkv.records import is_tombstone, record_expiry, record_value, record_version
from twistedkv.storage.interface import Store
from twistedkv.wire.client import FAMILY, SCAN_PAGE
from twistedkv.wire.frames import encode_frame

EXAMINED_KEYS_MAX = 20_000
"""Keys looked at for one page: a prefix that few keys have must not hold up a turn."""


def scan_page(store: Store, configuration: Configuration, scan: Scan, request_id: int, now: int) -> bytes:
    """The whole frame of the page that begins at the scan's cursor.

    `now` is in milliseconds since 1970. An empty page may still have a next cursor.
    """
    items: list[ScanItem] = []
    most = min(max(scan.count, 1), SCAN_KEYS_MAX)
    size = examined = 0
    last_slot = configuration.last_slot
    for slot in range(max(scan.slot, configuration.first_slot), last_slot + 1):
        records = store.items(slot)
        if not records:
            continue
        if examined >= EXAMINED_KEYS_MAX:
            return _frame(request_id, slot, b"", items)
        examined += len(records)
        after = scan.after if slot == scan.slot else b""
        found = sorted(
            (key, record)
            for key, record in records
            if key > after
            and key.startswith(scan.prefix)
            and not is_tombstone(record)
            and not 0 < record_expiry(record) <= now
        )
        for key, record in found:
            value = record_value(record) if scan.values else b""
            cost = len(key) + len(value) + 16
            if items and (len(items) >= most or size + cost > SCAN_PAGE_BYTES):
                return _frame(request_id, slot, after, items)
            items.append(ScanItem(key, record_version(record), value))
            size += cost
            after = key
    return _frame(request_id, last_slot + 1, b"", items)


def _frame(request_id: int, slot: int, after: bytes, items: list[ScanItem]) -> bytes:
    page = ScanPage(slot, after, items)
    return encode_frame(SCAN_PAGE, FAMILY.layouts[SCAN_PAGE].encode(page), request_id)
