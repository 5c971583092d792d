"""What is in a bank, told in one digest: equal for equal contents, however and wherever they were computed."""

from __future__ import annotations

import hashlib

from pullback.bank.store import Reader


def content_digest(reader: Reader) -> str:
    """The sha256 over every answer's digest, in the order of ids; from the headers alone, one pass.

    `verify_bank` tells whether the tensors fit these digests.

    Raises:
        FileFormatError: If a shard is damaged.
        MismatchError: If a shard holds other units than the journal says.
    """
    digests = {row.unit.id: bytes.fromhex(row.digest) for row in reader.rows()}
    whole = hashlib.sha256()
    for unit_id in reader.ids():
        whole.update(unit_id.encode() + digests[unit_id])
    return whole.hexdigest()
