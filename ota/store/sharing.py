"""One play's selections between this controller's store and one that others share: published with all that they refer to, taken over where they are not here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import MissingFileError
from ota.store.codec import RecordError, from_plain
from ota.store.known_answer import KnownAnswer
from ota.store.shared import Published, SharedStore

if TYPE_CHECKING:
    from ota.store.store import Store


class Sharing:
    """A shared store, as one play of one model sees it."""

    def __init__(self, shared: SharedStore, play: str, model: str) -> None:
        self.shared = shared
        self._play = play
        self._model = model

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the play's selections that others can see, oldest first."""
        return self.shared.selections(self._play, self._model)

    def adopt_newest(self, store: Store) -> None:
        """Take over the newest selection that can be read, unless it is here."""
        for identity in reversed(self.ids()):
            if store.has_selection(identity) or self.adopt(store, identity):
                return

    def adopt(self, store: Store, identity: str) -> bool:
        """Take over a selection and its log by its whole id, and say whether it is here now; what else it refers to comes when it is needed."""
        published = self.shared.selection(self._play, self._model, identity)
        if published is None:
            return False
        try:
            selection = from_plain(Selection, json.loads(published.record))
            answers = [_answer(*one) for one in published.answers]
        except (RecordError, ValueError) as error:
            self.shared.tell(f"has a damaged record of the selection {identity}: {error}")
            return False
        if (selection.id, selection.play, selection.model) != (identity, self._play, self._model):
            self.shared.tell(f"has the selection {selection.id} in the place of {identity}")
            return False
        store.keep_record(selection, published.record)
        for name, armored in published.signatures:
            store.signed.put(identity, name, armored)
        for candidate, answer in answers:
            store.put_answer(candidate, answer)
        # A report is written without the playbook that names this store.
        with suppress(MissingFileError):
            store.blob(selection.log)
        return True

    def publish(self, store: Store, selection: Selection) -> None:
        """Bring a selection with its signatures, and every file that it and its log refer to and that is here."""
        log = store.sample_log(selection.log)
        candidates = sorted({candidate.digest for candidate in log.candidates})
        answers = [(candidate, one) for candidate in candidates for one in store.answers(candidate)]
        outputs = {answer.outputs for _, answer in answers}
        for digest in sorted({*_digests(selection), *_digests(log), *outputs}):
            try:
                self.shared.put_blob(store.blob(digest).read_bytes())
            except MissingFileError:
                continue  # the digest of something that is kept nowhere, as of the source
        published = Published(
            record=store.signed.record(selection.id).decode(),
            signatures=store.signed.signatures(selection.id),
            answers=tuple(
                (candidate.hex, one.host, one.runtime, one.probe.hex, one.outputs.hex)
                for candidate, one in answers
            ),
        )
        self.shared.publish(self._play, self._model, selection.id, published)


def _answer(candidate: str, host: str, runtime: str, probe: str, outputs: str) -> tuple[Digest, KnownAnswer]:
    known = KnownAnswer(host=host, runtime=runtime, probe=Digest(probe), outputs=Digest(outputs))
    return Digest(candidate), known


def _digests(value: object) -> Iterator[Digest]:
    """Yield every digest within a value."""
    if isinstance(value, Digest):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _digests(one)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _digests(getattr(value, field.name))
