"""What is in a bank, told in one digest: equal for equal contents, however and wherever they were computed."""

from __future__ import annotations

import hashlib

import numpy as np

from pullback.bank.store import Reader


def content_digest(reader: Reader) -> str:
    """The sha256 over every answer's digest, in the order of ids; from the headers alone, one pass.

    `verify_bank` tells whether the tensors fit these digests.

    Raises:
        FileFormatError: If a shard is damaged.
        MismatchError: If a shard holds other units than the journal says.
    """
    index = reader.index
    digests = np.zeros((len(index), hashlib.sha256().digest_size), dtype=np.uint8)  # 32 bytes a unit
    for row in reader.rows():
        digests[index.position(row.unit.id)] = np.frombuffer(bytes.fromhex(row.digest), dtype=np.uint8)
    whole = hashlib.sha256()
    for at in index.ordered():
        whole.update(index.ids[at].tobytes() + digests[at].tobytes())
    return whole.hexdigest()
