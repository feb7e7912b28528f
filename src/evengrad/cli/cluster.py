"""A Dask cluster, for the trials of ``fix`` and ``lab``."""

from __future__ import annotations

from typing import Any

from evengrad.errors import EvengradError
from evengrad.values.message import msg


def client(address: str) -> Any:
    """A client of a Dask cluster. Raises EvengradError where there is none."""
    try:
        from distributed import Client
    except ImportError:
        raise EvengradError(msg("--dask needs Dask: pip install 'evengrad[dask]'.")) from None
    try:
        return Client(address, timeout="5s")
    except (OSError, ValueError) as error:
        raise EvengradError(
            msg(
                "There is no Dask scheduler at {address!r} ({error}).", address=address, error=error
            )
        ) from None
