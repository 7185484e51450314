"""Costs as files that `costs=NAME` reads: NAME.yaml with the stamp and row 0 in words, NAME.parquet with all draws."""

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sweep.inputs.catalog import Quantity
from sweep.inputs.costs import REPRESENTATIVE, Costs


def files(costs: Costs, known: Mapping[str, Quantity], made_by: str) -> dict[str, bytes]:
    """The content of both files by suffix, the draws first; `known` are the quantities, by key."""
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(zip(costs.keys, costs.values.T, strict=True))), sink, compression="zstd")
    words: dict[str, dict[str, Any]] = {}
    for key, value in zip(costs.keys, costs.values[REPRESENTATIVE].tolist(), strict=True):
        owner, _, name = key.partition("/")
        quantity = known[key]
        word = (quantity.central, quantity.alternative)[int(value)] if quantity.alternative else float(f"{value:.4g}")
        words.setdefault(owner, {})[name] = word
    content = {**costs.stamp, "digest": costs.digest, "representative": words}
    head = (
        f"# {made_by}: made, not written by hand.\n"
        f"# {costs.name}.parquet holds the draws; `representative` is its row 0, to four digits.\n"
    )
    text = head + yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)
    return {"parquet": sink.getvalue(), "yaml": text.encode()}
