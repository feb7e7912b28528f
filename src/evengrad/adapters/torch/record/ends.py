"""Where in the recorded graph the network ends and the loss begins."""

from __future__ import annotations

from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.values.spec import Kind

_HEADS = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsoftmax": "log_softmax",
    "logsigmoid": "log_sigmoid",
    "sigmoid": "sigmoid",
}
_LOGS = {"log", "log2", "log10"}
_AFTER_A_LOG = {"add", "clamp", "clamp_min", "clip", "maximum"}  # log(p + 1e-8) and its like


def path_to(number: int | None, nodes: list[RecordedCall]) -> list[RecordedCall]:
    """The recorded calls that a tensor was made of, forward order."""
    return path_to_any([] if number is None else [number], nodes)


def path_to_any(numbers: list[int], nodes: list[RecordedCall]) -> list[RecordedCall]:
    """Of several tensors."""
    wanted = set(numbers)
    path = []
    for node in reversed(nodes):
        if wanted.intersection(node.makes):
            path.append(node)
            wanted.update(node.reads)
    return path[::-1]


def where_the_budget_begins(
    nodes: list[RecordedCall], returned: list[int], loss: int | None
) -> tuple[list[int], str | None]:
    """The tensors where the network ends, and the closing activation that counts as the loss's.

    These are what the outermost module returned and the loss reads, or all of it where there is no loss;
    without a module, what the first loss call reads, or the last tensor that is not a number.
    """
    made = {number: node for node in nodes for number in node.makes}
    heads = [node.head for node in nodes if node.head is not None]
    read = heads[0].read if heads else None
    read_outside = {n for node in nodes if not node.inside for n in node.reads}
    if loss is None:
        read_outside = set(returned)
    numbers = {n for node in nodes if _is_number(node) for n in node.makes}
    ends = [n for n in dict.fromkeys(returned) if n in made and n in read_outside - numbers]
    ends = [n for n in ends if not _goes_on(nodes, n)]
    if not ends:
        ends = [read] if read is not None and read in made else _last_tensors(nodes, loss)
    for candidate in [read, *ends]:
        closing, name = _closing(made, candidate)
        if closing is not None and name is not None:
            behind = _descendants(nodes, closing)
            if any(
                n.function.strip("_") in _LOGS for n in path_to(read, nodes) if behind & {*n.reads}
            ):
                name = name if name.startswith("log_") else f"log_{name}"
            kept = [n for n in ends if n not in behind]
            return list(dict.fromkeys([*kept, *closing.reads])), name
    return ends, None


def _goes_on(nodes: list[RecordedCall], number: int) -> bool:
    """Whether another model reads what this one returned."""
    reached = {number}
    for node in nodes:
        if reached.intersection(node.reads):
            if node.inside:
                return True
            reached.update(node.makes)
    return False


def _is_number(node: RecordedCall) -> bool:
    return node.kind is Kind.LOSS or (node.forward is not None and node.forward.shape == ())


def _closing(
    made: dict[int, RecordedCall], number: int | None
) -> tuple[RecordedCall | None, str | None]:
    """A softmax, log_softmax or sigmoid at the very end, seen through reshapes and a logarithm."""
    log = False
    while number is not None and number in made:
        node = made[number]
        name = _HEADS.get(node.label.lower().rstrip("_"))
        if name is not None:
            return node, f"log_{name}" if log and not name.startswith("log_") else name
        plain = node.function.strip("_")
        log = log or plain in _LOGS
        through = node.kind is Kind.RESHAPE or (log and plain in {"log", *_AFTER_A_LOG})
        if not through or len(node.reads) != 1:
            return None, None
        number = node.reads[0]
    return None, None


def _descendants(nodes: list[RecordedCall], start: RecordedCall) -> set[int]:
    reached = set(start.makes)
    for node in nodes:
        if reached.intersection(node.reads):
            reached.update(node.makes)
    return reached


def _last_tensors(nodes: list[RecordedCall], loss: int | None) -> list[int]:
    for node in reversed(nodes):
        if not _is_number(node):
            return list(node.makes)
    return [] if loss is None else [loss]
